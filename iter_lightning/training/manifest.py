"""The manifest of a run: code, machine, data, and configuration that its results come from."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from iter_lightning.io.atomic import write_atomically
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.model.pretrained import load_tokenizer
from iter_lightning.training.run import RunFolder, identity
from iter_lightning.types import Example

if TYPE_CHECKING:
    from iter_lightning.training.data import CorpusDataModule
    from iter_lightning.training.module import IterModule

PACKAGES = ("torch", "lightning", "transformers", "tokenizers", "torchmetrics", "numpy", "omegaconf", "jsonargparse")
"""Packages whose versions are recorded."""


def write_manifest(
    folder: RunFolder, model: IterModule, datamodule: CorpusDataModule, config: dict[str, Any], data: dict[str, Any],
    origin: dict[str, Any], device: str,
) -> None:  # fmt: skip
    """Write manifest.json and config.yaml of a new run; for a resumed run, add this attempt to the manifest.

    Args:
        folder: the run folder.
        model: the module.
        datamodule: the data.
        config: the resolved configuration.
        data: return value of `describe_data`.
        origin: digests of data, tokenizer and weights.
        device: device of this attempt.
    """
    attempt = describe(device)
    before = folder.manifest
    if before.get("attempts"):
        folder.update_manifest(attempts=[*before["attempts"], attempt])
        return
    init: dict[str, Any] = {}
    if model.transfer is not None:
        taken = {"from": model.init_from, "sha256": origin["init_sha256"], **model.transfer.to_dict()}
        init = {"init": taken}
    left_out = ("extends", "allow_unfinished")  # already merged; not an option of `fit`
    whole = {key: value for key, value in config.items() if key not in left_out}
    write_atomically(folder.path / "config.yaml", yaml.safe_dump(whole, sort_keys=False))
    folder.update_manifest(
        status="running", config=identity(config), seed=config["seed_everything"], encoder=model.encoder_name,
        tokenizer_sha256=origin["tokenizer_sha256"], **attempt,
        evaluation=EvaluationDefinition(split_protocol=datamodule.split_protocol).to_dict(),
        data=data, origin=origin, attempts=[attempt], **init,
    )  # fmt: skip


def tokenizer_digest(encoder: str) -> str:
    """Return the SHA-256 of a tokenizer."""
    return hashlib.sha256(load_tokenizer(encoder).backend_tokenizer.to_str().encode()).hexdigest()


def describe(device: str) -> dict[str, Any]:
    """Describe the code and the machine, for a manifest."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("iter-lightning", *PACKAGES)},
        **_commit(),
    }


def describe_data(
    title: str, files: Iterable[Path], splits: dict[str, list[Example]], unit: str = "sentences"
) -> dict[str, Any]:
    """Return sizes and digests of the files that were read, and of the splits (after the split protocol).

    The key `sentences` of a split counts its examples, whatever their `unit` is.
    """
    return {
        "title": title,
        "unit": unit,
        "files": _file_digests(list(files)),
        "splits": {
            name: {
                "sentences": len(split),
                "entities": sum(len(e.entities) for e in split),
                "relations": sum(len(e.relations) for e in split),
                "sha256": digest(split),
            }
            for name, split in splits.items()
        },
    }


def _file_digests(files: list[Path]) -> dict[str, str]:
    """Return digests by file name, or by path if two files share a name."""
    names = [path.name for path in files]
    return {
        path.name if names.count(path.name) == 1 else str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def digest(examples: Iterable[Example]) -> str:
    """Return the SHA-256 of the words and annotation of examples, in order."""
    sha = hashlib.sha256()
    for e in examples:
        entities = [(x.start, x.end, x.type) for x in e.entities]
        relations = [(r.head.span, r.head.type, r.tail.span, r.tail.type, r.type) for r in e.relations]
        sha.update(json.dumps([e.left_context, e.words, e.right_context, entities, relations]).encode())
    return sha.hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> dict[str, Any]:
    """Return the commit of the package's source if it runs from a checkout."""
    root = Path(__file__).parents[2]
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10)
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=root, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return {"commit": None, "commit_clean": None}
    if head.returncode or not (root / "pyproject.toml").exists():
        return {"commit": None, "commit_clean": None}
    return {"commit": head.stdout.strip(), "commit_clean": not status.stdout.strip()}
