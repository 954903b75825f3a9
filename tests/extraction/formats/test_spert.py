"""SpERT's records, read by the reader of corpora."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.corpora.spert import read_spert, write_spert
from iter_lightning.extraction.documents import Annotation, Document
from iter_lightning.types import Entity, Example, Relation
from tests.extraction.formats.builders import (
    BOOKS,
    EXAMPLES,
    documents,
    documents_in,
    expected_gold,
    in_words,
    noted,
    written,
)


@pytest.mark.parametrize("context", ["sentence", "document"])
@settings(max_examples=EXAMPLES)
@given(found=st.lists(documents(), max_size=3))
def test_records_hold_words_entities_and_relations(found: list[Document], context: str) -> None:
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


def test_records_cross_sentences_in_document_context(tmp_path: Path) -> None:
    path, notes = written(".json", BOOKS, tmp_path, "document")
    assert [len(example.relations) for example in read_spert(path)] == [4, 1]
    assert notes == ["spert holds no document without words: 2 left out"]
    path.unlink()
    path, notes = written(".json", BOOKS, tmp_path)
    assert sum(len(example.relations) for example in read_spert(path)) == 3
    assert "spert holds no relation across sentences: 2 left out" in notes
    path.unlink()
    assert read_spert(written(".json", [], tmp_path)[0]) == []


def test_file_of_a_corpus_gives_words_and_gold(tmp_path: Path) -> None:
    ada, acme = Entity(0, 1, "Per"), Entity(3, 4, "Org")
    spert = Example(("Ada", "works", "for", "Acme", "."), (ada, acme), (Relation(ada, acme, "WorkFor"),), id="s1")
    write_spert([spert, Example(("No", "one"))], tmp_path / "a.json")
    one, two = documents_in(tmp_path / "a.json", gold=True)
    assert (one.id, one.text, one.gold) == ("s1", "Ada works for Acme .", expected_gold())
    assert (two.id, two.gold) == (f"{tmp_path}/a.json:record 1", Annotation())
    assert [d.examples()[0].words for d in (one, two)] == [e.words for e in read_spert(tmp_path / "a.json")]
