"""Read the files of a stored model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from iter_lightning.errors import EncoderError, IterError
from iter_lightning.io.streams import regular_file
from iter_lightning.model.compact import restore, restored_shapes

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files that contain a model's tensors, or an index of such files; the first that exists is used."""
_SUFFIXES = {".bin", ".data", ".jinja", ".json", ".model", ".onnx", ".safetensors", ".txt"}
"""Suffixes of files that are read from a model's folder."""


def check_files(folder: Path) -> None:
    """Check that each file in a model's folder is a regular file or a link to one.

    Raises:
        EncoderError: one is a FIFO, a device, a folder or a broken link, or `folder` is not a folder.
    """
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix in _SUFFIXES:
                regular_file(path)
    except (OSError, IterError) as error:
        raise EncoderError(str(error)) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object.

    Raises:
        EncoderError: the file cannot be read or contains something else.
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
    """Return the file to name in messages, and the files that contain the tensors of a folder.

    These are one or several safetensors files, or pickles, from which only tensors are read.

    Raises:
        EncoderError: there are no such files, or an index names files outside the folder.
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
            raise EncoderError(f"{path}: weight_map: found {str(shards)[:60]}, expected names of files in its folder")
        return path, [source / name for name in sorted(set(names))]
    raise EncoderError(f"no model weights in {source}: expected one of {', '.join(WEIGHTS)}")


def read_tensors(source: Path) -> tuple[Path, dict[str, Tensor]]:
    """Read all tensors of a folder, and return them with the file to name in messages. No code is executed.

    Raises:
        EncoderError: there are no tensors, or a file cannot be read.
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
            return restored_shapes({n: (part.get_dtype(), list(part.get_shape())) for n, part in slices.items()})
    except (OSError, ValueError, SafetensorError, IterError) as error:
        raise EncoderError(f"{path}: cannot be read as tensors: {error}") from error


def _load(path: Path) -> dict[str, Tensor]:
    """Read the tensors of one file; a pickle with anything else is refused."""
    import torch  # imported here, since exported graphs need no torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return restore(load_file(regular_file(path)))
        found = torch.load(regular_file(path), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of errors for a damaged file
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"{path}: cannot be read as tensors: {said}") from error
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    ):
        raise EncoderError(f"{path}: found {type(found).__name__}, expected named tensors")
    return found


def without_shared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keep one tensor per storage: safetensors refuses tied tensors, and the architecture ties them again."""
    seen: set[int] = set()
    return {
        name: value
        for name, value in tensors.items()
        if not (value.data_ptr() in seen or seen.add(value.data_ptr()))  # type: ignore[func-returns-value]
    }
