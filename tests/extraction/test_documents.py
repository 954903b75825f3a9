from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.extraction.documents import Annotation, Document, TextEntity, TextRelation, annotation_of
from iter_lightning.types import Entity, Prediction, Relation

TEXT = "Ada  met Bo\u00a0🙂.\r\n\r\nBo left."
WORDS = ((0, 3), (5, 8), (9, 11), (12, 13), (13, 14), (18, 20), (21, 25), (25, 26))
DOCUMENT = Document(TEXT, WORDS, ((0, 14), (18, 26)), id="d")


def predictions() -> list[Prediction]:
    ada, smile, bo = Entity(0, 1, "Person"), Entity(2, 4, "Mood"), Entity(0, 1, "Person")
    link = Relation(ada, smile, "Feels")
    return [Prediction((ada, smile), (link,), (0.9, 0.81234567), (0.7,)), Prediction((bo,), (), (0.5,), ())]


def test_units_and_examples() -> None:
    assert DOCUMENT.units() == [(0, 5), (5, 8)]
    assert [e.words for e in DOCUMENT.examples()] == [("Ada", "met", "Bo", "🙂", "."), ("Bo", "left", ".")]
    (whole,) = DOCUMENT.examples("document")
    assert whole.words == DOCUMENT.word_texts()
    assert Document("").units("document") == Document("  ").units() == []


def test_predictions_become_characters() -> None:
    found = DOCUMENT.with_predictions(predictions())
    assert [(e.start, e.end, e.text) for e in found.entities] == [(0, 3, "Ada"), (9, 13, "Bo\u00a0🙂"), (18, 20, "Bo")]
    assert [e.score for e in found.entities] == [0.9, 0.812346, 0.5]
    assert found.relations == (TextRelation(found.entities[0], found.entities[1], "Feels", 0.7),)
    assert [found.word_bounds(e) for e in found.entities] == [(0, 1), (2, 4), (5, 6)]


def test_predictions_must_be_one_a_unit() -> None:
    with pytest.raises(ValueError, match="shorter"):
        DOCUMENT.with_predictions(predictions()[:1])


def test_word_bounds_of_an_entity_inside_a_word() -> None:
    assert DOCUMENT.word_bounds(TextEntity(6, 7, "X", "e")) == (1, 2)
    assert DOCUMENT.word_bounds(TextEntity(4, 9, "X", " met ")) == (1, 2)


def test_json_round_trip() -> None:
    found = DOCUMENT.with_predictions(predictions())
    found = replace(found, gold=Annotation(found.entities[:1], ()))
    assert Document.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert Document.from_dict({"text": "x"}) == Document("x")


@pytest.mark.parametrize(
    ("words", "sentences", "told"),
    [
        (((0, 3), (2, 4)), ((0, 4),), "words: number 1"),
        (((0, 0),), ((0, 1),), "words: number 0"),
        (((0, 99),), ((0, 99),), "inside the text"),
        (((0, 3),), (), "outside of all sentences"),
        (((0, 3), (5, 8)), ((5, 8),), "outside of all sentences"),
        (((0, 3), (5, 8)), ((0, 4), (5, 8)), "does not start and end at words"),
        (((0, 3),), ((0, 3), (5, 8)), "does not start and end at words"),
    ],
)
def test_words_and_sentences_that_cannot_be(
    words: tuple[tuple[int, int], ...], sentences: tuple[tuple[int, int], ...], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Document(TEXT, words, sentences)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"entities": {}}, None),
        ({"entities": "x"}, "entities: expected a list"),
        ({"entities": [3]}, "entities: number 0: expected an object"),
        ({"entities": [{"start": 0, "end": "3", "type": "P"}]}, "entity 0: expected whole numbers"),
        ({"entities": [{"start": True, "end": 3, "type": "P"}]}, "entity 0: expected whole numbers"),
        ({"entities": [{"start": 3, "end": 3, "type": "P"}]}, r"\[3, 3\) is not inside"),
        ({"entities": [{"start": 0, "end": 99, "type": "P"}]}, "26 characters"),
        ({"entities": [{"start": 0, "end": 3, "type": "P", "text": "Bo"}]}, "its text is 'Bo'"),
        ({"entities": [{"start": 0, "end": 3, "type": "P", "score": 2}]}, r"score in \[0, 1\]"),
        ({"relations": [{"head": 0, "tail": 0, "type": "R"}]}, "there are 0 entities"),
        ({"relations": [{"head": "0", "tail": 0, "type": "R"}]}, "relation 0: expected whole numbers"),
    ],
)
def test_annotation_that_cannot_be(record: dict[str, object], told: str | None) -> None:
    if told is None:
        assert annotation_of(TEXT, record) == Annotation()
        return
    with pytest.raises(ValueError, match=told):
        annotation_of(TEXT, record)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"text": None}, "text: expected a string, found None"),
        ({"words": 5}, "words: expected a list, found 5"),
        ({"sentences": "ab"}, "sentences: expected a list, found 'ab'"),
        ({"words": [[0, 1.5]]}, r"words: number 0 is \[0, 1.5\]"),
        ({"gold": "Ada"}, "gold: expected an object, found 'Ada'"),
    ],
)
def test_records_that_are_no_documents(record: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Document.from_dict({"text": TEXT, **record})


def test_no_id_is_an_empty_one() -> None:
    assert [Document.from_dict({"text": "x", "id": id}).id for id in (None, 0, "d")] == ["", "0", "d"]


def test_entities_and_relations_belong_to_the_text() -> None:
    with pytest.raises(ValueError, match="but the text there"):
        Document(TEXT, entities=(TextEntity(0, 3, "Person", "Bob"),))
    ada = TextEntity(0, 3, "Person", "Ada")
    with pytest.raises(ValueError, match="not an entity of the document"):
        Document(TEXT, relations=(TextRelation(ada, ada, "Knows"),))


@given(st.lists(st.lists(st.text(min_size=1, max_size=5), max_size=4), max_size=4))
def test_own_words_lie_where_they_are_said_to(sentences: list[list[str]]) -> None:
    document = Document.from_words(sentences)
    assert document.word_texts() == tuple(word for sentence in sentences for word in sentence)
    assert [e.words for e in document.examples()] == [tuple(sentence) for sentence in sentences if sentence]
    assert document.text == "\n".join(" ".join(sentence) for sentence in sentences if sentence)


def test_an_empty_word_is_refused() -> None:
    with pytest.raises(ValueError, match="sentence 1: word 1 is empty"):
        Document.from_words([["a"], ["b", ""]])
