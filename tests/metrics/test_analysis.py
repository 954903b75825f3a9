"""The link curve against scoring at each threshold on its own; confusions against the counts they have to add up to."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.metrics import (
    LINK_THRESHOLDS,
    EvaluationDefinition,
    ExtractionMetric,
    best_threshold,
    confusion,
    link_curve,
)
from iter_lightning.metrics.analysis import Pair, above, counts_by_type
from iter_lightning.types import Entity, Example, Prediction, Relation, Schema
from tests.metrics.cases import SCHEMA, predicted, random_pairs

ONCE = EvaluationDefinition()
PER, ORG, LOC = Entity(0, 1, "Per"), Entity(1, 3, "Org"), Entity(4, 5, "Loc")
WORDS = ("a", "b", "c", "d", "e")


def scored_pairs(count: int, seed: int = 0) -> list[Pair]:
    """Gold and predictions whose relations have scores, some of them exactly a threshold."""
    rng = random.Random(seed)
    pairs = []
    for prediction, gold in random_pairs(count, seed):
        scores = tuple(rng.choice((rng.random(), *LINK_THRESHOLDS)) for _ in prediction.relations)
        pairs.append((gold, replace(prediction, relation_scores=scores)))
    return pairs


def brute_force(pairs: list[Pair], threshold: float, strict: bool) -> tuple[int, int, int]:
    """True positives, predicted and gold relations by nested loops; symmetric ones match either way round."""

    def same(a: Relation, b: Relation) -> bool:
        def argument(x: Entity, y: Entity) -> bool:
            return (x.start, x.end) == (y.start, y.end) and (not strict or x.type == y.type)

        if a.type != b.type:
            return False
        straight = argument(a.head, b.head) and argument(a.tail, b.tail)
        return straight or (a.type in SCHEMA.symmetric and argument(a.head, b.tail) and argument(a.tail, b.head))

    def distinct(relations: list[Relation]) -> list[Relation]:
        kept: list[Relation] = []
        for relation in relations:
            if not any(same(relation, other) for other in kept):
                kept.append(relation)
        return kept

    hits = found = expected = 0
    for gold, prediction in pairs:
        scores = zip(prediction.relations, prediction.relation_scores, strict=True)
        taken, right = distinct([r for r, score in scores if score > threshold]), distinct(list(gold.relations))
        found, expected = found + len(taken), expected + len(right)
        hits += sum(any(same(r, g) for g in right) for r in taken)
    return hits, found, expected


def test_the_curve_is_what_each_threshold_scores() -> None:
    pairs = scored_pairs(150)
    curve = link_curve(pairs, SCHEMA, ONCE)
    assert [point["lambda"] for point in curve] == list(LINK_THRESHOLDS)
    for point in curve:
        for task in ("RE", "RE+"):
            hits, found, expected = brute_force(pairs, point["lambda"], strict=task == "RE+")
            assert hits > 0 or point["lambda"] > 0.9
            assert point[task]["precision"] == pytest.approx(hits / found if found else 0)
            assert point[task]["recall"] == pytest.approx(hits / expected)
            assert point[task]["f1"] == pytest.approx(2 * hits / (found + expected))


@pytest.mark.parametrize("symmetric", ["once", "twice"])
def test_at_the_models_threshold_the_curve_is_the_metrics_result(symmetric: str) -> None:
    pairs, definition = scored_pairs(80, seed=1), EvaluationDefinition(symmetric=symmetric)
    (point,) = link_curve(pairs, SCHEMA, definition, [0.5])
    metric = ExtractionMetric(SCHEMA, definition)
    metric.update([above(prediction, 0.5) for _, prediction in pairs], [gold for gold, _ in pairs])
    report = metric.report()
    for task in ("RE", "RE+"):
        assert point[task] == {name: report[task]["micro"][name] for name in ("precision", "recall", "f1")}
    kept = [(gold, above(prediction, 0.5)) for gold, prediction in pairs]
    assert counts_by_type(kept, SCHEMA, definition) == metric.counts()


def test_recall_never_rises_with_the_threshold() -> None:
    curve = link_curve(scored_pairs(60, seed=2), SCHEMA, ONCE)
    for task in ("RE", "RE+"):
        recalls = [point[task]["recall"] for point in curve]
        assert recalls == sorted(recalls, reverse=True)
        assert recalls[0] > recalls[-1]


def test_a_score_equal_to_the_threshold_is_not_past_it() -> None:
    prediction = Prediction((PER, ORG), (Relation(PER, ORG, "WorkFor"),), (0.9, 0.9), (0.5,))
    assert above(prediction, 0.5) == replace(prediction, relations=(), relation_scores=())
    assert above(prediction, 0.49) == prediction


def test_without_relation_types_there_is_no_curve() -> None:
    schema = Schema(("Per",))
    pairs = [(Example(WORDS, (PER,)), predicted((PER,)))]
    assert link_curve(pairs, schema, ONCE) == []
    assert list(counts_by_type(pairs, schema, ONCE)) == ["NER"]
    with pytest.raises(ValueError, match="empty curve"):
        best_threshold([])


def test_of_equal_thresholds_the_one_next_to_a_half_is_best() -> None:
    def point(threshold: float, f1: float) -> dict[str, object]:
        return {"lambda": threshold, "RE": {"f1": 1 - f1}, "RE+": {"f1": f1}}

    flat = [point(threshold, 0.3) for threshold in LINK_THRESHOLDS]
    assert best_threshold(flat) == 0.5
    assert best_threshold([p for p in flat if p["lambda"] != 0.5]) == 0.45
    curve = [point(0.2, 0.7), point(0.3, 0.7), point(0.5, 0.6), point(0.9, 0.7)]
    assert best_threshold(curve) == 0.3
    assert best_threshold(curve, "RE") == 0.5


# confusion -----------------------------------------------------------------------------------------------------------


def cells(pairs: list[Pair], task: str) -> dict[tuple[str, str], int]:
    """(row, column) -> count, the zeros left out."""
    found = confusion(pairs, SCHEMA, task)
    return {
        (row, column): count
        for row, line in zip(found["rows"], found["counts"], strict=True)
        for column, count in zip(found["columns"], line, strict=True)
        if count
    }


def test_entities_are_confused_missed_and_spurious() -> None:
    gold = Example(WORDS, (PER, ORG, LOC))
    found = predicted((PER, Entity(1, 3, "Loc"), Entity(3, 5, "Loc")))
    assert cells([(gold, found)], "NER") == {
        ("Per", "Per"): 1, ("Org", "Loc"): 1, ("Loc", "missed"): 1, ("spurious", "Loc"): 1,
    }  # fmt: skip


def test_a_span_of_several_types_matches_equal_ones_first() -> None:
    gold = Example(WORDS, (Entity(0, 1, "Per"), Entity(0, 1, "Org")))
    assert cells([(gold, predicted((Entity(0, 1, "Loc"), Entity(0, 1, "Per"))))], "NER") == {
        ("Per", "Per"): 1, ("Org", "Loc"): 1,
    }  # fmt: skip
    assert cells([(gold, predicted((Entity(0, 1, "Org"),)))], "NER") == {("Org", "Org"): 1, ("Per", "missed"): 1}


@pytest.mark.parametrize(
    ("expected", "found", "matrix"),
    [
        (Relation(PER, ORG, "WorkFor"), Relation(PER, ORG, "WorkFor"), {("WorkFor", "WorkFor"): 1}),
        (Relation(PER, ORG, "WorkFor"), Relation(PER, ORG, "LiveIn"), {("WorkFor", "LiveIn"): 1}),
        (Relation(PER, ORG, "WorkFor"), Relation(ORG, PER, "WorkFor"),
         {("WorkFor", "missed"): 1, ("spurious", "WorkFor"): 1}),
        (Relation(PER, ORG, "WorkFor"), Relation(ORG, PER, "LiveIn"),
         {("WorkFor", "missed"): 1, ("spurious", "LiveIn"): 1}),
        (Relation(PER, ORG, "Kin"), Relation(ORG, PER, "Kin"), {("Kin", "Kin"): 1}),
        (Relation(PER, ORG, "Kin"), Relation(ORG, PER, "Near"), {("Kin", "Near"): 1}),
        (Relation(PER, ORG, "WorkFor"), Relation(ORG, PER, "Kin"), {("WorkFor", "Kin"): 1}),
        (Relation(PER, ORG, "WorkFor"), Relation(PER, Entity(1, 3, "Loc"), "WorkFor"),
         {("WorkFor", "missed"): 1, ("spurious", "WorkFor"): 1}),
        (Relation(PER, ORG, "WorkFor"), Relation(PER, Entity(1, 3, "Loc"), "LiveIn"), {("WorkFor", "LiveIn"): 1}),
    ],
    ids=["right", "type", "direction", "type and direction", "symmetric", "symmetric type", "one symmetric",
         "argument type", "type and argument type"],
)  # fmt: skip
def test_relations_are_confused_between_the_same_spans(
    expected: Relation, found: Relation, matrix: dict[tuple[str, str], int]
) -> None:
    gold = Example(WORDS, (expected.head, expected.tail), (expected,))
    assert cells([(gold, predicted((found.head, found.tail), (found,)))], "RE+") == matrix


@given(st.integers(min_value=0, max_value=10_000), st.integers(min_value=0, max_value=6))
def test_confusions_add_up(seed: int, size: int) -> None:
    """Rows to the support, columns to what was predicted, the diagonal to the true positives."""
    pairs = [(gold, prediction) for prediction, gold in random_pairs(size, seed)]
    counts = counts_by_type(pairs, SCHEMA, ONCE)
    for task, types in (("NER", SCHEMA.entity_types), ("RE+", SCHEMA.relation_types)):
        found = confusion(pairs, SCHEMA, task)
        assert found["rows"] == [*types, "spurious"]
        assert found["columns"] == [*types, "missed"]
        matrix = found["counts"]
        for i, name in enumerate(types):
            assert sum(matrix[i]) == counts[task][name].tp + counts[task][name].fn
            assert sum(row[i] for row in matrix) == counts[task][name].tp + counts[task][name].fp
            assert matrix[i][i] == counts[task][name].tp
        assert matrix[-1][-1] == 0


@given(st.integers(min_value=0, max_value=10_000))
def test_no_span_has_both_a_missed_and_a_spurious_type(seed: int) -> None:
    """What could be paired is paired: a span leaves gold types or predicted types over, not both."""
    ((prediction, gold),) = random_pairs(1, seed)
    expected, found = (Counter(e.span for e in set(side.entities)) for side in (gold, prediction))
    matrix = confusion([(gold, prediction)], SCHEMA, "NER")["counts"]
    assert sum(row[-1] for row in matrix) == sum((expected - found).values())
    assert sum(matrix[-1]) == sum((found - expected).values())


def test_unknown_types_and_tasks_are_refused() -> None:
    pairs = [(Example(WORDS), predicted((Entity(0, 1, "Odd"),)))]
    with pytest.raises(ValueError, match="'Odd' is not in the schema"):
        confusion(pairs, SCHEMA, "NER")
    with pytest.raises(ValueError, match="neither NER nor RE"):
        confusion([], SCHEMA, "RE")
