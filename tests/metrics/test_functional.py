"""Counting against plain set arithmetic, for every definition; hand-written cases of Appendix F."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.metrics.functional import Counts, EvaluationDefinition, count, macro, micro, report
from iter_lightning.types import Entity, Example, Prediction, Relation, Schema
from tests.builders import SCHEMA, examples

DEFINITIONS = [EvaluationDefinition(match=m, symmetric=s) for m, s in product(("position", "surface"), ("once", "twice"))]
PER, LOC, ORG = Entity(0, 1, "Per"), Entity(2, 3, "Loc"), Entity(4, 5, "Org")
WORDS = ("Ada", "of", "London", "at", "Acme")


def predicted(entities: tuple[Entity, ...], relations: tuple[Relation, ...]) -> Prediction:
    return Prediction(entities, relations, (1.0,) * len(entities), (1.0,) * len(relations))


def twin(gold: Example, pred: Prediction, schema: Schema, definition: EvaluationDefinition) -> dict[str, dict[str, Any]]:
    """Task -> type -> (tp, fp, fn), written as loops over pairs of items."""

    def place(e: Entity) -> Any:
        return (e.start, e.end) if definition.match == "position" else tuple(gold.words[i] for i in range(e.start, e.end))

    def relations(items: tuple[Relation, ...], strict: bool) -> list[Any]:
        found: list[Any] = []
        for r in items:
            ends = [(place(e), e.type) if strict else (place(e),) for e in (r.head, r.tail)]
            versions = [ends]
            if r.type in schema.symmetric:
                versions = [ends, ends[::-1]] if definition.symmetric == "twice" else [sorted(ends)]
            for version in versions:
                if (r.type, version) not in found:
                    found.append((r.type, version))
        return found

    def entities(items: tuple[Entity, ...]) -> list[Any]:
        found: list[Any] = []
        for e in items:
            if (e.type, place(e)) not in found:
                found.append((e.type, place(e)))
        return found

    sides = {
        "NER": (entities(gold.entities), entities(pred.entities)),
        "RE": (relations(gold.relations, False), relations(pred.relations, False)),
        "RE+": (relations(gold.relations, True), relations(pred.relations, True)),
    }
    result: dict[str, dict[str, Any]] = {}
    for task, (mine, theirs) in sides.items():
        kinds = schema.entity_types if task == "NER" else schema.relation_types
        result[task] = {
            kind: (
                sum(x in mine for x in theirs if x[0] == kind),
                sum(x not in mine for x in theirs if x[0] == kind),
                sum(x not in theirs for x in mine if x[0] == kind),
            )
            for kind in kinds
        }
    return result


def counted(gold: Example, pred: Prediction, definition: EvaluationDefinition) -> dict[str, dict[str, Any]]:
    found = count(gold, pred, SCHEMA, definition)
    kinds = {"NER": SCHEMA.entity_types, "RE": SCHEMA.relation_types, "RE+": SCHEMA.relation_types}
    return {task: {k: tuple(c[k] for c in found[task]) for k in kinds[task]} for task in found}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Example, Prediction]:
    """A gold example and a prediction that keeps some of it, drops some and adds some."""
    gold, other = draw(examples()), draw(examples())
    fits = [e for e in other.entities if e.end <= len(gold.words)]
    entities = tuple(e for e in dict.fromkeys([*gold.entities, *fits]) if draw(st.booleans()))
    candidates = [*gold.relations, *other.relations, *(Relation(r.tail, r.head, r.type) for r in gold.relations)]
    relations = tuple(r for r in dict.fromkeys(candidates)
                      if r.head in entities and r.tail in entities and draw(st.booleans()))  # fmt: skip
    return gold, predicted(entities, relations)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: f"{d.match}-{d.symmetric}")
@given(pair=pairs())
def test_count_against_loops(definition: EvaluationDefinition, pair: tuple[Example, Prediction]) -> None:
    assert counted(*pair, definition) == twin(*pair, SCHEMA, definition)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: f"{d.match}-{d.symmetric}")
@given(pair=pairs())
def test_swapping_gold_and_prediction_swaps_fp_and_fn(
    definition: EvaluationDefinition, pair: tuple[Example, Prediction]
) -> None:
    gold, pred = pair
    swapped = counted(Example(gold.words, pred.entities, pred.relations), predicted(gold.entities, gold.relations), definition)
    for task, by_type in counted(gold, pred, definition).items():
        assert {k: (tp, fn, fp) for k, (tp, fp, fn) in by_type.items()} == swapped[task]


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: f"{d.match}-{d.symmetric}")
@given(gold=examples())
def test_gold_itself_is_perfect(definition: EvaluationDefinition, gold: Example) -> None:
    found = count(gold, predicted(gold.entities, gold.relations), SCHEMA, definition)
    assert not any(fp or fn for _, fp, fn in found.values())


def test_re_ignores_entity_types_and_re_plus_does_not() -> None:
    gold = Example(WORDS, (PER, LOC), (Relation(PER, LOC, "LiveIn"),))
    wrong_type = Entity(2, 3, "Org")
    found = counted(gold, predicted((PER, wrong_type), (Relation(PER, wrong_type, "LiveIn"),)), EvaluationDefinition())
    assert found["NER"] == {"Per": (1, 0, 0), "Loc": (0, 0, 1), "Org": (0, 1, 0)}
    assert found["RE"]["LiveIn"] == (1, 0, 0)
    assert found["RE+"]["LiveIn"] == (0, 1, 1)


def test_appendix_f_symmetric_relations() -> None:
    """One direction annotated, the other predicted: one hit; PL-Marker's weighting counts it twice."""
    gold = Example(WORDS, (PER, ORG), (Relation(PER, ORG, "Kin"),))
    pred = predicted((PER, ORG), (Relation(ORG, PER, "Kin"),))
    both = predicted((PER, ORG), (Relation(ORG, PER, "Kin"), Relation(PER, ORG, "Kin")))
    none = predicted((PER, ORG), ())
    for found in (pred, both):
        assert counted(gold, found, EvaluationDefinition())["RE+"]["Kin"] == (1, 0, 0)
        assert counted(gold, found, EvaluationDefinition(symmetric="twice"))["RE+"]["Kin"] == (2, 0, 0)
    assert counted(gold, none, EvaluationDefinition(symmetric="twice"))["RE+"]["Kin"] == (0, 0, 2)


