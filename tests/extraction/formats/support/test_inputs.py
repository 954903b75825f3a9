"""Which files are read, in which order, and what is reported."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats import Reading, ReadOptions
from tests.extraction.formats.builders import ids, write_input


def test_folder_gives_known_files_sorted_and_reports_others(tmp_path: Path) -> None:
    for name in ("b/z.txt", "b/a.MD", "b-c.txt", "a.txt.gz", ".hidden.txt", ".git/x.txt", "c.pdf", "d.pdf", "README",
                 "b/e.parquet.gz", "f.py"):  # fmt: skip
        write_input(tmp_path / "in" / name, "x")
    reading = Reading([str(tmp_path / "in")])
    assert ids(reading) == ["a.txt.gz", "b/a.MD", "b/z.txt", "b-c.txt"]
    assert reading.notes == [f"{tmp_path}/in: 5 files left out by suffix (.pdf 2, no suffix 1, .parquet 1, .py 1)"]


def test_named_format_selects_the_files_of_a_folder(tmp_path: Path) -> None:
    write_input(tmp_path / "a.txt", "Ada O\n")
    write_input(tmp_path / "b.conll", "Bo O\n")
    write_input(tmp_path / "c.jsonl", '{"text": "x"}')
    reading = Reading([str(tmp_path)], ReadOptions("conll"))
    assert [item.text for item in reading if isinstance(item, Document)] == ["Ada", "Bo"]
    assert "1 file left out" in reading.notes[0]
    odd = write_input(tmp_path / "d.data", "Cy O\n")
    assert ids(Reading([odd], ReadOptions("conll"))) == [f"{odd}:line 1"]


def test_inputs_keep_their_order_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("z.txt", "one/a.txt", "two/a.txt", "two/b.txt"):
        write_input(tmp_path / name, name)
    assert ids(Reading(["z.txt", "one", "./two/b.txt"])) == ["z.txt", "a.txt", "./two/b.txt"]
    assert ids(Reading(["two/", "one"])) == ["two/a.txt", "b.txt", "one/a.txt"]


def test_repeated_input_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = write_input(tmp_path / "a.txt", "x")
    write_input(tmp_path / "b.txt", "y")
    reading = Reading([one, str(tmp_path), "./a.txt"])
    assert ids(reading) == [one, "b.txt"]
    assert reading.notes == [
        f"{tmp_path}: 1 file given more than once, read once", "./a.txt: given more than once, read once",
    ]  # fmt: skip


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    write_input(tmp_path / "in" / "a.txt", "x")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "b.txt").symlink_to(tmp_path / "in" / "a.txt")
    reading = Reading([str(tmp_path / "in")])
    assert ids(reading) == ["a.txt", "b.txt"]
    assert reading.notes == [f"{tmp_path}/in: 1 linked folder not followed"]


def test_names_that_are_not_utf8_are_escaped(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.txt")  # noqa: PTH118
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"x")
    assert ids(Reading([str(tmp_path)])) == ["caf\\xe9.txt"]
    assert ids(Reading([os.fsdecode(path)])) == [f"{tmp_path}/caf\\xe9.txt"]


@pytest.mark.parametrize("format", [None, "csv", "parquet"])
def test_device_fifo_and_socket_are_refused(tmp_path: Path, format: str | None) -> None:
    fifo = tmp_path / "pipe.csv"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        for path, kind in ((fifo, "a FIFO"), (tmp_path / "socket", "a socket"), (Path("/dev/zero"), "a device")):
            with pytest.raises(ConfigError, match=f"{path} is {kind}, expected a file or a folder"):
                Reading([str(path)], ReadOptions(format))
    with pytest.raises(ConfigError, match=r"pipe\.csv is a FIFO, expected a file"):
        Reading([str(tmp_path)])


def test_all_faults_of_the_inputs_are_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_input(tmp_path / "a.pdf", "x")
    write_input(tmp_path / "noext", "x")
    write_input(tmp_path / "b.parquet.gz", "x")
    write_input(tmp_path / "empty" / ".x.txt", "x")
    write_input(tmp_path / "pictures" / "x.png", "x")
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


def test_invalid_inputs_are_refused(tmp_path: Path) -> None:
    path = write_input(tmp_path / "a.txt", "x")
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


def test_gold_needs_a_format_that_holds_it(tmp_path: Path) -> None:
    path = write_input(tmp_path / "a.txt", "x")
    with pytest.raises(ConfigError, match="gold: text cannot hold gold; conll, json, jsonl, parquet can"):
        Reading([path], ReadOptions(gold=True))
    write_input(tmp_path / "b.conll", "Ada B-Per\n")
    reading = Reading([str(tmp_path)], ReadOptions(gold=True))
    assert [item.gold is None for item in reading if isinstance(item, Document)] == [True, False]
    assert reading.notes == ["gold: text cannot hold gold and is read without it"]


def test_missing_permission_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_input(tmp_path / "in" / "a.txt", "x")
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
