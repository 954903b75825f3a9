"""Files that appear whole or not at all, files that one process holds, and files that are safe to read."""

from __future__ import annotations

import fcntl
import gzip
import io
import os
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from iter_lightning.errors import IterError

FREE_BYTES = 64 << 20
"""A gzip stream may always unpack to this many bytes."""
LARGEST_EXPANSION = 256
"""Beyond `FREE_BYTES`, a gzip stream may unpack to this many times the bytes read of it. Deflate reaches 1,032."""
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip
_PART = ".part"
"""The end of a hidden file's name while it is written."""
_held: set[int] = set()
"""Descriptors of the lock files that this process holds."""


def regular_file(path: str | Path) -> Path:
    """Return the path if it is a regular file, or a link to one: reading it neither blocks nor runs forever.

    Raises:
        IterError: a folder, FIFO, socket or device.
        OSError: there is no such file.
    """
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode):
        raise IterError(f"{path} is {kind_of_file(mode)}, expected a regular file")
    return Path(path)


def kind_of_file(mode: int) -> str:
    """Name a file that is not a regular one by its `st_mode`."""
    return next((name for test, name in _KINDS if test(mode)), "not a file")


class GzipReader(io.RawIOBase):
    """The unpacked bytes of a gzip stream.

    Reading raises `gzip.BadGzipFile` when the stream is damaged, or when it unpacks to more than `FREE_BYTES` and
    more than `LARGEST_EXPANSION` times its size.

    Args:
        packed: a binary stream; closing the reader leaves it open.
    """

    def __init__(self, packed: Any) -> None:
        super().__init__()
        self._packed = _CountingReader(packed)
        self._unpacker = gzip.GzipFile(fileobj=self._packed, mode="rb")  # type: ignore[call-overload]
        self._unpacked = 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack into a buffer; returns the number of bytes, 0 at the end."""
        try:
            data: bytes = self._unpacker.read1(len(buffer))
        except (zlib.error, gzip.BadGzipFile) as error:
            raise gzip.BadGzipFile(f"damaged: {error}") from error
        self._unpacked += len(data)
        if self._unpacked > max(FREE_BYTES, LARGEST_EXPANSION * self._packed.count):
            raise gzip.BadGzipFile(
                f"it unpacks to more than {LARGEST_EXPANSION} times its size; if that is meant, unpack it with gunzip"
            )
        buffer[: len(data)] = data
        return len(data)


class _CountingReader:
    """Counts the bytes that `gzip.GzipFile` reads."""

    def __init__(self, file: Any) -> None:
        self.count = 0
        self._file = file

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self.count += len(data)
        return data


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a hidden file beside `path` that replaces it when the block ends well.

    The file is synced to the disk before it is renamed, and its folder afterwards, so that after a kill or a crash
    either the old file or the new one is there. The umask decides its permissions.

    Args:
        path: where the file will be. Missing folders are created.
        mode: `w` for text in UTF-8, `wb` for bytes.

    Raises:
        OSError: from the file system. `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = hidden(path)
    try:
        with part.open(mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is there whole or as before, also after a crash."""
    with whole_file(path) as file:
        file.write(text)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Create an empty hidden folder that replaces `target` when the block ends well; it is removed otherwise.

    Raises:
        OSError: from the file system. `target` stays as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, old = hidden(target), hidden(target)
    part.mkdir()
    try:
        yield part
        finish_folder(part)
        if target.exists():
            target.replace(old)
        try:
            part.replace(target)
        except BaseException:
            if old.exists():
                old.replace(target)
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    sync(target.parent)


def hidden(path: Path) -> Path:
    """A new name beside `path` for what is being written; `sweep` finds it after a kill."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PART}")


def sweep(path: Path) -> None:
    """Remove what a killed process left of writing `path`. Call it only where no other process writes this file."""
    prefix = f".{path.name}."
    if path.parent.is_dir():
        for part in path.parent.iterdir():
            if part.name.startswith(prefix) and part.name.endswith(_PART) and part.is_file():
                part.unlink(missing_ok=True)


def permit(path: Path) -> None:
    """Give a file or folder the permissions of a new one, where a library made it for its owner alone."""
    granted = _granted(path.parent)
    path.chmod(granted if path.is_dir() else granted & 0o666)


def finish_folder(folder: Path) -> None:
    """Prepare a new folder for the rename to its place: permissions as `permit`, and everything synced to the disk."""
    granted = _granted(folder.parent)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(granted if path.is_dir() else granted & 0o666)
        sync(path)


def _granted(folder: Path) -> int:
    """Permissions that the umask leaves, read from a new file: asking the system would change them for all threads."""
    probe = hidden(folder / "permissions")
    handle = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o777)
    try:
        return os.fstat(handle).st_mode & 0o777
    finally:
        os.close(handle)
        probe.unlink()


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, taken: Exception, wait: float = 0.0) -> Iterator[None]:
    """Hold a lock file. The system releases it when this process ends, however it ends.

    Forked children close their copy of the descriptor: the lock never outlives the process that took it.

    Args:
        path: created if it is missing; its folder must be there.
        taken: raised when another process holds the file.
        wait: seconds to wait for it.
    """
    _release_in_children()
    deadline = time.monotonic() + wait
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _held.add(lock)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise taken from None
                time.sleep(0.1)
        yield
    finally:
        if lock in _held:  # a forked child has closed it already
            fcntl.flock(lock, fcntl.LOCK_UN)  # also for children forked so recently that they have not closed it yet
            _held.remove(lock)
            os.close(lock)


@cache
def _release_in_children() -> None:
    """Let every fork of this process close the descriptors of held locks; registered once."""

    def close() -> None:
        for lock in _held:
            os.close(lock)
        _held.clear()

    os.register_at_fork(after_in_child=close)
