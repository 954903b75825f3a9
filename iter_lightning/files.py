"""Write files atomically, lock files, and read only regular files and bounded gzip streams."""

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
"""Number of bytes that any gzip stream may unpack to."""
LARGEST_EXPANSION = 256
"""Largest ratio of unpacked to packed bytes beyond `FREE_BYTES`. The deflate format can reach 1,032."""
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip
_PART = ".part"
"""Suffix of the hidden file that is being written."""
_held: set[int] = set()
"""Descriptors of the lock files that this process has locked."""


def regular_file(path: str | Path) -> Path:
    """Return the path if it is a regular file or a link to one, which can be read without blocking.

    Raises:
        IterError: If the path is a folder, FIFO, socket, or device.
        OSError: If the file does not exist.
    """
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode):
        raise IterError(f"{path} is {kind_of_file(mode)}, expected a regular file")
    return Path(path)


def kind_of_file(mode: int) -> str:
    """Return the kind of a file that is not regular, given its `st_mode`."""
    return next((name for test, name in _KINDS if test(mode)), "not a file")


class GzipReader(io.RawIOBase):
    """Read the unpacked bytes of a gzip stream.

    Reading raises `gzip.BadGzipFile` if the stream is damaged, or if it unpacks to more than `FREE_BYTES` and more
    than `LARGEST_EXPANSION` times its size.

    Args:
        packed: A binary stream. Closing the reader leaves it open.
    """

    def __init__(self, packed: Any) -> None:
        super().__init__()
        self._packed = _CountingReader(packed)
        self._unpacker = gzip.GzipFile(fileobj=self._packed, mode="rb")  # type: ignore[call-overload]
        self._unpacked = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack into a buffer and return the number of bytes, 0 at the end."""
        try:
            data: bytes = self._unpacker.read1(len(buffer))
        except (zlib.error, gzip.BadGzipFile) as error:
            raise gzip.BadGzipFile(f"damaged: {error}") from error
        self._unpacked += len(data)
        if self._unpacked > max(FREE_BYTES, LARGEST_EXPANSION * self._packed.count):
            raise gzip.BadGzipFile(
                f"it unpacks to more than {LARGEST_EXPANSION} times its size; if this is intended, use gunzip first"
            )
        buffer[: len(data)] = data
        return len(data)


class _CountingReader:
    """Count the bytes that `gzip.GzipFile` reads."""

    def __init__(self, file: Any) -> None:
        self.count = 0
        self._file = file

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self.count += len(data)
        return data


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a hidden file beside `path` that replaces `path` when the block ends without an exception.

    The file is synced to disk before it is renamed, and its folder afterwards. After a crash, `path` holds either the
    old content or the new one. Permissions follow the umask.

    Args:
        path: Path of the finished file. Missing folders are created.
        mode: `w` for text in UTF-8, `wb` for bytes.

    Raises:
        OSError: If the file system reports an error. `path` is unchanged then.
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
    """Write a text file atomically; see `whole_file`."""
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
    """Return a new hidden name beside `path` for a partial file. `sweep` removes such files."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PART}")


def sweep(path: Path) -> None:
    """Remove partial files of `path` left by killed processes. No other process may be writing `path`."""
    prefix = f".{path.name}."
    if path.parent.is_dir():
        for part in path.parent.iterdir():
            if part.name.startswith(prefix) and part.name.endswith(_PART) and part.is_file():
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


@contextmanager
def locked(path: Path, taken: Exception, wait: float = 0.0) -> Iterator[None]:
    """Lock a file. The operating system releases the lock when this process ends for any reason.

    Forked children close their copy of the descriptor, so the lock never outlives the process that acquired it.

    Args:
        path: The lock file. It is created if it is missing, but its folder must exist.
        taken: Exception to raise if another process has locked the file.
        wait: Seconds to wait for the lock.
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
            fcntl.flock(lock, fcntl.LOCK_UN)  # also for new children that have not closed it yet
            _held.remove(lock)
            os.close(lock)


@cache
def _release_in_children() -> None:
    """Register, once, that forked children close the descriptors of locked files."""

    def close() -> None:
        for lock in _held:
            os.close(lock)
        _held.clear()

    os.register_at_fork(after_in_child=close)
