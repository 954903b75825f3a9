"""Standard input, gzip, pipes and failing disks."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
from pathlib import Path

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions
from tests.extraction.formats.builders import noise, write_input


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_standard_input_is_read_once_as_lines(monkeypatch: pytest.MonkeyPatch, pack: object) -> None:
    assert callable(pack)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pack("\ufeffone\ntwo".encode()))))
    reading = Reading(["-"])
    assert reading.total is None
    assert list(reading) == [Document("one", id="-:line 1"), Document("two", id="-:line 2")]
    assert reading.done > 6
    assert not sys.stdin.buffer.closed
    with pytest.raises(ConfigError, match="can be read once"):
        list(reading)


def test_line_of_a_pipe_is_read_before_the_next_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    out, into = os.pipe()
    with open(out, "rb") as source, open(into, "wb", buffering=0) as sink:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
        items = iter(Reading(["-"], ReadOptions("jsonl")))
        for text in ("one", "two"):
            sink.write(json.dumps({"text": text}).encode() + b"\n")
            item = next(items)
            assert isinstance(item, Document)
            assert item.text == text


def test_standard_input_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="parquet cannot be read from a stream"):
        Reading(["-"], ReadOptions("parquet"))
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="-: standard input is closed"):
        Reading(["-"])


def test_gzip_bomb_is_refused(tmp_path: Path) -> None:
    small = gzip.compress(bytes(1 << 20), 9)
    path = tmp_path / "bomb.jsonl.gz"
    path.write_bytes(small * 1024)  # a gigabyte
    reading = Reading([str(path)])
    (bad,) = reading
    assert isinstance(bad, BadRecord)
    assert "it unpacks to more than 256 times its size" in bad.reason
    assert reading.sources[0].size == reading.done
    allowed = tmp_path / "allowed.txt.gz"
    allowed.write_bytes(gzip.compress(b"a" * 1000 + b" " * (1 << 20), 9))
    (document,) = Reading([str(allowed)])
    assert isinstance(document, Document)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_only_the_needed_bytes_are_read(tmp_path: Path, name: str) -> None:
    path = write_input(tmp_path / name, "\n".join([*(noise(500) for _ in range(10)), noise(1 << 20), "last"]))
    reading = Reading([path], ReadOptions("lines"))
    assert reading.done == 0
    items = iter(reading)
    next(items)
    assert 0 < reading.done <= 3 * 65536 < (reading.total or 0)
    assert len([*items]) == 11
    assert reading.done == reading.total == Path(path).stat().st_size


@pytest.mark.parametrize("format", ["text", "lines", "jsonl", "json", "csv", "conll"])
def test_truncated_gzip_gives_what_came_before(tmp_path: Path, format: str) -> None:
    words = [f"w{number}-{noise(8, number)}" for number in range(8000)]
    lines = {
        "jsonl": [json.dumps({"text": word}) for word in words], "csv": ["text", *words],
        "json": ["[" + ",".join(json.dumps({"text": word}) for word in words) + "]"],
        "conll": [f"{word}\tO\n" for word in words],
    }.get(format, words)  # fmt: skip
    path = tmp_path / "a.gz"
    whole = gzip.compress("\n".join(lines).encode())
    path.write_bytes(whole[: len(whole) // 2])
    after = write_input(tmp_path / "b.gz", "text\n" if format == "csv" else "[]" if format == "json" else "")
    reading = Reading([str(path), after], ReadOptions(format))
    *good, bad = [item for item in reading if item != Document("", id=after)]
    assert isinstance(bad, BadRecord)
    assert "Compressed file ended before" in bad.reason
    texts = [item.text for item in good if isinstance(item, Document)]
    assert texts == words[: len(texts)]
    assert len(good) == len(texts)
    assert len(texts) > (2500 if format != "text" else -1)
    assert list(reading)[: len(good)] == good


@pytest.mark.parametrize("content", [b"no gzip", b"\x1f\x8b", b"\x1f\x8b\x08\x00garbage!!!!!!!"])
def test_invalid_gzip_is_bad_and_the_next_file_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt.gz").write_bytes(content)
    write_input(tmp_path / "b.txt", "fine")
    bad, good = Reading([str(tmp_path)])
    assert isinstance(bad, BadRecord)
    assert (bad.source, bad.place) == ("a.txt.gz", "file")
    assert isinstance(good, Document)


def test_wrong_gzip_checksum_is_reported_after_the_lines(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"one\ntwo\n"))
    data[-8] ^= 1
    (tmp_path / "a.txt.gz").write_bytes(bytes(data))
    *_, bad = Reading([str(tmp_path / "a.txt.gz")], ReadOptions("lines"))
    assert isinstance(bad, BadRecord)
    assert "CRC check failed" in bad.reason


def test_failing_disk_is_reported_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_input(tmp_path / "a.txt", "one\n" + "x" * 200_000)
    items = iter(Reading([path], ReadOptions("lines")))
    assert next(items) == Document("one", id=f"{path}:line 1")

    def fails(self: object, buffer: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("iter_lightning.extraction.formats.support.streams._Counted.readinto", fails)
    assert list(items) == [
        BadRecord(path, "line 2", "cannot be read: Input/output error; nothing more is read of the file")
    ]


def test_complete_record_before_a_failing_disk_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_input(tmp_path / "a.json", "x")
    pieces = [b'[{"text": "one and one', b'"}, {"tex']

    def readinto(self: object, buffer: memoryview) -> int:
        if not pieces:
            raise OSError(5, "Input/output error")
        piece = pieces.pop(0)
        buffer[: len(piece)] = piece
        return len(piece)

    monkeypatch.setattr("iter_lightning.extraction.formats.support.streams._Counted.readinto", readinto)
    assert list(Reading([path])) == [
        Document("one and one", id=f"{path}:record 0"),
        BadRecord(path, "record 1", "cannot be read: Input/output error; nothing more is read of the file"),
    ]
