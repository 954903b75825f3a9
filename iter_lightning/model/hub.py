"""Where a saved model lies, a folder or an id on the Hugging Face hub, and how its files are read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
from safetensors import SafetensorError, safe_open

from iter_lightning.errors import EncoderError, IterError
from iter_lightning.files import regular_file

if TYPE_CHECKING:
    from torch import Tensor

PATTERNS = ("*.json", "*.safetensors", "*.model", "vocab.txt", "merges.txt", "onnx/*.onnx", "onnx/*.data")
"""What is downloaded: configurations, weights that cannot execute code, vocabularies, exported graphs."""
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files that hold a model's tensors or name those that do; the first that is there counts."""
_SUFFIXES = {".bin", ".data", ".jinja", ".json", ".model", ".onnx", ".safetensors", ".txt"}
"""Endings of files that are read from a model's folder."""
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


def check_files(folder: Path) -> None:
    """Check that the files of a model's folder can be read: each is a regular file, or a link to one.

    Raises:
        EncoderError: one is a FIFO, a device, a folder or a link to nothing, or the folder is not one.
    """
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix in _SUFFIXES:
                regular_file(path)
    except (OSError, IterError) as error:
        raise EncoderError(str(error)) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        EncoderError: the file cannot be read, or holds something else.
    """
    try:
        values = json.loads(regular_file(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path}: {error}") from error
    except RecursionError as error:
        raise EncoderError(f"{path}: objects and lists are nested too deeply") from error
    except IterError as error:
        raise EncoderError(str(error)) from error
    if not isinstance(values, dict):
        raise EncoderError(f"{path}: found {type(values).__name__}, expected an object")
    return values


def tensor_files(source: Path) -> tuple[Path, list[Path]]:
    """Return the file to name in messages, and the files that hold the tensors of a folder.

    These are one safetensors file, several, or pickles, of which only tensors are read.

    Raises:
        EncoderError: there are none, or an index names files outside the folder.
    """
    for name in WEIGHTS:
        path = source / name
        if not path.is_file():
            continue
        if path.suffix != ".json":
            return path, [path]
        shards = read_json(path).get("weight_map")
        names: list[Any] = list(shards.values()) if isinstance(shards, dict) else [None]
        if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise EncoderError(f"{path}: weight_map: found {str(shards)[:60]}, expected names of files of its folder")
        return path, [source / name for name in sorted(set(names))]
    raise EncoderError(f"no model weights in {source}: none of {', '.join(WEIGHTS[:-1])} and {WEIGHTS[-1]} is there")


def read_tensors(source: Path) -> tuple[Path, dict[str, Tensor]]:
    """Read all tensors of a folder; returns the file to name in messages, too. No code in them is executed.

    Raises:
        EncoderError: there are none, or a file cannot be read.
    """
    named, paths = tensor_files(source)
    return named, {name: tensor for path in paths for name, tensor in _load(path).items()}


def tensor_shapes(path: Path) -> dict[str, tuple[str, list[int]]]:
    """Read names, types (`F32`) and shapes of the tensors in a safetensors file, without the tensors.

    Raises:
        EncoderError: the file cannot be read.
    """
    try:
        with safe_open(regular_file(path), framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: (part.get_dtype(), list(part.get_shape())) for name, part in slices.items()}
    except (OSError, ValueError, SafetensorError, IterError) as error:
        raise EncoderError(f"{path}: cannot be read as tensors: {error}") from error


def _load(path: Path) -> dict[str, Tensor]:
    """The tensors of one file; of a pickle tensors alone, or nothing."""
    import torch  # exported graphs are found without it
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(regular_file(path))
        found = torch.load(regular_file(path), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything for a damaged file
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"{path}: cannot be read as tensors: {said}") from error
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    ):
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
