"""Find the folder that the name of a model stands for: a folder, or a download from the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

import huggingface_hub

from iter_lightning.errors import EncoderError

PATTERNS = ("*.json", "*.safetensors", "*.model", "vocab.txt", "merges.txt", "onnx/*.onnx", "onnx/*.data")
"""Files that are downloaded: configurations, weights that cannot execute code, vocabularies, exported graphs."""
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

READY = Path(__file__).parents[1] / "ready_models"
"""Folder of the models that are installed with the package."""
DEFAULT = "open-minilm"
"""The model that is used if none is named."""


def ready_models() -> list[str]:
    """Return the names of the models that are installed with the package."""
    return sorted(path.parent.name for path in READY.glob("*/config.json"))


def resolve_model(name: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a model, downloading it from the hub if necessary.

    This is the only place that decides what the name of a model means.

    Args:
        name: a run folder (its model is in `model/`), or the folder of a saved, exported or published model; if
            there is neither, the name of a ready model, or a hub id `owner/model`.
        revision: branch, tag or commit of a hub id; None is its main branch.

    Returns:
        the folder, which contains a config.json.

    Raises:
        EncoderError: there is no model; the message lists what was tried.
    """
    folder = Path(name)
    for found in (folder / "model", folder):
        if os.path.lexists(found / "config.json"):  # whether it can be read is checked on loading
            return found
    tried = f"no ITER model {name}{f' at {revision}' if revision else ''}: tried {folder / 'model'} and {folder}"
    if folder.exists():
        raise EncoderError(f"{tried}, which have no config.json")
    if str(name) in ready_models():
        return READY / name
    if not (isinstance(name, str) and _ID.fullmatch(name)):
        raise EncoderError(
            f"{tried}, which do not exist; expected a run folder, a model folder, the name of a ready model "
            f"({', '.join(ready_models()) or 'none is installed'}) or a hub id owner/model"
        )
    try:
        source = huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(PATTERNS))
    except (OSError, ValueError) as error:  # not found, access denied, no network, or offline and not in the cache
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"{tried}, which do not exist, and the hub, which returned an error: {reason}") from error
    if not (Path(source) / "config.json").is_file():
        raise EncoderError(f"{tried}, which do not exist, and the hub, whose repository has no config.json")
    return Path(source)
