"""Checkpoints to resume training from: written whole, and checked before they are read."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from iter_lightning.errors import IterError
from iter_lightning.files import sweep, whole_file

_KEYS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "epoch", "global_step")
"""What training resumes from."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin for local files, whose writes a kill, a crash or a full disk cannot cut short.

    Lightning itself writes to TMPDIR and moves the file: between two file systems that is a copy, which a kill leaves
    incomplete in the place of the last good checkpoint. Here the file is written beside its place, synced and renamed.
    It serves every `ModelCheckpoint` of the trainer.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            IterError: the file cannot be written; names it and says why. An earlier one of this name is unchanged.
        """
        if "://" in str(path):  # another machine's, through fsspec
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        try:
            sweep(path)
            with whole_file(path, "wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            refusal = _file_error(error)
            if refusal is None:
                raise
            raise IterError(
                f"the checkpoint {path} cannot be written: {refusal.strerror or refusal}; free the disk or change "
                "--run_dir's file system; the same command resumes from the last complete checkpoint"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Read a checkpoint, of tensors and plain values alone whatever `weights_only` says: no code is run.

        Raises:
            IterError: the file cannot be read.
        """
        try:
            return super().load_checkpoint(path, map_location, weights_only=True)
        except Exception as error:  # a damaged pickle raises anything
            raise _unreadable(path, _reason(error), "") from error


def check_checkpoint(path: str | Path, advice: str) -> None:
    """Read all of a checkpoint once, before anything depends on it.

    Every checksum is compared, which `torch.load` does not do: it takes over changed bytes silently.

    Args:
        path: a file, a folder written by a sharding strategy, or a URL, which is not read here.
        advice: what users can do if it is not readable.

    Raises:
        IterError: it is missing, damaged, or no checkpoint of a training.
    """
    if "://" in str(path):
        return
    path = Path(path)
    if (path / "meta.pt").is_file():  # sharded: left to the strategy
        return
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # a damaged pickle raises anything
        raise _unreadable(path, _reason(error), advice) from error
    missing = [key for key in _KEYS if not isinstance(found, dict) or key not in found]
    if missing:
        raise _unreadable(path, f"it is no checkpoint of a training ({', '.join(missing)} missing)", advice)


def _unreadable(path: str | Path, reason: str, advice: str) -> IterError:
    return IterError(f"the checkpoint {path} cannot be read: {reason}" + (f"; {advice}" if advice else ""))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError):
        return str(error.strerror or error).lower()
    if isinstance(error, pickle.UnpicklingError):
        return "it holds more than tensors and plain values, which could run code"
    if isinstance(error, zipfile.BadZipFile):
        return f"it is damaged or was not written by `fit` ({error})"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"it is damaged or was not written by `fit` ({type(error).__name__}: {first[:100]})"


def _file_error(error: BaseException | None) -> OSError | None:
    """The file system's error behind another: `torch.save` hides it in a `RuntimeError` about positions."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
