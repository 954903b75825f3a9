"""Parquet, with pyarrow on the other side."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Annotation, Document
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions, open_writer
from tests.extraction.formats.builders import (
    ADA,
    ADA_GOLD,
    ADA_WORDS,
    BOOKS,
    SCHEMA,
    any_documents,
    documents_in,
    expected_gold,
    noise,
    read,
    told,
    write,
    write_input,
    written,
)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_string_columns_of_any_kind_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"id": [3, 4, None], "text": pa.array(["a", "a", None], kind), "other": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert told(found) == ["a", "a", "row 2: text: expected a string, found null"]
    assert [item.id for item in found if isinstance(item, Document)] == ["3", "4"]
    assert isinstance(found[2], BadRecord)
    assert found[2].record == '{"id": null, "text": null}'  # the other column is not read


def test_rows_may_have_our_layout_words_and_gold(tmp_path: Path) -> None:
    document = Document.from_words([["Ada", "works", "for", "Acme."]], id="x")
    rows = [{**document.to_dict(), **ADA_GOLD}, {"text": ADA, "entities": [], "id": "y"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    one, two = documents_in(tmp_path / "a.parquet", gold=True)
    assert (one.words, one.sentences, one.gold) == (document.words, document.sentences, expected_gold())
    assert (two.words, two.gold) == ((), Annotation())
    pq.write_table(pa.Table.from_pylist([ADA_WORDS]), tmp_path / "b.parquet")
    (words,) = documents_in(tmp_path / "b.parquet", gold=True)
    assert (words.text, words.gold) == ("Ada works for Acme .", expected_gold())
    assert words.id == f"{tmp_path}/b.parquet:row 0"


def test_columns_may_be_nested_or_have_dots(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [{"b": "deep", "c": 1}]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"a.b": ["flat"], "a": [{"b": "deep"}]}), tmp_path / "b.parquet")
    for name, text in (("a", "deep"), ("b", "flat")):
        assert [d.text for d in documents_in(tmp_path / f"{name}.parquet", text_field="a.b")] == [text]


def test_string_that_is_not_utf8_makes_only_its_row_bad(tmp_path: Path) -> None:
    raw = pa.array([b"a", b"caf\xe9", b"b"], pa.binary())
    pq.write_table(pa.table({"text": raw.view(pa.string())}), tmp_path / "a.parquet")
    first, bad, last = told(read(tmp_path / "a.parquet"))
    assert (first, last) == ("a", "b")
    assert bad.startswith("row 1: ")
    assert "utf-8" in bad


def test_rows_are_read_in_batches(tmp_path: Path) -> None:
    texts = [f"{number} " + "x" * 2000 for number in range(2000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=500)
    reading = Reading([str(tmp_path / "a.parquet")])
    items = iter(reading)
    first = [next(items) for _ in range(70)]
    assert 0 < reading.done < (reading.total or 0) // 10
    assert told([*first, *items]) == texts
    assert reading.done == reading.total


def test_damaged_file_gives_the_rows_before_and_the_next_file(tmp_path: Path) -> None:
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


def test_text_read_as_parquet_is_refused(tmp_path: Path) -> None:
    path = write_input(tmp_path / "a.txt", "Ada lives in London.")
    with pytest.raises(ConfigError, match=r"a\.txt: not a Parquet file: it begins with b'Ada ', expected b'PAR1'"):
        Reading([path], ReadOptions("parquet"))


def test_missing_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_input(tmp_path / "a.parquet", "x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'iter-lightning\[extract\]'"):
        Reading([path])


def test_written_columns_are_typed_and_in_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iter_lightning.extraction.formats.parquet._GROUP_BYTES", 100_000)
    path, _ = written(".parquet", [replace(BOOKS[0], id=str(n)) for n in range(1000)], tmp_path)
    file = pq.ParquetFile(path)
    assert file.num_row_groups == 4
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert str(file.schema_arrow.field("entities").type.value_type) == (
        "struct<start: int32, end: int32, type: string, text: string, score: double>"
    )
    assert file.read().column("id").to_pylist() == [str(n) for n in range(1000)]
    empty = tmp_path / "folder" / "e.parquet"
    with open_writer(empty, None, SCHEMA):
        pass
    assert pq.read_table(empty).schema == file.schema_arrow


@any_documents()
def test_rows_hold_everything(found: list[Document]) -> None:
    with TemporaryDirectory() as folder:
        path, notes = written(".parquet", found, Path(folder))
        rows = pq.read_table(path).to_pylist()
    assert [Document.from_dict(row) for row in rows] == found
    assert notes == []
