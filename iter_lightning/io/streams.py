"""Read only regular files, and gzip streams whose unpacked size is bounded."""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from pathlib import Path
from typing import Any

from iter_lightning.errors import IterError

FREE_BYTES = 64 << 20
"""Number of bytes that any gzip stream may unpack to."""
LARGEST_EXPANSION = 256
"""Largest ratio of unpacked to packed bytes beyond `FREE_BYTES`. The deflate format can reach 1,032."""
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip


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
