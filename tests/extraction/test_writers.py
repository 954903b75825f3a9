"""Documents to write, and the formats that hold all of them or their relations; the other tests build on these."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.extraction.documents import Annotation, Document, TextEntity, TextRelation
from iter_lightning.extraction.formats import open_writer
from iter_lightning.extraction.splitting import Splitter
from iter_lightning.types import Schema

SCHEMA = Schema(("Loc", "Org", "Per son"), ("Kin", "Lives/In"), symmetric=("Kin",))
EXAMPLES = 12
GAPS = ("", " ", "  ", "\n", "\r\n", "\t", "\u00a0", " \n ", "\u2028", "\x85", "\r")
WORDS = (
    "Ada", "London", "👩‍🚀", "a\u0301", "שלום", "北京", '"', ",", "don't", "-DOCSTART-", "#", "\x00", "\x1f",
    "New York", "two\nlines", "\ufeff", "<&>", "\\n", "=1+1", "]]>", "\ufffe",
)  # fmt: skip


def document_of(
    text: str, entities: Sequence[tuple[str, str]], relations: Sequence[tuple[int, str, int]] = (), id: str = "d"
) -> Document:
    """A split text with entities (their text, found once each, and type) and relations between their places."""
    document = Splitter("en")([Document(text, id=id)])[0]
    found = []
    for number, (spelled, kind) in enumerate(entities):
        start = text.index(spelled)
        found.append(TextEntity(start, start + len(spelled), kind, spelled, round(0.9 - number / 100, 6)))
    links = tuple(
        TextRelation(found[h], found[t], kind, round(0.5 + i / 100, 6)) for i, (h, kind, t) in enumerate(relations)
    )
    return replace(document, entities=tuple(found), relations=links)


@st.composite
def documents(draw: st.DrawFn, whole_words: bool = False) -> Document:
    """Any words and white space; entities that are nested, cross, are of two types; relations of all kinds."""
    word = st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4))
    pairs = draw(st.lists(st.tuples(st.sampled_from(GAPS), word), max_size=8))
    text, words, sentences = "", [], []
    for gap, spelled in pairs:
        words.append((len(text) + len(gap), len(text) + len(gap) + len(spelled)))
        if not sentences or draw(st.integers(0, 3)) == 0:
            sentences.append(words[-1])
        sentences[-1] = (sentences[-1][0], words[-1][1])
        text += gap + spelled
    text += draw(st.sampled_from(GAPS))
    borders = [start for start, _ in words], [end for _, end in words]
    if not whole_words and text and draw(st.booleans()):
        borders = list(range(len(text))), list(range(1, len(text) + 1))
    entities = {}
    for _ in range(draw(st.integers(0, 6)) if borders[0] else 0):
        start, end = draw(st.sampled_from(borders[0])), draw(st.sampled_from(borders[1]))
        if start < end:
            kind = draw(st.sampled_from(SCHEMA.entity_types))
            score = draw(st.integers(0, 1_000_000)) / 1_000_000
            entities[start, end, kind] = TextEntity(start, end, kind, text[start:end], score)
    found = [entities[key] for key in sorted(entities)]
    links = {
        (draw(st.sampled_from(found)), draw(st.sampled_from(found)), draw(st.sampled_from(SCHEMA.relation_types)))
        for _ in range(draw(st.integers(0, 4)) if found else 0)
    }
    key = draw(st.one_of(st.sampled_from(["", "..", "a/b", "Ä"]), st.text(st.characters(exclude_categories=["Cs"]))))
    ordered = sorted(links, key=lambda link: (link[0].start, link[0].end, link[0].type, link[1].start, link[1].end,
                                              link[1].type, link[2]))  # fmt: skip
    relations = tuple(TextRelation(h, t, kind, 0.25 + n / 8) for n, (h, t, kind) in enumerate(ordered))
    return Document(text, tuple(words), tuple(sentences), tuple(found), relations, key)


BOOKS = [
    document_of(
        "Ada Lovelace of Byron House, London\r\nlives. She\tknows  Babbage.\n\n“Ünïcode” ☕ said Ann, Kit\nand Co.",
        [("Ada Lovelace", "Per son"), ("Ada Lovelace of Byron House", "Org"), ("Byron House, London", "Loc"),
         ("Byron House, London", "Org"), ("Babbage", "Per son"), ("Kit\nand Co.", "Org")],
        [(0, "Lives/In", 2), (4, "Kin", 0), (0, "Kin", 0), (5, "Lives/In", 3)], "book/1",
    ),
    Document("", id="empty"),
    Document(" \n ", id=""),
    document_of("Babbage lives in Ada Lovelace's house.", [("Ada Lovelace", "Per son"), ("Babbage", "Per son")],
                [(0, "Kin", 1)], "book/1"),
]  # fmt: skip


def written(suffix: str, found: Sequence[Document], folder: Path, context: str = "sentence") -> tuple[Path, list[str]]:
    path = folder / f"out{suffix}"
    with open_writer(path, None, SCHEMA, context) as writer:
        for document in found:
            writer.write(document)
    assert sorted(folder.iterdir()) == [path]
    return path, writer.notes


def any_documents(whole_words: bool = False) -> Any:
    """A test's argument `found`, many times."""
    return lambda test: settings(max_examples=EXAMPLES)(given(found=st.lists(documents(whole_words), max_size=3))(test))


