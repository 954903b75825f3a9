"""Reading of all formats: texts, limits, columns, memory, shards."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions, formats
from tests.extraction.formats.builders import (
    EXAMPLES,
    ODD_LINE,
    TEXTS,
    as_csv,
    as_json,
    as_jsonl,
    as_lines,
    as_parquet,
    as_tsv,
    documents,
    documents_in,
    read,
    write,
    write_input,
    written,
)


@pytest.mark.parametrize("writer", [as_jsonl, as_json, as_csv, as_tsv, as_parquet])
@given(texts=st.lists(TEXTS, max_size=6))
def test_any_text_is_read_unchanged(writer: Callable[[Path, list[str]], Path], texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert [d.text for d in documents_in(writer(Path(folder, "t"), [*texts, ODD_LINE]))] == [*texts, ODD_LINE]


@pytest.mark.parametrize("format", ["text", "lines", "jsonl", "json", "csv", "parquet", "conll"])
def test_text_longer_than_the_limit_is_bad(tmp_path: Path, format: str) -> None:
    writers: dict[str, Callable[[Path, list[str]], Path]] = {
        "text": lambda path, texts: write(path.with_suffix(".txt"), texts[0]), "lines": as_lines, "jsonl": as_jsonl,
        "json": as_json, "csv": as_csv, "parquet": as_parquet,
        "conll": lambda path, texts: write(path.with_suffix(".conll"), texts[0].replace(" ", " O\n") + " O\n"),
    }  # fmt: skip
    for text, good in (("☕" * 4 + " 345", True), ("☕" * 4 + " 3456", False)):
        path = writers[format](tmp_path / f"t{good}", [text])
        (item,) = read(path, format=format, max_characters=8)
        assert isinstance(item, Document) is good
        if isinstance(item, BadRecord):
            assert "max_characters" in item.reason


@pytest.mark.parametrize("writer", [as_lines, as_jsonl, as_json, as_csv])
def test_memory_does_not_grow_with_the_input(tmp_path: Path, writer: Callable[[Path, list[str]], Path]) -> None:
    path = writer(tmp_path / "a", ["x" * 1000] * 4000)
    reading = Reading([str(path)], ReadOptions("lines" if writer is as_lines else None))
    tracemalloc.start()
    count = sum(1 for _ in reading)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 4000
    assert peak < 1 << 20 < (reading.total or 0) // 3


def test_missing_columns_are_reported_together(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "n,body\n")
    write(tmp_path / "b.tsv", "text\tn\n")
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "c.parquet")
    with pytest.raises(ConfigError) as error:
        Reading([str(tmp_path)])
    assert (
        str(error.value)
        == "a.csv: no column 'text', it has 'n', 'body'\nc.parquet: no column 'text', it has 'body', 'n'"
    )
    with pytest.raises(ConfigError, match=r"b\.tsv: no column 'key', it has 'text', 'n'"):
        Reading([str(tmp_path / "b.tsv")], ReadOptions(id_field="key"))
    with pytest.raises(ConfigError, match=r"c\.parquet: no column 'gold' or 'entities' with the gold"):
        Reading([str(tmp_path / "c.parquet")], ReadOptions(text_field="body", gold=True))


def test_column_that_is_missing_only_when_it_is_read_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Reading([str(write(tmp_path / "a.csv", "text\nx\n"))])
    write(tmp_path / "a.csv", "n,body\n1,x\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"n,body\n1,x\n")))
    for reading in (file, Reading(["-"], ReadOptions("csv"))):
        with pytest.raises(ConfigError, match="no column 'text', it has 'n', 'body'"):
            list(reading)


@pytest.mark.parametrize("format", [name for name, format in formats().items() if format.read])
def test_two_passes_give_the_same_items(tmp_path: Path, format: str) -> None:
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


def test_file_is_opened_when_it_is_read(tmp_path: Path) -> None:
    first, second = write_input(tmp_path / "a.txt", "x"), write_input(tmp_path / "b.txt", "yy")
    reading = Reading([first, second])
    items = iter(reading)
    next(items)
    Path(second).unlink()
    assert list(items) == [BadRecord(second, "file", "cannot be read: No such file or directory")]
    assert reading.done == reading.total == 3


def test_shards_hold_the_same_documents(tmp_path: Path) -> None:
    for number in range(7):
        write(tmp_path / f"{number}.txt", "x" * number * 10)
    reading = Reading([str(tmp_path)])
    shards = reading.shards(60)
    assert [len(shard.sources) for shard in shards] == [4, 1, 1, 1]
    copies: list[Reading] = pickle.loads(pickle.dumps(shards))
    assert [item for shard in copies for item in shard] == list(reading)
    assert sum(shard.done for shard in copies) == reading.total == 210


def test_files_differ_if_the_input_differs(tmp_path: Path) -> None:
    path = write_input(tmp_path / "a.txt", "x")
    before = Reading([path]).files()
    assert json.loads(json.dumps(before)) == before == Reading([path]).files()
    os.utime(path, (1, 1))
    assert Reading([path]).files() != before
    assert Reading(["-"]).files() != Reading(["-"]).files()


@pytest.mark.parametrize(("suffix", "context"), [
    (".jsonl", "sentence"), (".jsonl.gz", "sentence"), (".parquet", "sentence"), (".json", "document"),
    (".json.gz", "document"), (".conll", "sentence"), (".conll.gz", "sentence"),
])  # fmt: skip
@settings(max_examples=EXAMPLES)
@given(found=st.lists(documents(), max_size=3))
def test_written_documents_are_read_by_the_reader_of_the_format(
    found: list[Document], suffix: str, context: str
) -> None:
    with TemporaryDirectory() as folder:
        path, _ = written(suffix, found, Path(folder), context)
        again = documents_in(path)
    if suffix.startswith((".jsonl", ".parquet")):
        texts = [(d.text, d.words, d.sentences, d.id) for d in again]
        assert [text[:3] for text in texts] == [(d.text, d.words, d.sentences) for d in found]
        assert all(d.id in ("", id) for d, (*_, id) in zip(found, texts, strict=True))
    else:
        words = [[w for unit in d.units() for w in d.word_texts(unit)] for d in found if d.words]
        if suffix.startswith(".conll"):
            words = [[re.sub(r"\s+", "_", w) for w in each] for each in words]
            words = [["-docstart-" if w == "-DOCSTART-" else w for w in each] for each in words]
        assert [list(d.word_texts()) for d in again] == words
