"""Records as documents: words, ids, gold, and what is refused."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iter_lightning.extraction.documents import Annotation, Document, TextEntity
from iter_lightning.extraction.formats import BadRecord
from tests.extraction.formats.builders import (
    ADA,
    ADA_GOLD,
    ADA_WORDS,
    TEXTS,
    documents_in,
    expected_gold,
    only_bad,
    read,
    told,
    write,
    write_jsonl,
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.floats() | st.sampled_from(["", "Ada", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["start", "end", "type", "text", "head", "tail", "score"]), inner)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(["text", "tokens", "words", "sentences", "entities", "relations", "gold", "id", "orig_id"])


@given(st.lists(st.lists(TEXTS.filter(bool), min_size=1, max_size=4), max_size=3))
def test_any_words_are_read_unchanged(sentences: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (document,) = documents_in(write_jsonl(Path(folder, "t.jsonl"), {"words": sentences}))
        units = [list(document.word_texts(unit)) for unit in document.units()]
        assert units == sentences


def test_record_has_its_own_id_or_its_place(tmp_path: Path) -> None:
    records = [{"text": "a", "id": "x"}, {"text": "b", "id": 0}, {"text": "c"}, {"text": "d", "id": None},
               {"text": "e", "orig_id": 7}, {"text": "f", "id": ""}]  # fmt: skip
    path = write_jsonl(tmp_path / "a.jsonl", *records)
    assert [d.id for d in documents_in(path)] == ["x", "0", f"{path}:line 3", f"{path}:line 4", "7", f"{path}:line 6"]
    assert told(read(write_jsonl(tmp_path / "b.jsonl", {"text": "a", "id": [1]}))) == [
        "line 1: id: expected a string or a number for an id, found a list"
    ]


def test_field_may_be_a_path_or_a_name_with_dots(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl", {"a": {"b": "deep"}, "m": {"id": 5}}, {"a.b": "flat", "a": {"b": "deep"}}, {"a": "b"}
    )
    found = read(path, text_field="a.b", id_field="m.id")
    assert told(found) == ["deep", "flat", "line 3: neither 'a.b' nor tokens or words, found 'a'"]
    assert isinstance(found[0], Document)
    assert found[0].id == "5"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": null}', "text: expected a string, found null"),
        ('{"text": 3}', "text: expected a string, found 3"),
        ('{"text": ["a"]}', "text: expected a string, found a list"),
        ('{"body": "a"}', "neither 'text' nor tokens or words, found 'body'"),
        ('["a"]', "expected an object, found a list"),
        ('{"text": "a"', "column 13: not valid JSON: Expecting ',' delimiter"),
        (
            '{"text": "a\\ud800"}',
            "text: character 1 is '\\ud800', a lone surrogate (half of a pair, or a byte that is not UTF-8)",
        ),
        ('{"text": "a", "id": "\\udfff"}', "id: character 0 is '\\udfff'"),
        ('{"text": ' + "1" * 5000 + "}", "Exceeds the limit (4300 digits)"),
        ("[" * 200_000, "nested too deep"),
        ('{"tokens": ["a", 3]}', "tokens: word 1 is 3, expected a string"),
        ('{"tokens": [["b"], ["a", ""]]}', "sentence 1: word 1 is empty"),
        ('{"tokens": [["a"], "b"]}', "tokens: sentence 1: expected a list of words, found 'b'"),
        ('{"words": "a b"}', "words: expected a list of words, found 'a b'"),
        ('{"text": "ab", "words": [[0, 3]], "sentences": [[0, 3]]}', "words: number 0 is [0, 3)"),
        ('{"text": "ab", "words": [[0, 1], [1.0, 2]], "sentences": [[0, 2]]}', "words: number 1 is [1.0, 2], expected"),
        ('{"text": "ab", "words": [[0, 1]], "sentences": 3}', "sentences: expected a list, found 3"),
        ('{"text": "ab", "words": [[0, 1]]}', "some words are outside of all sentences"),
    ],
)
def test_bad_record_has_a_reason_and_the_next_is_read(tmp_path: Path, line: str, reason: str) -> None:
    bad, good = read(write(tmp_path / "a.jsonl", f'{line}\n\n{{"text": "\\ud83d\\ude00"}}'))
    assert isinstance(bad, BadRecord)
    assert bad.reason.startswith(reason)
    assert (bad.place, bad.record) == ("line 1", line[:1000])
    assert isinstance(good, Document)
    assert good.text == "😀"


def test_our_layout_keeps_words_and_sentences_without_entities(tmp_path: Path) -> None:
    document = Document.from_words([["Ada", "works"], ["She", "sleeps"]], id="x")
    entity = TextEntity(0, 3, "Per", "Ada", 0.5)
    found = Document(document.text, document.words, document.sentences, (entity,), id="x")
    path = write_jsonl(tmp_path / "a.jsonl", found.to_dict())
    assert documents_in(path) == [document]
    assert documents_in(path, text_field="id")[0].words == ()  # the bounds are of another text


def test_text_takes_precedence_over_words(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"text": "a b", "tokens": 57}, {"text": None, "tokens": ["c", "d"]})
    assert [(d.text, len(d.words)) for d in documents_in(path)] == [("a b", 0), ("c d", 2)]


@given(st.lists(st.dictionaries(FIELDS, JSON_VALUES, min_size=1), max_size=8), st.booleans())
@example([{"text": "ab", "words": [[0, 1], [1, float("inf")]]}], False)
def test_record_with_any_values_is_a_document_or_bad(records: list[dict[str, Any]], gold: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = read(write_jsonl(Path(folder, "a.jsonl"), *records), gold=gold)
    assert len(found) == len(records)
    for item in found:
        told_as = asdict(item) if isinstance(item, BadRecord) else item.to_dict()
        assert json.dumps(told_as, ensure_ascii=False).encode()


def test_gold_counts_characters_of_texts_and_words_of_words(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl", {"text": ADA, **ADA_GOLD}, ADA_WORDS, {"text": ADA, "entities": [], "gold": ADA_GOLD},
        {"text": ADA, "entities": None}, {"text": ADA, "entities": [], "gold": None},
    )  # fmt: skip
    golds = [d.gold for d in documents_in(path, gold=True)]
    assert golds == [expected_gold(), expected_gold(), expected_gold(), Annotation(), None]
    assert {d.gold for d in documents_in(path)} == {None}
    assert not any(d.entities for d in documents_in(path, gold=True))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"text": ADA}, "gold: entities missing, found 'text'"),
        ({"text": ADA, "entities": [{"start": 0, "end": 99, "type": "Per"}]}, "gold: entity 0: [0, 99) is not inside"),
        ({"text": ADA, "entities": [{"start": 0, "end": 3, "type": "P", "text": "Bob"}]}, "gold: entity 0: its text"),
        ({"text": ADA, **ADA_GOLD, "relations": [{"head": 0, "tail": 2, "type": "x"}]}, "gold: relation 0: links 0"),
        ({"text": ADA, "gold": 3, "entities": []}, "gold: expected an object"),
        ({"text": ADA, "gold": {"relations": []}}, "gold: entities missing, found 'relations'"),
        ({"text": ADA, **ADA_WORDS}, "gold: found a text and words"),
        (
            {**ADA_WORDS, "entities": [{"start": 0, "end": 9, "type": "P"}]},
            "gold: entity 0: end 9 is past the sentence",
        ),
        ({**ADA_WORDS, "entities": [{"start": 0, "end": 1}]}, "gold: entity 0: type missing"),
        ({"tokens": ["Ada"]}, "gold: entities missing, found ['tokens']"),
        ({"text": "a", "entities": [{"start": 0, "end": 1, "type": "\ud800"}]}, "type: character 0"),
    ],
)
def test_malformed_gold_is_bad_if_gold_is_read(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", record)
    assert only_bad(path, gold=True).reason.startswith(reason)
    assert len(documents_in(path)) == 1
