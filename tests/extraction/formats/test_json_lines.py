"""JSON lines, written."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from iter_lightning.extraction.documents import Annotation, Document
from tests.extraction.formats.builders import BOOKS, any_documents, written


def test_gzip_is_written_without_time_and_name(tmp_path: Path) -> None:
    path, _ = written(".jsonl.gz", BOOKS, tmp_path)
    data = path.read_bytes()
    assert data[3] == 0  # no flags, so no name
    assert data[4:8] == b"\0\0\0\0"
    assert [Document.from_dict(json.loads(line)) for line in gzip.decompress(data).splitlines()] == BOOKS


def test_gold_is_written_to_jsonl_and_reported_elsewhere(tmp_path: Path) -> None:
    gold = replace(BOOKS[3], gold=Annotation(BOOKS[3].entities))
    path, notes = written(".jsonl", [gold, BOOKS[0]], tmp_path)
    assert Document.from_dict(json.loads(path.read_text().splitlines()[0])) == gold
    assert notes == []
    path.unlink()
    assert written(".csv", [gold, gold], tmp_path)[1] == ["csv does not hold the gold of documents: 2 left out"]


@any_documents()
def test_lines_hold_everything(found: list[Document]) -> None:
    with TemporaryDirectory() as folder:
        path, notes = written(".jsonl", found, Path(folder))
        lines = path.read_bytes().decode().split("\n")
    assert [Document.from_dict(json.loads(line)) for line in lines[:-1]] == found
    assert (lines[-1], notes) == ("", [])
