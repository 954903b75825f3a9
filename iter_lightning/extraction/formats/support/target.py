"""Replace a file or folder atomically."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from iter_lightning.errors import ConfigError, IterError
from iter_lightning.io.atomic import hidden, replace_file, replace_folder
from iter_lightning.io.locks import locked

_LOCK = "lock"
"""The file in a hidden folder that its process holds."""


@contextmanager
def replacing(path: Path, folder: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield a path to write to, in a hidden folder beside `path`; if the block ends well, it is moved to `path`.

    What is at `path` is replaced: a file in one step, a folder (empty, or of an earlier export) in two. A link stays a
    link, and its target is replaced. What killed processes left is removed.

    Args:
        path: the output.
        folder: for a folder, patterns of the files that belong to the format; one without the first is not replaced.

    Raises:
        ConfigError: something else is at `path`.
        IterError: the file system refuses.
    """
    check_target(path, folder)
    path = Path(os.path.realpath(path))
    with cannot_be_written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.iterdir():
            if left.name.startswith(f".{path.name}.") and (left / _LOCK).is_file():
                with suppress(_InUseError), locked(left / _LOCK, _InUseError()):
                    _remove(left)
        home = hidden(path)
        home.mkdir()
    try:
        part = home / path.name  # keeps the name and so the suffix
        with locked(home / _LOCK, IterError(f"{home} is in use")):
            yield part
            with cannot_be_written(path):
                _check(path, folder)  # hours may have passed
                _move(part, path, home)
    finally:
        _remove(home)


def check_target(path: Path, folder: tuple[str, ...] = ()) -> None:
    """Check that a file or folder can be written at `path`, and create nothing; for the arguments see `replacing`.

    Raises:
        ConfigError: a path without a name of its own (`.`, `/`), something else at it, or a folder above it that
            cannot be written to.
        IterError: the file system refuses.
    """
    if path.name in ("", "..") or "\0" in str(path):
        raise ConfigError(f"output {str(path)!r}: expected a path that ends in a name")
    with cannot_be_written(path):
        real = Path(os.path.realpath(path))
        _check(real, folder)
        above = next(parent for parent in real.parents if parent.exists())
        if not above.is_dir():
            raise ConfigError(f"{path}: {above} is not a folder")
        if not os.access(above, os.W_OK | os.X_OK):
            raise ConfigError(f"{path}: cannot be written: the folder {above} is read-only")


@contextmanager
def cannot_be_written(path: Path) -> Iterator[None]:
    """Turn errors of the file system into one that names the output."""
    try:
        yield
    except OSError as error:
        raise IterError(f"{path}: cannot be written: {error.strerror or error}") from error


class _InUseError(Exception):
    """Another process writes there."""


def _remove(home: Path) -> None:
    """Remove a hidden folder, its lock last: without a lock, the rest of a killed process would never be removed."""
    with suppress(OSError):
        for path in home.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink()
    shutil.rmtree(home, ignore_errors=True)


def _check(path: Path, folder: tuple[str, ...]) -> None:
    if not path.exists():
        return
    if not folder:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, expected a file to write to")
        if not path.is_file():
            raise ConfigError(f"{path} is not a regular file, and replacing it would destroy it")
        return
    if not path.is_dir():
        raise ConfigError(f"{path} is a file, expected a folder to write to")
    if path.is_mount():
        raise ConfigError(f"{path} is a mount point, which cannot be replaced: name a folder inside it")
    with os.scandir(path) as entries:
        files = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    foreign = sorted(name for name, is_file in files.items() if not (is_file and any(fnmatch(name, f) for f in folder)))
    if files and (foreign or folder[0] not in files):
        raise ConfigError(
            f"{path} holds {foreign[0] if foreign else f'no {folder[0]}'}: only an empty folder or one of an "
            "earlier export is replaced"
        )


def _move(part: Path, path: Path, home: Path) -> None:
    if part.is_dir():
        os.sync()  # one call for all of its files, of which there may be millions
        replace_folder(part, path, home / "before")
    else:
        replace_file(part, path)
