"""CoNLL, read, and written for the reader of corpora."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from iter_lightning.corpora.conll import read_conll
from iter_lightning.extraction.documents import Annotation, Document
from iter_lightning.extraction.formats import open_writer
from tests.extraction.formats.builders import (
    BOOKS,
    SCHEMA,
    any_documents,
    documents_in,
    expected_gold,
    in_words,
    noted,
    read,
    told,
    write,
    written,
)

ADA_TAGS = "Ada NNP B-Per\nworks VB O\nfor IN O\nAcme NNP B-Org\n. . O\n"


def test_sentences_are_documents_unless_documents_are_marked(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.conll", f"\n{ADA_TAGS}\n\r\n{ADA_TAGS}")
    first, second = documents_in(plain, gold=True)
    assert (first.text, first.id) == ("Ada works for Acme .", f"{plain}:line 2")
    assert second.id == f"{plain}:line 9"
    assert first.gold == second.gold == Annotation(expected_gold().entities)
    marked = write(
        tmp_path / "b.bio.gz", f"{ADA_TAGS}\n-DOCSTART- -X- O\n\n{ADA_TAGS}\n{ADA_TAGS}-DOCSTART-\n-DOCSTART-\n"
    )
    found = documents_in(marked, gold=True)
    assert [len(d.sentences) for d in found] == [1, 2]
    assert [e.start for e in (found[1].gold or Annotation()).entities] == [0, 14, 21, 35]


def test_tags_of_iob1_and_bioes_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.iob", "New York\tI-Loc\r\nTimes\tB-Loc\r\nSquare\tE-Loc\r\nYes\tS-Org\r\n\u2028x\xa0\tO\r\n"
    )
    (document,) = documents_in(path, gold=True)
    assert [(e.text, e.type) for e in (document.gold or Annotation()).entities] == [
        ("New York", "Loc"), ("Times Square", "Loc"), ("Yes", "Org"),
    ]  # fmt: skip
    assert document.word_texts()[-1] == "\u2028x\xa0"


def test_bad_line_makes_its_document_bad_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", b"Ada\tB-Per\nworks\tX\nhere\tY\n\nBo\tO\n\n\tO\n\ncaf\xe9\tO\n\nAda\n")
    assert told(read(path, gold=True)) == [
        "line 2: 'X' is not a tag; expected O, B-X, I-X, E-X or S-X (the document begins at line 1)", "Bo",
        "line 7: expected a word and a tag, found an empty first column", "line 9: byte 3 (0xe9) is not UTF-8",
        "line 11: expected a word and a tag, found 'Ada'",
    ]  # fmt: skip
    assert told(read(path)) == [
        "Ada works here", "Bo", "line 7: expected a word and a tag, found an empty first column",
        "line 9: byte 3 (0xe9) is not UTF-8",
        "Ada",
    ]  # fmt: skip


@any_documents()
def test_written_tags_hold_nested_entities(found: list[Document]) -> None:
    with TemporaryDirectory() as folder:
        path, notes = written(".conll", found, Path(folder))
        lines = [line for line in path.read_bytes().decode().split("\n") if "\t" in line]
        depth = len(lines[0].split("\t")) - 1 if lines else 1
        layers = [read_conll(path, tag_column=-1 - layer) for layer in range(depth)]
    assert {line.count("\t") for line in lines} <= {depth}
    units = [(document, unit) for document in found for unit in document.units()]
    assert len(units) == len(layers[0])
    for number, (document, unit) in enumerate(units):
        words = [re.sub(r"\s+", "_", word) for word in document.word_texts(unit)]
        assert list(layers[0][number].words) == ["-docstart-" if w == "-DOCSTART-" else w for w in words]
        read = [(e.start, e.end, e.type.replace("_", " ")) for layer in layers for e in layer[number].entities]
        assert sorted(read) == sorted(in_words(document, unit))
    assert noted(notes, "no relations") == sum(len(document.relations) for document in found)


def test_last_column_tags_the_longest_entities(tmp_path: Path) -> None:
    path, notes = written(".conll", BOOKS, tmp_path)
    lines = path.read_text().split("\n")
    assert lines[:5] == [
        "-DOCSTART- (book/1)", "", "Ada\tO\tB-Per_son\tB-Org", "Lovelace\tO\tI-Per_son\tI-Org", "of\tO\tO\tI-Org",
    ]  # fmt: skip
    assert lines.count("-DOCSTART- (empty)") == lines.count("-DOCSTART-") == 1
    assert "conll holds no relations: 5 left out" in notes
    assert "conll cannot spell all types: 'Per son' is Per_son" in notes
    with open_writer(tmp_path / "flat.conll", None, SCHEMA) as writer:
        writer.write(BOOKS[3])
    assert "Babbage\tB-Per_son\nlives\tO\n" in (tmp_path / "flat.conll").read_text()
