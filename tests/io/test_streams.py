"""Only regular files are read, and gzip streams only up to a size."""

from __future__ import annotations

import gzip
import io
import os
import random
from pathlib import Path

import pytest

from iter_lightning.errors import IterError
from iter_lightning.io.streams import GzipReader, regular_file


def test_regular_file_is_returned_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    assert regular_file(tmp_path / "b") == tmp_path / "b"
    assert regular_file(str(tmp_path / "a")) == tmp_path / "a"


def test_regular_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, kind in ((tmp_path / "fifo", "a FIFO"), (tmp_path, "a folder"), (Path("/dev/null"), "a device")):
        with pytest.raises(IterError, match=f"{path} is {kind}, expected a regular file"):
            regular_file(path)
    with pytest.raises(FileNotFoundError):
        regular_file(tmp_path / "missing")


def unpacked(data: bytes) -> bytes:
    with io.BufferedReader(GzipReader(io.BytesIO(data))) as stream:
        return stream.read()


def test_gzip_stream_of_several_members_is_unpacked() -> None:
    data = os.urandom(100_000)
    assert unpacked(gzip.compress(data) + gzip.compress(b"more")) == data + b"more"


def test_gzip_stream_that_expands_too_far_is_refused() -> None:
    zeros = gzip.compress(bytes(1 << 20), 9)
    assert len(unpacked(zeros * 60)) == 60 << 20  # any small stream may
    with pytest.raises(gzip.BadGzipFile, match="more than 256 times its size"):
        unpacked(zeros * 100)
    half = gzip.compress(bytes(1 << 20) + os.urandom(1 << 14), 9)
    assert len(unpacked(half * 100)) == 100 * ((1 << 20) + (1 << 14))


def test_gzip_stream_that_is_damaged_is_refused() -> None:
    whole = gzip.compress(random.Random(0).randbytes(1000) * 2)
    for start in (0, 2, 100, len(whole) - 8):  # the magic number, the method, the data, the checksum
        with pytest.raises(OSError, match="damaged"):
            unpacked(whole[:start] + bytes(255 - byte for byte in whole[start : start + 4]) + whole[start + 4 :])
    with pytest.raises(EOFError):
        unpacked(whole[:-20])
