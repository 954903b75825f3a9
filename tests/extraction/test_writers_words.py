"""CoNLL and SpERT, read back by the readers of corpora."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.corpora.conll import read_conll
from iter_lightning.corpora.spert import read_spert
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats import open_writer
from iter_lightning.types import Entity
from tests.extraction.test_writers import BOOKS, EXAMPLES, SCHEMA, any_documents, documents, noted, written


def in_words(document: Document, unit: tuple[int, int]) -> set[tuple[int, int, str]]:
    """The entities of the words `[first, last)`, by going through the words."""
    spans = set()
    for entity in document.entities:
        inside = [n for n, (start, end) in enumerate(document.words) if start < entity.end and entity.start < end]
        if inside and unit[0] <= inside[0] and inside[-1] < unit[1]:
            spans.add((inside[0] - unit[0], inside[-1] + 1 - unit[0], entity.type))
    return spans


@any_documents()
def test_conll_holds_words_and_nested_entities(found: list[Document]) -> None:
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


def test_conll_puts_the_longest_last_and_notes_the_rest(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("context", ["sentence", "document"])
@settings(max_examples=EXAMPLES)
@given(found=st.lists(documents(), max_size=3))
def test_spert_holds_words_entities_and_relations(found: list[Document], context: str) -> None:
    with TemporaryDirectory() as folder:
        path, notes = written(".json", found, Path(folder), context)
        examples = read_spert(path)
    units = [(document, unit) for document in found for unit in document.units(context)]
    assert len(examples) == len(units)
    relations = 0
    for number, (example, (document, unit)) in enumerate(zip(examples, units, strict=True)):
        assert example.words == document.word_texts(unit)
        assert example.id == (document.id or str(number))
        assert {(e.start, e.end, e.type) for e in example.entities} == in_words(document, unit)
        expected = set()
        for relation in document.relations:
            sides = [
                in_words(replace(document, entities=(e,), relations=()), unit) for e in (relation.head, relation.tail)
            ]
            if all(sides):
                relations += 1
                expected.add((*(Entity(*side.pop()) for side in sides), relation.type))
        assert {(r.head, r.tail, r.type) for r in example.relations} == expected
    lost = sum(len(document.relations) for document in found if document.words) - relations
    assert noted(notes, "across sentences") + noted(notes, "relation of an entity") >= (lost > 0)


def test_spert_reaches_across_sentences_in_document_context(tmp_path: Path) -> None:
    path, notes = written(".json", BOOKS, tmp_path, "document")
    assert [len(example.relations) for example in read_spert(path)] == [4, 1]
    assert notes == ["spert holds no document without words: 2 left out"]
    path.unlink()
    path, notes = written(".json", BOOKS, tmp_path)
    assert sum(len(example.relations) for example in read_spert(path)) == 3
    assert "spert holds no relation across sentences: 2 left out" in notes
    path.unlink()
    assert read_spert(written(".json", [], tmp_path)[0]) == []
