"""Counting written out by hand: Appendix F, merging, strictness, scores and definitions."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from iter_lightning.metrics.functional import (
    Counts,
    EvaluationDefinition,
    check_types,
    count_entities,
    count_relations,
    macro,
    micro,
    report,
    scores,
)  # fmt: skip
from iter_lightning.types import Entity, Example, Relation
from tests.metrics.cases import SCHEMA, predicted

COMBINATIONS = list(product(("position", "surface"), ("once", "twice")))
DEFINITIONS = [EvaluationDefinition(match=match, symmetric=symmetric) for match, symmetric in COMBINATIONS]
ONCE, TWICE = EvaluationDefinition(), EvaluationDefinition(symmetric="twice")
SURFACE = EvaluationDefinition(match="surface")
PER, LOC, ORG = Entity(0, 1, "Per"), Entity(2, 3, "Loc"), Entity(4, 5, "Org")
WORDS = ("Ada", "of", "London", "at", "Acme")
each_definition = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: f"{d.match}-{d.symmetric}")


def kin(*directions: tuple[Entity, Entity]) -> tuple[Relation, ...]:
    return tuple(Relation(head, tail, "Kin") for head, tail in directions)


FORTH, BACK = (PER, ORG), (ORG, PER)


@pytest.mark.parametrize("strict", [False, True], ids=["RE", "RE+"])
@pytest.mark.parametrize(
    ("annotated", "found", "once", "twice"),
    [
        ([FORTH], [FORTH], (1, 0, 0), (2, 0, 0)),
        ([FORTH], [BACK], (1, 0, 0), (2, 0, 0)),
        ([FORTH], [FORTH, BACK], (1, 0, 0), (2, 0, 0)),
        ([FORTH, BACK], [BACK], (1, 0, 0), (2, 0, 0)),
        ([FORTH, BACK], [], (0, 0, 1), (0, 0, 2)),
        ([], [BACK], (0, 1, 0), (0, 2, 0)),
        ([FORTH], [(PER, LOC)], (0, 1, 1), (0, 2, 2)),
        ([(PER, PER)], [(PER, PER)], (1, 0, 0), (1, 0, 0)),
    ],
)
def test_appendix_f(strict: bool, annotated: Any, found: Any, once: Any, twice: Any) -> None:
    gold = Example(WORDS, (PER, LOC, ORG), kin(*annotated))
    pred = predicted((PER, LOC, ORG), kin(*found))
    assert count_relations(gold, pred, SCHEMA, ONCE, strict) == {"Kin": once}
    assert count_relations(gold, pred, SCHEMA, TWICE, strict) == {"Kin": twice}


def test_appendix_f_moves_the_micro_score() -> None:
    """A symmetric hit beside a directed miss: recall 1/2, under PL-Marker's weighting 2/3."""
    gold = Example(WORDS, (PER, LOC, ORG), (*kin(FORTH), Relation(PER, LOC, "LiveIn")))
    pred = predicted((PER, LOC, ORG), kin(BACK))
    once, twice = (micro(count_relations(gold, pred, SCHEMA, d, strict=True)) for d in (ONCE, TWICE))
    assert (once.precision, once.recall, once.f1) == (1.0, 1 / 2, pytest.approx(2 / 3))
    assert (twice.precision, twice.recall, twice.f1) == (1.0, 2 / 3, pytest.approx(4 / 5))


def test_symmetric_strict_keeps_each_type_with_its_span() -> None:
    gold = Example(WORDS, (PER, ORG), kin(FORTH))
    first, last = Entity(0, 1, "Org"), Entity(4, 5, "Per")  # the two types exchanged
    pred = predicted((first, last), kin((last, first)))
    assert count_relations(gold, pred, SCHEMA, ONCE) == {"Kin": (1, 0, 0)}
    assert count_relations(gold, pred, SCHEMA, ONCE, strict=True) == {"Kin": (0, 1, 1)}


def test_re_ignores_entity_types_and_re_plus_does_not() -> None:
    gold = Example(WORDS, (PER, LOC), (Relation(PER, LOC, "LiveIn"),))
    wrong_type = Entity(2, 3, "Org")
    pred = predicted((PER, wrong_type), (Relation(PER, wrong_type, "LiveIn"),))
    assert count_entities(gold, pred, ONCE) == {"Per": (1, 0, 0), "Loc": (0, 0, 1), "Org": (0, 1, 0)}
    assert count_relations(gold, pred, SCHEMA, ONCE) == {"LiveIn": (1, 0, 0)}
    assert count_relations(gold, pred, SCHEMA, ONCE, strict=True) == {"LiveIn": (0, 1, 1)}


def test_re_merges_relations_that_differ_in_argument_types_only() -> None:
    also = Entity(2, 3, "Org")
    both = (Relation(PER, LOC, "LiveIn"), Relation(PER, also, "LiveIn"))
    gold, pred = Example(WORDS, (PER, LOC, also), both), predicted((PER, LOC), both[:1])
    assert count_relations(gold, pred, SCHEMA, ONCE) == {"LiveIn": (1, 0, 0)}
    assert count_relations(gold, pred, SCHEMA, ONCE, strict=True) == {"LiveIn": (1, 0, 1)}


