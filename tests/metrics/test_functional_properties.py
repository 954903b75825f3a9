"""Counting against plain set arithmetic and what must always hold, for every definition."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.metrics.functional import (
    Counts,
    EvaluationDefinition,
    count_entities,
    count_relations,
    micro,
    scores,
)  # fmt: skip
from iter_lightning.types import Entity, Example, Prediction, Relation
from tests.metrics.cases import SCHEMA, predicted

COMBINATIONS = list(product(("position", "surface"), ("once", "twice")))
DEFINITIONS = [EvaluationDefinition(match=match, symmetric=symmetric) for match, symmetric in COMBINATIONS]
ONCE, SURFACE = EvaluationDefinition(), EvaluationDefinition(match="surface")
Tally = dict[str, dict[str, tuple[int, int, int]]]
definitions = st.sampled_from(DEFINITIONS)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Example, Prediction]:
    """Nested, repeated and doubly typed spans, relations in both directions and to itself; some found, some not."""
    words = draw(st.lists(st.sampled_from("xy"), min_size=1, max_size=5))
    spans = [(start, end) for start in range(len(words)) for end in range(start + 1, len(words) + 1)]
    entity = st.builds(
        lambda span, kind: Entity(*span, kind), st.sampled_from(spans), st.sampled_from(SCHEMA.entity_types)
    )
    pool = draw(st.lists(entity, min_size=1, max_size=5))
    relation = st.builds(Relation, st.sampled_from(pool), st.sampled_from(pool), st.sampled_from(SCHEMA.relation_types))
    links = draw(st.lists(relation, max_size=6))

    def side() -> tuple[tuple[Entity, ...], tuple[Relation, ...]]:
        """Part of the pools, anything possibly twice; a relation brings its arguments and may be turned round."""
        kept = draw(st.lists(st.sampled_from(links), max_size=8)) if links else []
        relations = [Relation(r.tail, r.head, r.type) if draw(st.booleans()) else r for r in kept]
        entities = draw(st.lists(st.sampled_from(pool), max_size=6))
        return (*entities, *(e for r in relations for e in (r.head, r.tail))), tuple(relations)

    return Example(tuple(words), *side()), predicted(*side())


def counted(gold: Example, pred: Prediction, definition: EvaluationDefinition) -> Tally:
    """Task -> type -> (tp, fp, fn), types of the schema that do not occur included."""
    found = {
        "NER": count_entities(gold, pred, definition),
        "RE": count_relations(gold, pred, SCHEMA, definition),
        "RE+": count_relations(gold, pred, SCHEMA, definition, strict=True),
    }
    assert all(any(counts) for by_type in found.values() for counts in by_type.values())
    return {task: {k: tuple(by_type.get(k, Counts())) for k in kinds(task)} for task, by_type in found.items()}  # type: ignore[misc]


def kinds(task: str) -> tuple[str, ...]:
    return SCHEMA.entity_types if task == "NER" else SCHEMA.relation_types


def twin(gold: Example, pred: Prediction, definition: EvaluationDefinition) -> Tally:
    """The same from plain sets of tuples, type by type."""

    def place(e: Entity) -> Any:
        if definition.match == "position":
            return (e.start, e.end)
        return tuple(word for i, word in enumerate(gold.words) if e.start <= i < e.end)

    def entities(side: Example | Prediction, kind: str) -> set[Any]:
        return {place(e) for e in side.entities if e.type == kind}

    def relations(side: Example | Prediction, kind: str, end: Callable[[Entity], Any]) -> set[Any]:
        directed = {(end(r.head), end(r.tail)) for r in side.relations if r.type == kind}
        if kind not in SCHEMA.symmetric:
            return directed
        if definition.symmetric == "twice":
            return directed | {(tail, head) for head, tail in directed}
        return {tuple(sorted(ends)) for ends in directed}

    def sets(task: str, side: Example | Prediction, kind: str) -> set[Any]:
        if task == "NER":
            return entities(side, kind)
        return relations(side, kind, place if task == "RE" else lambda e: (place(e), e.type))

    result: Tally = {}
    for task in ("NER", "RE", "RE+"):
        result[task] = {}
        for kind in kinds(task):
            mine, theirs = sets(task, gold, kind), sets(task, pred, kind)
            result[task][kind] = (len(mine & theirs), len(theirs - mine), len(mine - theirs))
    return result


@given(pair=pairs(), definition=definitions)
def test_count_against_sets(definition: EvaluationDefinition, pair: tuple[Example, Prediction]) -> None:
    assert counted(*pair, definition) == twin(*pair, definition)


@given(pair=pairs(), definition=definitions)
def test_swapping_gold_and_prediction_swaps_precision_and_recall(
    definition: EvaluationDefinition, pair: tuple[Example, Prediction]
) -> None:
    gold, pred = pair
    back = counted(
        Example(gold.words, pred.entities, pred.relations), predicted(gold.entities, gold.relations), definition
    )
    for task, by_type in counted(gold, pred, definition).items():
        assert back[task] == {kind: (tp, fn, fp) for kind, (tp, fp, fn) in by_type.items()}
        there, again = (scores({k: Counts(*c) for k, c in x.items()}) for x in (by_type, back[task]))
        for mean in ("micro", "macro"):
            assert (there[mean]["precision"], there[mean]["recall"]) == (
                again[mean]["recall"],
                again[mean]["precision"],
            )
            assert there[mean]["f1"] == again[mean]["f1"]


@given(pair=pairs(), definition=definitions)
def test_gold_itself_is_perfect(definition: EvaluationDefinition, pair: tuple[Example, Prediction]) -> None:
    gold = pair[0]
    for task, by_type in counted(gold, predicted(gold.entities, gold.relations), definition).items():
        total = micro({kind: Counts(*counts) for kind, counts in by_type.items()})
        occurs = bool(gold.entities if task == "NER" else gold.relations)
        assert (total.precision, total.recall, total.f1) == ((1.0,) * 3 if occurs else (0.0,) * 3)


@settings(max_examples=60)
@given(pair=pairs(), definition=definitions, data=st.data())
def test_order_and_repetition_within_a_sentence_do_not_matter(
    definition: EvaluationDefinition, pair: tuple[Example, Prediction], data: st.DataObject
) -> None:
    gold, pred = pair

    def shuffled(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(data.draw(st.permutations([*items, *items])))

    other = Example(gold.words, shuffled(gold.entities), shuffled(gold.relations))
    again = predicted(shuffled(pred.entities), shuffled(pred.relations))
    assert counted(other, again, definition) == counted(gold, pred, definition)


@given(pair=pairs(), match=st.sampled_from(["position", "surface"]))
def test_twice_weighs_symmetric_types_up_to_twice_and_others_alike(
    pair: tuple[Example, Prediction], match: str
) -> None:
    once, twice = (counted(*pair, EvaluationDefinition(match=match, symmetric=s)) for s in ("once", "twice"))
    assert once["NER"] == twice["NER"]
    for task in ("RE", "RE+"):
        for kind in SCHEMA.relation_types:
            most = 2 if kind in SCHEMA.symmetric else 1
            assert all(a <= b <= most * a for a, b in zip(once[task][kind], twice[task][kind], strict=True))


@given(pair=pairs(), definition=definitions)
def test_turning_symmetric_relations_round_changes_nothing(
    definition: EvaluationDefinition, pair: tuple[Example, Prediction]
) -> None:
    gold, pred = pair
    turned = tuple(Relation(r.tail, r.head, r.type) if r.type in SCHEMA.symmetric else r for r in pred.relations)
    assert counted(gold, predicted(pred.entities, turned), definition) == counted(gold, pred, definition)


@given(pair=pairs())
def test_surface_only_merges(pair: tuple[Example, Prediction]) -> None:
    """Never more gold or more predictions than by position, and the same where all words differ."""
    gold, pred = pair
    by_position, by_surface = counted(gold, pred, ONCE), counted(gold, pred, SURFACE)
    for task, by_type in by_position.items():
        for kind, (tp, fp, fn) in by_type.items():
            merged = by_surface[task][kind]
            assert merged[0] + merged[1] <= tp + fp
            assert merged[0] + merged[2] <= tp + fn
    apart = Example(tuple(map(str, range(len(gold.words)))), gold.entities, gold.relations)
    assert counted(apart, pred, SURFACE) == by_position
