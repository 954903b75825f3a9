"""What inputs are, in which order they come, how far they are read, and what is told of those that fail."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import socket
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions, formats


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def ids(reading: Reading) -> list[str]:
    return [item.id if isinstance(item, Document) else f"{item.source}: {item.place}" for item in reading]


def noise(size: int, seed: int = 0) -> str:
    """Text that gzip cannot make small."""
    return random.Random(seed).randbytes(size).hex()


# what is read --------------------------------------------------------------------------------------------------------


def test_folders_give_known_files_sorted_and_tell_of_the_others(tmp_path: Path) -> None:
    for name in ("b/z.txt", "b/a.MD", "b-c.txt", "a.txt.gz", ".hidden.txt", ".git/x.txt", "c.pdf", "d.pdf", "README",
                 "b/e.parquet.gz", "f.py"):  # fmt: skip
        write(tmp_path / "in" / name, "x")
    reading = Reading([str(tmp_path / "in")])
    assert ids(reading) == ["a.txt.gz", "b/a.MD", "b/z.txt", "b-c.txt"]
    assert reading.notes == [f"{tmp_path}/in: 5 files left out by suffix (.pdf 2, no suffix 1, .parquet 1, .py 1)"]


def test_a_format_that_is_asked_for_chooses_the_files_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "Ada O\n")
    write(tmp_path / "b.conll", "Bo O\n")
    write(tmp_path / "c.jsonl", '{"text": "x"}')
    reading = Reading([str(tmp_path)], ReadOptions("conll"))
    assert [item.text for item in reading if isinstance(item, Document)] == ["Ada", "Bo"]
    assert "1 file left out" in reading.notes[0]
    odd = write(tmp_path / "d.data", "Cy O\n")
    assert ids(Reading([odd], ReadOptions("conll"))) == [f"{odd}:line 1"]


def test_inputs_come_in_their_order_under_the_names_they_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("z.txt", "one/a.txt", "two/a.txt", "two/b.txt"):
        write(tmp_path / name, name)
    assert ids(Reading(["z.txt", "one", "./two/b.txt"])) == ["z.txt", "a.txt", "./two/b.txt"]
    assert ids(Reading(["two/", "one"])) == ["two/a.txt", "b.txt", "one/a.txt"]


def test_what_is_given_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = write(tmp_path / "a.txt", "x")
    write(tmp_path / "b.txt", "y")
    reading = Reading([one, str(tmp_path), "./a.txt"])
    assert ids(reading) == [one, "b.txt"]
    assert reading.notes == [
        f"{tmp_path}: 1 file given more than once, read once", "./a.txt: given more than once, read once",
    ]  # fmt: skip


def test_links_to_folders_are_not_followed_and_links_to_files_are(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.txt", "x")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "b.txt").symlink_to(tmp_path / "in" / "a.txt")
    reading = Reading([str(tmp_path / "in")])
    assert ids(reading) == ["a.txt", "b.txt"]
    assert reading.notes == [f"{tmp_path}/in: 1 linked folder not followed"]


def test_names_that_are_no_utf8_are_escaped(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.txt")  # noqa: PTH118
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"x")
    assert ids(Reading([str(tmp_path)])) == ["caf\\xe9.txt"]
    assert ids(Reading([os.fsdecode(path)])) == [f"{tmp_path}/caf\\xe9.txt"]


@pytest.mark.parametrize("format", [name for name, format in formats().items() if format.readable])
def test_two_passes_give_the_same(tmp_path: Path, format: str) -> None:
    content = '{"text": "a"}\n{"text": 3}\n' if format in ("json", "jsonl") else "text\nb O\n\n"
    path = tmp_path / "in.data"
    if format == "parquet":
        pq.write_table(pa.table({"text": ["a", None]}), path)
    else:
        write(path, content)
    reading = Reading([str(path)], ReadOptions(format))
    first, done = list(reading), reading.done
    assert first
    assert (list(reading), reading.done, reading.total) == (first, done, done)


# streams -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_standard_input_is_lines_packed_or_not_and_read_once(monkeypatch: pytest.MonkeyPatch, pack: object) -> None:
    assert callable(pack)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pack("\ufeffone\ntwo".encode()))))
    reading = Reading(["-"])
    assert reading.total is None
    assert list(reading) == [Document("one", id="-:line 1"), Document("two", id="-:line 2")]
    assert reading.done > 6
    assert not sys.stdin.buffer.closed
    with pytest.raises(ConfigError, match="can be read once"):
        list(reading)


def test_a_line_of_a_pipe_is_there_before_the_next_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    out, into = os.pipe()
    with open(out, "rb") as source, open(into, "wb", buffering=0) as sink:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
        items = iter(Reading(["-"], ReadOptions("jsonl")))
        for text in ("one", "two"):
            sink.write(json.dumps({"text": text}).encode() + b"\n")
            item = next(items)
            assert isinstance(item, Document)
            assert item.text == text


def test_closed_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="-: standard input is closed"):
        Reading(["-"])


@pytest.mark.parametrize("format", [None, "csv", "parquet"])
def test_devices_fifos_and_sockets_are_refused(tmp_path: Path, format: str | None) -> None:
    fifo = tmp_path / "pipe.csv"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        for path, kind in ((fifo, "a FIFO"), (tmp_path / "socket", "a socket"), (Path("/dev/zero"), "a device")):
            with pytest.raises(ConfigError, match=f"{path} is {kind}, expected a file or a folder"):
                Reading([str(path)], ReadOptions(format))
    with pytest.raises(ConfigError, match=r"pipe\.csv is a FIFO, expected a file"):
        Reading([str(tmp_path)])


def test_parquet_cannot_be_read_from_standard_input() -> None:
    with pytest.raises(ConfigError, match="parquet cannot be read from a stream"):
        Reading(["-"], ReadOptions("parquet"))


def test_text_named_as_parquet_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "Ada lives in London.")
    with pytest.raises(ConfigError, match=r"a\.txt: not a Parquet file: it begins with b'Ada ', expected b'PAR1'"):
        Reading([path], ReadOptions("parquet"))


def test_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
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


def test_a_missing_column_of_a_stream_is_told_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"n,body\n1,x\n")))
    with pytest.raises(ConfigError, match="-: no column 'text', it has 'n', 'body'"):
        list(Reading(["-"], ReadOptions("csv")))


# progress ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_no_more_is_read_than_is_wanted(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "\n".join([*(noise(500) for _ in range(10)), noise(1 << 20), "last"]))
    reading = Reading([path], ReadOptions("lines"))
    assert reading.done == 0
    items = iter(reading)
    next(items)
    assert 0 < reading.done <= 3 * 65536 < (reading.total or 0)
    assert len([*items]) == 11
    assert reading.done == reading.total == Path(path).stat().st_size


def test_a_file_is_opened_when_it_is_its_turn(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.txt", "x"), write(tmp_path / "b.txt", "yy")
    reading = Reading([first, second])
    items = iter(reading)
    next(items)
    Path(second).unlink()
    assert list(items) == [BadRecord(second, "file", "cannot be read: No such file or directory")]
    assert reading.done == reading.total == 3


def test_shards_hold_the_same_documents_under_the_same_names(tmp_path: Path) -> None:
    for number in range(7):
        write(tmp_path / f"{number}.txt", "x" * number * 10)
    reading = Reading([str(tmp_path)])
    shards = reading.shards(60)
    assert [len(shard.sources) for shard in shards] == [4, 1, 1, 1]
    copies: list[Reading] = pickle.loads(pickle.dumps(shards))
    assert [item for shard in copies for item in shard] == list(reading)
    assert sum(shard.done for shard in copies) == reading.total == 210


def test_files_tell_whether_the_input_is_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "x")
    before = Reading([path]).files()
    assert json.loads(json.dumps(before)) == before == Reading([path]).files()
    os.utime(path, (1, 1))
    assert Reading([path]).files() != before
    assert Reading(["-"]).files() != Reading(["-"]).files()


# what fails ----------------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_the_inputs_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.pdf", "x")
    write(tmp_path / "noext", "x")
    write(tmp_path / "b.parquet.gz", "x")
    write(tmp_path / "empty" / ".x.txt", "x")
    write(tmp_path / "pictures" / "x.png", "x")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "gone.txt").symlink_to("nowhere")
    with pytest.raises(ConfigError) as error:
        Reading(["missing.txt", "a.pdf", "noext", "b.parquet.gz", "empty", "pictures", "links", "", "a\0b"])
    suffixes = ".conll, .bio, .iob, .csv, .tsv, .json, .jsonl, .ndjson, .parquet, .txt, .md"
    formats = "conll, csv, json, jsonl, lines, parquet, text, tsv"
    assert str(error.value).splitlines() == [
        "missing.txt: no such file or folder",
        f"a.pdf: the suffix '.pdf', expected {suffixes}, or a format ({formats})",
        f"noext: no suffix, expected {suffixes}, or a format ({formats})",
        "b.parquet.gz: parquet cannot be read gzipped, unpack it",
        f"empty: no file of {suffixes} in it",
        f"pictures: no file of {suffixes} in it, only .png 1",
        "links/gone.txt: no such file or folder",
        "an input without a name: expected files, folders or '-' for standard input",
        "a\0b: embedded null byte",
    ]
    with pytest.raises(ConfigError) as error:
        Reading([f"{number}.txt" for number in range(30)])
    assert str(error.value).splitlines()[-1] == "... and 10 more"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_field": ""}, "text_field: expected the name of a field, found ''"),
        ({"id_field": ""}, "id_field"),
        ({"max_characters": 0}, "max_characters: expected a whole number of at least 1, found 0"),
        ({"max_characters": 1.5}, "max_characters"),
    ],
)
def test_options_that_are_none(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReadOptions(**options)  # type: ignore[arg-type]


def test_inputs_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "x")
    with pytest.raises(
        ConfigError, match="format 'docx' cannot be read; expected one of conll, csv, json, jsonl, lines"
    ):
        Reading([path], ReadOptions("docx"))
    with pytest.raises(ConfigError, match="no input"):
        Reading([])
    with pytest.raises(ConfigError, match="expected a list of files"):
        Reading(path)
    with pytest.raises(ConfigError, match="-: given more than once, and can be read once"):
        Reading(["-", "-"])


def test_gold_needs_a_format_that_can_hold_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "x")
    with pytest.raises(ConfigError, match="gold: text cannot hold gold; conll, json, jsonl, parquet can"):
        Reading([path], ReadOptions(gold=True))
    write(tmp_path / "b.conll", "Ada B-Per\n")
    reading = Reading([str(tmp_path)], ReadOptions(gold=True))
    assert [item.gold is None for item in reading if isinstance(item, Document)] == [True, False]
    assert reading.notes == ["gold: text cannot hold gold and is read without it"]


def test_files_and_folders_without_permission_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "in" / "a.txt", "x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)  # root may read all
        with pytest.raises(ConfigError, match=r"a\.txt: Permission denied$"):
            Reading([path])
    scan = os.scandir

    def refused(folder: str) -> object:
        if str(folder).endswith("secret"):
            raise PermissionError(13, "Permission denied", folder)
        return scan(folder)

    (tmp_path / "in" / "secret").mkdir()
    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(ConfigError, match=r"in/secret: Permission denied$"):
        Reading([str(tmp_path / "in")])


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", "x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'iter-lightning\[extract\]'"):
        Reading([path])


@pytest.mark.parametrize("format", ["text", "lines", "jsonl", "json", "csv", "conll"])
def test_a_gzip_file_that_breaks_off_gives_what_came_before(tmp_path: Path, format: str) -> None:
    words = [f"w{number}-{noise(8, number)}" for number in range(8000)]
    lines = {
        "jsonl": [json.dumps({"text": word}) for word in words], "csv": ["text", *words],
        "json": ["[" + ",".join(json.dumps({"text": word}) for word in words) + "]"],
        "conll": [f"{word}\tO\n" for word in words],
    }.get(format, words)  # fmt: skip
    path = tmp_path / "a.gz"
    whole = gzip.compress("\n".join(lines).encode())
    path.write_bytes(whole[: len(whole) // 2])
    after = write(tmp_path / "b.gz", "text\n" if format == "csv" else "[]" if format == "json" else "")
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
def test_what_is_no_gzip_is_told_and_the_next_file_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt.gz").write_bytes(content)
    write(tmp_path / "b.txt", "fine")
    bad, good = Reading([str(tmp_path)])
    assert isinstance(bad, BadRecord)
    assert (bad.source, bad.place) == ("a.txt.gz", "file")
    assert isinstance(good, Document)


def test_a_gzip_file_with_a_wrong_checksum_gives_its_lines_and_is_told(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"one\ntwo\n"))
    data[-8] ^= 1
    (tmp_path / "a.txt.gz").write_bytes(bytes(data))
    *_, bad = Reading([str(tmp_path / "a.txt.gz")], ReadOptions("lines"))
    assert isinstance(bad, BadRecord)
    assert "CRC check failed" in bad.reason


def test_damaged_parquet_gives_what_came_before_and_the_next_file_is_read(tmp_path: Path) -> None:
    texts = [noise(500, number) for number in range(400)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts}), path, row_group_size=100, use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    middle = len(data) * 5 // 8
    data[middle : middle + 64] = b"\xff" * 64
    path.write_bytes(bytes(data))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no parquet PAR1")
    write(tmp_path / "c.txt", "fine")
    reading = Reading([str(tmp_path)])
    items = list(reading)
    bad = [item for item in items if isinstance(item, BadRecord)]
    good = [item.text for item in items if isinstance(item, Document)]
    assert [(item.source, item.place) for item in bad] == [("a.parquet", f"row {len(good) - 1}"), ("b.parquet", "file")]
    assert good == [*texts[: len(good) - 1], "fine"]
    assert 100 < len(good) < 400
    assert list(reading) == items
    assert reading.done == reading.total


def test_a_disk_that_fails_is_told_where_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.txt", "one\n" + "x" * 200_000)
    items = iter(Reading([path], ReadOptions("lines")))
    assert next(items) == Document("one", id=f"{path}:line 1")

    def fails(self: object, buffer: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("iter_lightning.extraction.formats.support.streams._Counted.readinto", fails)
    assert list(items) == [
        BadRecord(path, "line 2", "cannot be read: Input/output error; nothing more is read of the file")
    ]


def test_a_record_that_is_whole_before_the_disk_fails_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.json", "x")
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
