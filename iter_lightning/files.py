"""Files that appear whole or not at all, files that are held by one process, and files that are safe to read."""

from __future__ import annotations

import fcntl
import gzip
import io
import os
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iter_lightning.errors import IterError

FREE_BYTES = 64 << 20
"""A gzip stream may always unpack to this many bytes."""
LARGEST_EXPANSION = 256
"""Beyond `FREE_BYTES`, a gzip stream may unpack to this many times the bytes read of it. Deflate reaches 1,032."""
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip


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
    """What a file is that is not a regular one, by its `st_mode`."""
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
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack into a buffer; returns the number of bytes, 0 at the end."""
        try:
            data: bytes = self._unpacker.read1(len(buffer))
        except zlib.error as error:
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


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is there whole or as before, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, taken: Exception, wait: float = 0.0) -> Iterator[None]:
    """Hold a lock file; the system lets go of it when the process ends, however it ends.

    Args:
        path: made where it is missing; its folder must be there.
        taken: raised where another process holds it.
        wait: seconds until then.
    """
    deadline = time.monotonic() + wait
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise taken from None
                time.sleep(0.1)
        yield
