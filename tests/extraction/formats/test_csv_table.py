"""CSV and TSV, read as documents and written as relations."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.extraction.documents import Document
from tests.extraction.formats.builders import (
    BOOKS,
    EXAMPLES,
    as_csv,
    documents,
    documents_in,
    noted,
    read,
    told,
    write,
    written,
)


def test_rows_are_named_by_id_or_first_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,text\r\nx,"one\r\ntwo"\r\n\r\n,"say ""hi"""\r\n')
    assert [(d.id, d.text) for d in documents_in(path)] == [("x", "one\r\ntwo"), (f"{path}:line 5", 'say "hi"')]
    tabs = write(tmp_path / "b.TSV.gz", "key\tbody\n1\ta, b\n")
    assert [(d.id, d.text) for d in documents_in(tabs, text_field="body", id_field="key")] == [("1", "a, b")]
    assert [d.text for d in documents_in(write(tmp_path / "c.txt", "text\tn\na\t1\n"), format="tsv")] == ["a"]


def test_field_may_be_longer_than_the_default_of_the_csv_module(tmp_path: Path) -> None:
    assert len(documents_in(as_csv(tmp_path / "a", ["x" * 500_000]))[0].text) == 500_000


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ["file: empty, expected a row with the names of the columns"]),
        ("text,n\na,b,1\nc,1\n", ["line 2: 3 fields, the first row has 2 (a delimiter that is not quoted?)", "c"]),
        ('text\n"a"b\nc\n', ["line 2: not valid CSV: ',' expected after '\"'", "c"]),
        (
            'text\n"a\nb"c\nd\n',
            ["line 2: not valid CSV: ',' expected after '\"' (line 3), and the end of the row is unknown"],
        ),
        (
            'text\na\n"b\nc\n',
            ["a", "line 3: not valid CSV: unexpected end of data (line 4), and the end of the row is unknown"],
        ),
        (b"text,n\ncaf\xe9,1\nb,\xff\n", ["line 2: text: the byte 0xe9 is not UTF-8", "b"]),
        ('a "quoted" word,text\n1,a "quoted" word\n', ['a "quoted" word']),
        ("text\n\x00\n", ["\x00"]),
    ],
)
def test_invalid_rows_are_bad_and_others_are_unchanged(
    tmp_path: Path, content: str | bytes, expected: list[str]
) -> None:
    found = told(read(write(tmp_path / "a.csv", content)))
    assert len(found) == len(expected)
    assert all(one.startswith(other) for one, other in zip(found, expected, strict=True)), found


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t"), (".tsv.gz", "\t")])
@settings(max_examples=EXAMPLES)
@given(found=st.lists(documents(), max_size=3))
def test_written_rows_hold_the_relations(found: list[Document], suffix: str, delimiter: str) -> None:
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


def test_written_rows_hold_the_sentences_of_a_relation(tmp_path: Path) -> None:
    path, _ = written(".csv", BOOKS[:1], tmp_path)
    with path.open(newline="", encoding="utf-8") as file:
        sentences = [row["sentence"] for row in csv.DictReader(file)]
    text, (one, two, three) = BOOKS[0].text, BOOKS[0].sentences
    assert sentences == [text[slice(*one)], text[one[0] : two[1]], text[slice(*one)], text[one[0] : three[1]]]
    assert path.read_bytes().startswith(b"document,head,head_type,head_start,head_end,relation,tail,tail_type,")
