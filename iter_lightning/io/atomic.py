"""Write files and folders atomically: after a crash, a path has either its old content or the new one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_PART = ".part"
"""Suffix of a hidden file or folder that is being written."""


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside `path`; the file written there replaces `path` when the block ends well.

    Missing folders are created. The file is synced to disk before it is renamed, and its folder afterwards.

    Raises:
        OSError: If the file system reports an error. `path` is unchanged then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = hidden(path)
    try:
        yield part
        replace_file(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a hidden file that replaces `path` when the block ends well; see `staged_file`.

    Permissions follow the umask.

    Args:
        path: Path of the finished file.
        mode: `w` for text in UTF-8, `wb` for bytes.
    """
    encoding = None if "b" in mode else "utf-8"
    with staged_file(path) as part, part.open(mode.replace("w", "x"), encoding=encoding) as file:
        yield file


def write_atomically(path: Path, text: str) -> None:
    """Write a text file atomically; see `staged_file`."""
    with whole_file(path) as file:
        file.write(text)


@contextmanager
def whole_folder(target: Path, aside: Path | None = None) -> Iterator[Path]:
    """Create an empty hidden folder that replaces `target` when the block ends well; it is removed otherwise.

    Args:
        target: Path of the finished folder.
        aside: Where the old folder stays while the new one takes its place; None is a hidden path. If the process is
            killed in between, the old folder remains there.

    Raises:
        OSError: If the file system reports an error. `target` is unchanged then.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, aside = hidden(target), aside or hidden(target)
    part.mkdir()
    try:
        yield part
        finish_folder(part)
        replace_folder(part, target, aside)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)


def replace_file(part: Path, path: Path) -> None:
    """Sync a finished file to disk and rename it to `path`."""
    sync(part)
    part.replace(path)
    sync(path.parent)


def replace_folder(part: Path, target: Path, aside: Path) -> None:
    """Rename a finished folder to `target`, after moving the old folder to `aside`; it moves back if this fails."""
    if target.exists():
        shutil.rmtree(aside, ignore_errors=True)
        target.replace(aside)
    try:
        part.replace(target)
    except BaseException:
        if aside.exists():
            aside.replace(target)
        raise
    sync(target.parent)


def hidden(path: Path) -> Path:
    """Return a new hidden name beside `path` for a partial file or folder, which `sweep` removes."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PART}")


def sweep(path: Path) -> None:
    """Remove partial files and folders of `path` left by killed processes. No other process may be writing `path`."""
    prefix = f".{path.name}."
    if path.parent.is_dir():
        for part in path.parent.iterdir():
            if part.name.startswith(prefix) and part.name.endswith(_PART):
                if part.is_dir():
                    shutil.rmtree(part, ignore_errors=True)
                else:
                    part.unlink(missing_ok=True)


def permit(path: Path) -> None:
    """Set the permissions that the umask gives to new files, for files that a library created as private."""
    granted = _granted(path.parent)
    path.chmod(granted if path.is_dir() else granted & 0o666)


def finish_folder(folder: Path) -> None:
    """Prepare a new folder for its final rename: set permissions as `permit` does, and sync all files to disk."""
    granted = _granted(folder.parent)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(granted if path.is_dir() else granted & 0o666)
        sync(path)


def _granted(folder: Path) -> int:
    """Return the permissions that the umask leaves, read from a new file, because `os.umask` affects all threads."""
    probe = hidden(folder / "permissions")
    handle = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o777)
    try:
        return os.fstat(handle).st_mode & 0o777
    finally:
        os.close(handle)
        probe.unlink()


def sync(path: Path) -> None:
    """Sync a file, or the directory entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
