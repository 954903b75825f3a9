"""A file or folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iter_lightning.errors import ConfigError, IterError
from iter_lightning.files import locked, sync

_OURS = (".ann", ".txt")
_OURS_TOO = ("annotation.conf", "ids.tsv")
"""What a folder may hold that is replaced."""
_HOME, _LOCK = ".part", "lock"
"""The end of a hidden folder's name, and the file in it that its process holds."""


@contextmanager
def replacing(path: Path, folder: bool) -> Iterator[Path]:
    """A path to write to, in a hidden folder beside `path` that is gone afterwards; moved to `path` if all went well.

    What is at `path` is replaced: a file in one step; a folder (of an earlier export, or empty) in two. A link stays
    a link, what it names is replaced.

    Raises:
        ConfigError: something else is at `path`.
        IterError: the file system refuses.
    """
    check_target(path, folder)
    path = Path(os.path.realpath(path))
    with cannot_be_written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.name[:20]}."
        _sweep(path.parent, prefix)
        home = Path(tempfile.mkdtemp(dir=path.parent, prefix=prefix, suffix=_HOME))
    try:
        part = home / path.name  # keeps the name, and with it the suffix
        with locked(home / _LOCK, IterError(f"{home} is in use")):
            yield part
            with cannot_be_written(path):
                _check(path, folder)  # hours may have passed
                _move(part, path, home)
    finally:
        _remove(home)


def check_target(path: Path, folder: bool) -> None:
    """Check that a file or folder can be written at `path`; creates nothing.

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


def _sweep(parent: Path, prefix: str) -> None:
    """Remove what a killed process left: hidden folders of ours that nobody holds."""
    for home in parent.iterdir():
        if home.name.startswith(prefix) and home.name.endswith(_HOME) and (home / _LOCK).is_file():
            with suppress(_InUseError), locked(home / _LOCK, _InUseError()):
                _remove(home)


def _remove(home: Path) -> None:
    """Remove a hidden folder, its lock last: without one, what a killed process leaves would never be swept."""
    with suppress(OSError):
        for path in home.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink()
    shutil.rmtree(home, ignore_errors=True)


class _InUseError(Exception):
    """Another process writes there."""


@contextmanager
def cannot_be_written(path: Path) -> Iterator[None]:
    """The file system's errors, also as SQLite tells them, as one that names the output."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IterError(f"{path}: cannot be written: {reason}") from error


def _check(path: Path, folder: bool) -> None:
    if not path.exists():
        return
    if not folder:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, expected a file to write to")
        if not path.is_file():
            raise ConfigError(f"{path} is no regular file, which replacing it would destroy")
        return
    if not path.is_dir():
        raise ConfigError(f"{path} is a file, expected a folder to write to")
    if path.is_mount():
        raise ConfigError(f"{path} is a mount point, which cannot be replaced: name a folder inside of it")
    with os.scandir(path) as entries:
        names = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    foreign = sorted(n for n, is_file in names.items() if not (is_file and (n.endswith(_OURS) or n in _OURS_TOO)))
    if names and (foreign or "annotation.conf" not in names):
        raise ConfigError(
            f"{path} holds {foreign[0] if foreign else 'no annotation.conf'}: only an empty folder or one of an "
            "earlier export is replaced"
        )


def _move(part: Path, path: Path, home: Path) -> None:
    if part.is_dir():
        os.sync()  # one call for all of its files, of which there may be very many
        if path.exists():
            path.rename(home / "before")
        try:
            part.rename(path)
        except BaseException:
            if (home / "before").exists():
                (home / "before").rename(path)
            raise
    else:
        sync(part)
        part.replace(path)
    sync(path.parent)