def test_direction_counts_where_a_type_is_not_symmetric() -> None:
    gold = Example(WORDS, (PER, LOC), (Relation(PER, LOC, "LiveIn"),))
    pred = predicted((PER, LOC), (Relation(LOC, PER, "LiveIn"),))
    assert counted(gold, pred, EvaluationDefinition())["RE"]["LiveIn"] == (0, 1, 1)


def test_surface_merges_equal_mentions() -> None:
    words = ("Ada", "met", "Ada")
    first, second = Entity(0, 1, "Per"), Entity(2, 3, "Per")
    gold, pred = Example(words, (first, second)), predicted((first,), ())
    assert counted(gold, pred, EvaluationDefinition())["NER"]["Per"] == (1, 0, 1)
    assert counted(gold, pred, EvaluationDefinition(match="surface"))["NER"]["Per"] == (1, 0, 0)


def test_scores_of_counts() -> None:
    by_type = {"a": Counts(3, 1, 2), "b": Counts(0, 0, 4), "c": Counts()}
    total = micro(by_type)
    assert (total.tp, total.fp, total.fn) == (3, 1, 6)
    assert (total.precision, total.recall) == (3 / 4, 3 / 9)
    assert total.f1 == pytest.approx(2 * 0.75 * (1 / 3) / (0.75 + 1 / 3))
    assert macro(by_type)["recall"] == pytest.approx((3 / 5 + 0) / 2)  # c occurs nowhere and is left out
    assert Counts().f1 == 0.0
    assert macro({}) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    nested = report({"NER": by_type})
    assert nested["NER"]["per_type"]["a"]["support"] == 5
    assert nested["NER"]["micro"]["tp"] == 3


def test_definitions_refuse_other_values() -> None:
    with pytest.raises(ValueError, match="gold 'test' is neither corpus nor encoded"):
        EvaluationDefinition(gold="test")
    assert EvaluationDefinition(match="surface").describe() == (
        "gold: corpus · match: surface · symmetric: once · split_protocol: clean"
    )
