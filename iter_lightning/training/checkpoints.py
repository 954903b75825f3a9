"""Checkpoints to resume training from: written atomically, and verified before they are read."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from iter_lightning.errors import IterError
from iter_lightning.io.atomic import sweep, whole_file

_KEYS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "epoch", "global_step")
"""Keys that resuming needs."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, so that a kill, a crash or a full disk cannot leave a partial file.

    Lightning itself writes to TMPDIR and moves the file. Between two file systems a move is a copy, and a kill would
    leave an incomplete copy in place of the last good checkpoint. This class writes the file next to its destination,
    syncs it and renames it. It serves every `ModelCheckpoint` of the trainer.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            IterError: the file cannot be written; names it and the reason. An earlier file of this name is unchanged.
        """
        if "://" in str(path):  # a remote file, written through fsspec
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
        """Read a checkpoint of tensors and plain values, whatever `weights_only` says; no code is executed.

        Raises:
            IterError: the file cannot be read.
        """
        try:
            return super().load_checkpoint(path, map_location, weights_only=True)
        except Exception as error:  # a damaged pickle raises any kind of error
            raise _unreadable(path, _reason(error), "") from error


def check_checkpoint(path: str | Path, advice: str) -> None:
    """Verify a checkpoint by reading it completely, before training starts from it.

    Every checksum is compared, which `torch.load` does not do: it reads changed bytes silently.

    Args:
        path: a file, a folder written by a sharding strategy, or a URL, which is not read here.
        advice: what users can do if it cannot be read.

    Raises:
        IterError: it is missing or damaged, or not a training checkpoint.
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
    except Exception as error:  # a damaged pickle raises any kind of error
        raise _unreadable(path, _reason(error), advice) from error
    missing = [key for key in _KEYS if not isinstance(found, dict) or key not in found]
    if missing:
        raise _unreadable(path, f"it is not a training checkpoint ({', '.join(missing)} missing)", advice)


def _unreadable(path: str | Path, reason: str, advice: str) -> IterError:
    return IterError(f"the checkpoint {path} cannot be read: {reason}" + (f"; {advice}" if advice else ""))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError):
        return str(error.strerror or error).lower()
    if isinstance(error, pickle.UnpicklingError):
        return "it contains more than tensors and plain values, which could run code"
    if isinstance(error, zipfile.BadZipFile):
        return f"it is damaged or was not written by `fit` ({error})"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"it is damaged or was not written by `fit` ({type(error).__name__}: {first[:100]})"


def _file_error(error: BaseException | None) -> OSError | None:
    """Return the file system's error behind another; `torch.save` hides it in a `RuntimeError` about positions."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
