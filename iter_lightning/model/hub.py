"""Where a saved model lies, a folder or an id on the Hugging Face hub, and how its files are read."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
from safetensors import SafetensorError

from iter_lightning.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor

PATTERNS = ("*.json", "*.safetensors", "*.model", "vocab.txt", "merges.txt", "onnx/*.onnx", "onnx/*.data")
"""What is downloaded: configurations, weights that cannot execute code, vocabularies, exported graphs."""
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def locate(name: str | Path, revision: str | None = None) -> Path:
    """The folder `name`; where there is none, and `name` is a string `owner/model`, that model of the hub.

    Args:
        name: a folder or a hub id.
        revision: branch, tag or commit of a hub id; None is its main branch.

    Raises:
        EncoderError: no folder and nothing of that name on the hub, or no way to the hub.
    """
    folder = Path(name)
    if folder.exists() or not (isinstance(name, str) and _ID.fullmatch(name)):
        return folder
    at = f"{name} at {revision}" if revision else name
    try:
        source = huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(PATTERNS))
    except (OSError, ValueError) as error:  # not found, refused, no network, offline and not in the cache
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"no ITER model {at}: there is no such folder, and the hub gave none: {reason}") from error
    if not (Path(source) / "config.json").is_file():
        raise EncoderError(f"no ITER model {at}: what the hub has of that name holds no config.json")
    return Path(source)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        EncoderError: the file cannot be read, or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise EncoderError(f"{path}: found {type(values).__name__}, expected an object")
    return values


def read_tensors(source: Path) -> tuple[Path, dict[str, Tensor]]:
    """All tensors of a folder (one safetensors file, several, or a pickle without code), and the file to name.

    Raises:
        EncoderError: there are none, or a file cannot be read.
    """
    whole, index, pickled = (
        source / name for name in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
    )
    if whole.is_file():
        return whole, _load(whole)
    if index.is_file():
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict) or not all(Path(str(name)).name == name for name in shards.values()):
            raise EncoderError(f"{index}: weight_map: found {str(shards)[:60]}, expected names of files of its folder")
        return index, {k: v for name in sorted(set(shards.values())) for k, v in _load(source / name).items()}
    if pickled.is_file():
        return pickled, _load(pickled)
    raise EncoderError(f"no ITER model in {source}: none of {whole.name}, {index.name} and {pickled.name} is there")


def _load(path: Path) -> dict[str, Tensor]:
    """The tensors of one file; of a pickle tensors alone, or nothing."""
    import torch  # exported graphs are found without it
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise EncoderError(f"{path}: cannot be read as tensors: {str(error).strip().splitlines()[0]}") from error
    if not isinstance(found, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
        raise EncoderError(f"{path}: found {type(found).__name__}, expected named tensors")
    return found


def without_shared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each storage once: safetensors refuses tied tensors, and tying is part of the architecture."""
    seen: set[int] = set()
    return {
        name: value
        for name, value in tensors.items()
        if not (value.data_ptr() in seen or seen.add(value.data_ptr()))  # type: ignore[func-returns-value]
    }