def test_direction_counts_where_a_type_is_not_symmetric() -> None:
    gold = Example(WORDS, (PER, LOC), (Relation(PER, LOC, "LiveIn"),))
    pred = predicted((PER, LOC), (Relation(LOC, PER, "LiveIn"),))
    for definition in DEFINITIONS:
        assert count_relations(gold, pred, SCHEMA, definition) == {"LiveIn": (0, 1, 1)}


def test_surface_merges_equal_mentions() -> None:
    words = ("Ada", "met", "Ada", "in", "London")
    first, second, place = Entity(0, 1, "Per"), Entity(2, 3, "Per"), Entity(4, 5, "Loc")
    gold = Example(words, (first, second, place), (Relation(first, place, "LiveIn"), Relation(second, place, "LiveIn")))
    pred = predicted((second, place), (Relation(second, place, "LiveIn"),))
    assert count_entities(gold, pred, ONCE) == {"Per": (1, 0, 1), "Loc": (1, 0, 0)}
    assert count_entities(gold, pred, SURFACE) == {"Per": (1, 0, 0), "Loc": (1, 0, 0)}
    assert count_relations(gold, pred, SCHEMA, ONCE) == {"LiveIn": (1, 0, 1)}
    assert count_relations(gold, pred, SCHEMA, SURFACE) == {"LiveIn": (1, 0, 0)}


def test_surface_compares_words_not_joined_text() -> None:
    words = ("New York", "New", "York")
    gold, pred = Example(words, (Entity(0, 1, "Loc"),)), predicted((Entity(1, 3, "Loc"),))
    assert count_entities(gold, pred, SURFACE) == {"Loc": (0, 1, 1)}


@each_definition
def test_a_span_past_the_sentence_is_refused(definition: EvaluationDefinition) -> None:
    """Cut to the sentence, its words would equal the gold's."""
    gold, late = Example(WORDS, (ORG,), id="s7"), Entity(4, 6, "Org")
    message = r"example 's7': predicted entity end 6 is past the sentence \(5 words\)"
    with pytest.raises(ValueError, match=message):
        count_entities(gold, predicted((late,)), definition)
    with pytest.raises(ValueError, match=message):
        count_relations(gold, predicted((), kin((late, late))), SCHEMA, definition)


def test_check_types_accepts_the_schema() -> None:
    check_types(Example(WORDS, (PER, ORG), kin(FORTH)), predicted((LOC,), kin((LOC, LOC))), SCHEMA)


def test_scores_of_counts() -> None:
    by_type = {"a": Counts(3, 1, 2), "b": Counts(0, 0, 4), "c": Counts()}
    assert micro(by_type) == Counts(3, 1, 6)
    nested = scores(by_type)
    assert set(nested) == {"micro", "macro", "per_type"}
    assert (nested["micro"]["precision"], nested["micro"]["recall"]) == (3 / 4, 3 / 9)
    assert nested["micro"]["f1"] == pytest.approx(2 * 0.75 * (1 / 3) / (0.75 + 1 / 3))
    assert nested["per_type"]["a"]["support"] == 5
    assert report({"NER": by_type, "RE": {}}) == {"NER": nested, "RE": scores({})}


def test_macro_is_over_the_types_that_occur() -> None:
    missed, invented, absent = Counts(0, 0, 4), Counts(0, 4, 0), Counts()
    found = macro({"a": Counts(3, 1, 2), "b": missed, "c": absent})
    assert found == {"precision": 3 / 8, "recall": 3 / 10, "f1": pytest.approx(6 / 9 / 2)}
    assert macro({"a": Counts(1, 0, 0), "b": invented, "c": absent})["f1"] == 1 / 2


def test_nothing_divides_by_zero() -> None:
    assert (Counts().precision, Counts().recall, Counts().f1) == (0.0, 0.0, 0.0)
    assert (Counts(0, 1, 0).recall, Counts(0, 0, 1).precision) == (0.0, 0.0)
    assert scores({})["macro"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert scores({})["micro"] == Counts().scores()


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("gold", "gold 'test' is neither corpus nor encoded"),
        ("match", "match 'test' is neither position nor surface"),
        ("symmetric", "symmetric 'test' is neither once nor twice"),
        ("split_protocol", "split_protocol 'test' is neither clean nor paper"),
    ],
)
def test_definitions_refuse_other_values(field: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationDefinition(**{field: "test"})


def test_definitions_are_told() -> None:
    definition = EvaluationDefinition("encoded", "surface", "twice", "paper")
    assert definition.describe() == "gold: encoded · match: surface · symmetric: twice · split_protocol: paper"
    assert EvaluationDefinition(**definition.to_dict()) == definition
