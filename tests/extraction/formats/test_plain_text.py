"""Files and lines as documents."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats import BadRecord
from tests.extraction.formats.builders import (
    ODD_LINE,
    TEXTS,
    as_lines,
    documents_in,
    only_bad,
    read,
    told,
    write,
    write_jsonl,
)


@given(texts=st.lists(TEXTS.map(lambda text: text.replace("\n", " ").rstrip("\r")), max_size=6))
def test_lines_with_any_text_are_read_unchanged(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = as_lines(Path(folder, "t"), [*texts, ODD_LINE])
        assert [d.text for d in documents_in(path, format="lines")] == [*texts, ODD_LINE]


@given(text=TEXTS)
def test_file_with_any_text_is_read_unchanged(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("t.txt", "t.md.gz"):
            (document,) = documents_in(write(Path(folder, name), "\ufeff" + text))
            assert (document.text, document.words) == (text, ())


def test_text_keeps_its_line_ends_and_is_named_after_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", f"one\r\ntwo\n\rthree{ODD_LINE}")
    assert documents_in(path) == [Document(f"one\r\ntwo\n\rthree{ODD_LINE}", id=str(path))]


def test_empty_texts_are_empty_documents(tmp_path: Path) -> None:
    assert [d.text for d in documents_in(write(tmp_path / "a.txt", ""))] == [""]
    assert [d.text for d in documents_in(write(tmp_path / "b.txt", "one\r\r\n\n\r\n two "), format="lines")] == [
        "one\r", "", "", " two ",
    ]  # fmt: skip
    assert documents_in(write(tmp_path / "c.txt", ""), format="lines") == []
    assert [d.text for d in documents_in(write_jsonl(tmp_path / "d.jsonl", {"text": ""}, {"tokens": []}))] == ["", ""]


def test_bytes_that_are_not_utf8_make_a_file_or_a_line_bad(tmp_path: Path) -> None:
    bad = only_bad(write(tmp_path / "a.txt", b"caf\xe9 \xff"))
    assert (bad.place, bad.reason, bad.record) == ("file", "byte 3 (0xe9) is not UTF-8", "caf\\xe9 \\xff")
    lines = write(tmp_path / "b.txt", b"one\ncaf\xe9\nthree\n")
    assert told(read(lines, format="lines")) == ["one", "line 2: byte 3 (0xe9) is not UTF-8", "three"]
    utf16 = write(tmp_path / "c.jsonl", '{"text": "a"}\n'.encode("utf-16"))
    assert told(read(utf16)) == ["file: UTF-16, expected UTF-8"]


def test_endless_line_is_skipped_without_being_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt.gz", b"x" * (40 << 20) + b"\nafter\n")
    bad, after = read(path, format="lines", max_characters=1000)
    assert isinstance(bad, BadRecord)
    assert (bad.place, bad.reason) == ("line 1", "longer than 16,777,216 bytes")
    assert bad.record == "x" * 1000
    assert isinstance(after, Document)
    assert (after.text, after.id) == ("after", f"{path}:line 2")