def noted(notes: Sequence[str], what: str) -> int:
    """The count of the note that has `what` in it."""
    lines = [note for note in notes if what in note]
    return int(re.search(r": ([\d,]+) ", lines[0])[1].replace(",", "")) if lines else 0  # type: ignore[index]


# jsonl, parquet, csv -------------------------------------------------------------------------------------------------


@any_documents()
def test_jsonl_and_parquet_hold_everything(found: list[Document]) -> None:
    with TemporaryDirectory() as folder:
        path, notes = written(".jsonl", found, Path(folder))
        lines = path.read_bytes().decode().split("\n")
    assert [Document.from_dict(json.loads(line)) for line in lines[:-1]] == found
    assert (lines[-1], notes) == ("", [])
    with TemporaryDirectory() as folder:
        path, notes = written(".parquet", found, Path(folder))
        rows = pq.read_table(path).to_pylist()
    assert [Document.from_dict(row) for row in rows] == found
    assert notes == []


def test_gzip_has_no_time_and_no_name(tmp_path: Path) -> None:
    path, _ = written(".jsonl.gz", BOOKS, tmp_path)
    data = path.read_bytes()
    assert data[3] == 0  # no flags, so no name
    assert data[4:8] == b"\0\0\0\0"
    assert [Document.from_dict(json.loads(line)) for line in gzip.decompress(data).splitlines()] == BOOKS


def test_gold_stays_in_jsonl_and_is_missed_elsewhere(tmp_path: Path) -> None:
    gold = replace(BOOKS[3], gold=Annotation(BOOKS[3].entities))
    path, notes = written(".jsonl", [gold, BOOKS[0]], tmp_path)
    assert Document.from_dict(json.loads(path.read_text().splitlines()[0])) == gold
    assert notes == []
    path.unlink()
    assert written(".csv", [gold, gold], tmp_path)[1] == ["csv does not hold the gold of documents: 2 left out"]


def test_parquet_has_typed_columns_and_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t"), (".tsv.gz", "\t")])
@settings(max_examples=EXAMPLES)
@given(found=st.lists(documents(), max_size=3))
def test_csv_holds_relations(found: list[Document], suffix: str, delimiter: str) -> None:
    with TemporaryDirectory() as folder:
        path, notes = written(suffix, found, Path(folder))
        with (gzip.open if suffix.endswith("gz") else open)(path, "rt", encoding="utf-8", newline="") as file:  # type: ignore[operator]
            rows = list(csv.DictReader(file, delimiter=delimiter))
    relations = [(document, relation) for document in found for relation in document.relations]
    assert len(rows) == len(relations)
    for row, (document, relation) in zip(rows, relations, strict=True):
        for role in ("head", "tail"):
            entity = getattr(relation, role)
            expected = (entity.text, entity.type, str(entity.start), str(entity.end))
            assert (row[role], row[f"{role}_type"], row[f"{role}_start"], row[f"{role}_end"]) == expected
        assert (row["document"], row["relation"], float(row["score"])) == (document.id, relation.type, relation.score)
        assert relation.head.text in row["sentence"]
        assert relation.tail.text in row["sentence"]
    alone = sum(len({*d.entities} - {e for r in d.relations for e in (r.head, r.tail)}) for d in found)
    assert noted(notes, "no entity without a relation") == alone


def test_csv_tells_the_sentence(tmp_path: Path) -> None:
    path, _ = written(".csv", BOOKS[:1], tmp_path)
    with path.open(newline="", encoding="utf-8") as file:
        sentences = [row["sentence"] for row in csv.DictReader(file)]
    text, (one, two, three) = BOOKS[0].text, BOOKS[0].sentences
    assert sentences == [text[slice(*one)], text[one[0] : two[1]], text[slice(*one)], text[one[0] : three[1]]]
    assert path.read_bytes().startswith(b"document,head,head_type,head_start,head_end,relation,tail,tail_type,")
