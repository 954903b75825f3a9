"""Runs on disk: their manifests, read once, and what a study needs of a finished one."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iter_lightning.errors import ConfigError
from iter_lightning.status import is_finished
from iter_lightning.training.extends import lookup
from iter_lightning.training.run import RunFolder
from iter_lightning.training.yaml_files import read_yaml
from iter_lightning.types import Example

if TYPE_CHECKING:
    from iter_lightning.model import IterModel

_REQUIRED = ("status", "config", "seed", "encoder", "tokenizer_sha256", "started", "device", "platform", "python",
             "versions", "evaluation", "data", "origin", "best", "seconds")  # fmt: skip


@dataclass(frozen=True)
class StoredRun:
    """A run folder whose manifest is read once.

    Example:
        >>> StoredRun(RunFolder("runs/absent/seed1")).finished
        False
    """

    folder: RunFolder

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What manifest.json holds; empty if there is none.

        Raises:
            ConfigError: The file is damaged.
        """
        return self.folder.manifest

    @property
    def finished(self) -> bool:
        """Whether the training ran to its end; false if the manifest is damaged."""
        try:
            return is_finished(self.manifest)
        except ConfigError:
            return False


def load_runs(folder: str | Path, pattern: str = "**") -> list[StoredRun]:
    """Find the run in a folder, or the runs below it, sorted by path.

    Args:
        folder: A run folder or a folder of run folders.
        pattern: Which folders below it to look at; `*/*` leaves out the trials of sweeps.

    Returns:
        The runs that have a manifest, finished or not.

    Example:
        >>> [run.folder.path for run in load_runs("runs") if run.finished]  # doctest: +SKIP
        [PosixPath('runs/conll04_minilm/seed1')]
    """
    own = Path(folder) / "manifest.json"
    found = [own] if own.exists() else sorted(Path(folder).glob(f"{pattern}/manifest.json"))
    return [StoredRun(RunFolder(path.parent)) for path in found]


def gaps(manifest: Mapping[str, Any]) -> list[str]:
    """List what a finished run's manifest lacks of what every figure must name; empty for a complete one."""
    missing = [key for key in _REQUIRED if manifest.get(key) in (None, {}, "")]
    if manifest.get("commit") is None and lookup(manifest, "versions.iter-lightning") is None:
        missing.append("commit")
    for split in ("train", "dev", "test"):
        if not lookup(manifest, f"data.splits.{split}.sha256"):
            missing.append(f"data.splits.{split}.sha256")
    if "encoder_sha256" not in (manifest.get("origin") or {}):
        missing.append("origin.encoder_sha256")
    return missing


def commits_of(manifests: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the commits that runs were made at, with `+` if the checkout had changes of its own."""
    return sorted({str(m.get("commit"))[:7] + ("" if m.get("commit_clean") else "+") for m in manifests})


def splits_of(folder: RunFolder, data_dir: Path) -> dict[str, list[Example]]:
    """Return the splits that a run was made on, by its own configuration.

    Args:
        folder: The run.
        data_dir: The folder of corpora, unless the run's configuration names one.
    """
    from iter_lightning.training.building import quiet
    from iter_lightning.training.cli import build_cli

    quiet()
    config = folder.path / "config.yaml"
    arguments = [f"--config={config}", f"--run_dir={folder.path}"]
    if not lookup(read_yaml(config), "data.init_args.data_dir"):
        arguments.append(f"--data.init_args.data_dir={data_dir}")
    splits: dict[str, list[Example]] = build_cli("test", arguments).datamodule.splits()
    return splits


def load_model(folder: RunFolder) -> tuple[IterModel, str]:
    """Load the exported model onto this machine's device; return it with the device's name."""
    import torch

    from iter_lightning.model import IterModel

    cuda = torch.cuda.is_available()
    model = IterModel.from_pretrained(folder.model).to("cuda" if cuda else "cpu")
    name = torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return model, name


def log_tail(path: Path, lines: int = 5) -> str:
    """Return the last lines of a log, for the report of a crash."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError as error:
        return f"no log: {error}"
    return "\n".join(f"    {line[:200]}" for line in text[-lines:])
