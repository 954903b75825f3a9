"""Open files, gzipped files and standard input, and split them into lines."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, NamedTuple

from iter_lightning.extraction.formats.support.base import Advance, DamagedError, ReadOptions, Source
from iter_lightning.io.streams import GzipReader

BLOCK = 1 << 16
"""Bytes read at once."""
FAULTS = (OSError, EOFError)
"""Raised when a file, or the disk it lies on, is damaged."""
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Line(NamedTuple):
    """A line of a file, with its ending."""

    number: int
    data: bytes
    whole: bool
    """False if the line is longer than `limit`; `data` is its beginning."""
    limit: int

    @property
    def place(self) -> str:
        """The place for messages."""
        return f"line {self.number}"

    def text(self) -> str:
        """Return the line without its LF or CR LF.

        Raises:
            ValueError: it is longer than `limit`, or not UTF-8.
        """
        if not self.whole:
            raise ValueError(f"longer than {self.limit:,} bytes")
        line = decoded(self.data)
        return line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line

    def shown(self) -> str:
        """Return the beginning of the line, with bytes that are not UTF-8 escaped."""
        return self.data[:4000].decode("utf-8", "backslashreplace").rstrip("\r\n")


@contextmanager
def opened(source: Source, advance: Advance) -> Iterator[io.BufferedReader[Any]]:
    """Open a source; the stream is decompressed and starts after the byte order mark.

    Raises:
        DamagedError: it cannot be opened, its beginning cannot be read, or it is UTF-16.
    """
    with ExitStack() as stack:
        try:
            if source.path is None:
                raw: Any = sys.stdin.buffer
            else:
                raw = stack.enter_context(open(source.path, "rb", buffering=0))  # noqa: PTH123 (names of any bytes)
            stream: io.BufferedReader[Any] = io.BufferedReader(_Counted(raw, advance), BLOCK)
            # a stream has no suffix
            packed = stream.peek(2)[:2] == b"\x1f\x8b" if source.path is None else source.path.lower().endswith(".gz")
            if packed:
                stream = stack.enter_context(io.BufferedReader(GzipReader(stream), BLOCK))
            head = stream.peek(3)[:3]
            if head == _BOM:
                stream.read(3)
        except FAULTS as error:
            raise DamagedError("file", cannot_be_read(error, begun=False)) from error
        if head[:2] in _UTF_16:
            raise DamagedError("file", "UTF-16, expected UTF-8")
        yield stream


def lines_of(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Line]:
    """Open a source and yield its lines, which end with LF; of one that is too long, only the beginning is kept.

    Raises:
        DamagedError: the source cannot be opened, or breaks off.
    """
    with opened(source, advance) as stream:
        yield from _lines(stream, options.longest_record)


def _lines(stream: BinaryIO, limit: int) -> Iterator[Line]:
    number = 0
    try:
        while data := stream.readline(limit):
            number += 1
            whole = len(data) < limit or data.endswith(b"\n")
            yield Line(number, data if whole else data[:4000], whole, limit)
            while not whole:
                more = stream.readline(BLOCK)
                whole = not more or more.endswith(b"\n")
    except FAULTS as error:
        raise DamagedError(f"line {number + 1}", cannot_be_read(error)) from error


def decoded(data: bytes) -> str:
    """Decode UTF-8; raise `ValueError` that names the first wrong byte."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} (0x{data[error.start]:02x}) is not UTF-8") from None


def cannot_be_read(error: BaseException, begun: bool = True) -> str:
    """Describe a fault of a file; `begun` says that the part before it may have been read."""
    reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
    return f"cannot be read: {reason}" + ("; nothing more is read of the file" if begun else "")


class _Counted(io.RawIOBase):
    """A binary stream that reports how much of it is read; closing it leaves the original open."""

    def __init__(self, stream: Any, advance: Advance) -> None:
        super().__init__()
        # read the bytes that a pipe has, without waiting for more
        self._readinto = getattr(stream, "readinto1", stream.readinto)
        self._advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._readinto(buffer) or 0
        self._advance(count)
        return count
