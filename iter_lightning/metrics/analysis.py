"""What one F1 hides: how the link threshold trades precision for recall, and which types are taken for which."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from iter_lightning.metrics.functional import (
    TASKS,
    Counts,
    EvaluationDefinition,
    Key,
    check_types,
    count_entities,
    count_relations,
    relation_keys,
)
from iter_lightning.types import Entity, Example, Prediction, Relation, Schema

LINK_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""0.05, 0.10 ... 0.95."""
Pair = tuple[Example, Prediction]
"""A sentence with its gold, and what was found in it."""
Item = TypeVar("Item", Entity, Relation)


def above(prediction: Prediction, threshold: float) -> Prediction:
    """The prediction as it would be at a higher lambda: relations with a score past it, and all entities (Eq. 6)."""
    kept = [i for i, score in enumerate(prediction.relation_scores) if score > threshold]
    return replace(
        prediction,
        relations=tuple(prediction.relations[i] for i in kept),
        relation_scores=tuple(prediction.relation_scores[i] for i in kept),
    )


def counts_by_type(
    pairs: Sequence[Pair], schema: Schema, definition: EvaluationDefinition
) -> dict[str, dict[str, Counts]]:
    """Task -> type of the schema -> counts over all sentences; without relation types there is NER alone.

    Raises:
        ValueError: a type that is not in the schema, or a span past the sentence.
    """
    present = TASKS if schema.relation_types else TASKS[:1]
    rows = {task: {name: Counts() for name in _types(schema, task)} for task in present}
    for gold, prediction in pairs:
        check_types(gold, prediction, schema)
        for task, by_type in rows.items():
            if task == "NER":
                found = count_entities(gold, prediction, definition)
            else:
                found = count_relations(gold, prediction, schema, definition, strict=task == "RE+")
            for name, counts in found.items():
                by_type[name] = Counts(*(a + b for a, b in zip(by_type[name], counts, strict=True)))
    return rows


def link_curve(
    pairs: Sequence[Pair], schema: Schema, definition: EvaluationDefinition,
    thresholds: Sequence[float] = LINK_THRESHOLDS,
) -> list[dict[str, Any]]:  # fmt: skip
    """RE and RE+ at each lambda, from predictions that were made once.

    Args:
        pairs: predicted at a lambda no larger than the smallest of `thresholds`.
        schema: without relation types the curve is empty.
        definition: what the scores mean.
        thresholds: the lambdas, in the order of the curve.

    Returns:
        A point a lambda: `{"lambda": 0.5, "RE": {"precision", "recall", "f1"}, "RE+": {...}}`, micro, in [0, 1].
    """
    if not schema.relation_types:
        return []
    points: list[dict[str, Any]] = [{"lambda": threshold} for threshold in thresholds]
    for task in TASKS[1:]:
        hits, others, support = _scored_keys(pairs, schema, definition, strict=task == "RE+")
        for point in points:
            right, wrong = (len(scores) - bisect_right(scores, point["lambda"]) for scores in (hits, others))
            counts = Counts(right, wrong, support - right)
            point[task] = {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}
    return points


def _scored_keys(
    pairs: Sequence[Pair], schema: Schema, definition: EvaluationDefinition, strict: bool
) -> tuple[list[float], list[float], int]:
    """Rising scores of what counts as right when it is predicted, and as wrong, and how much gold there is."""
    hits: list[float] = []
    others: list[float] = []
    support = 0
    for gold, prediction in pairs:
        expected = relation_keys(gold, gold.relations, schema, definition, strict)
        support += len(expected)
        best: dict[Key, float] = {}  # relations that count as one are there as long as one of them is
        for relation, score in zip(prediction.relations, prediction.relation_scores, strict=True):
            for key in relation_keys(gold, (relation,), schema, definition, strict):
                best[key] = max(score, best.get(key, score))
        for key, score in best.items():
            (hits if key in expected else others).append(score)
    return sorted(hits), sorted(others), support


def best_threshold(curve: Sequence[dict[str, Any]], task: str = "RE+") -> float:
    """The lambda of the highest F1; of several the one closest to 0.5, of two as close the smaller.

    Raises:
        ValueError: a curve of no points.
    """
    if not curve:
        raise ValueError("a curve of no points has no best threshold")
    best = min(curve, key=lambda p: (-p[task]["f1"], round(abs(p["lambda"] - 0.5), 9), p["lambda"]))
    return float(best["lambda"])


def confusion(pairs: Sequence[Pair], schema: Schema, task: str) -> dict[str, Any]:
    """Which gold types are found as which, under the default definition (positions; symmetric relations once).

    What is right stands on the diagonal: its entries are the task's true positives. Off it stands what was found in
    the right place under another type: the same span, or for RE+ the same two argument spans, in either order where
    one of the types is symmetric. Everything else is missed or spurious, also a relation of the right type between
    entities of which one has a wrong type. A row sums to the type's support, a column to how often it was predicted.

    Args:
        pairs: gold and predictions.
        schema: the types and their order.
        task: `NER` or `RE+`.

    Returns:
        `rows`, the gold types and "spurious"; `columns`, the predicted types and "missed"; `counts[row][column]`.

    Raises:
        ValueError: another task, or a type that is not in the schema.
    """
    if task not in ("NER", "RE+"):
        raise ValueError(f"task {task!r} is neither NER nor RE+")
    types = _types(schema, task)
    place = {name: i for i, name in enumerate(types)}
    counts = [[0] * (len(types) + 1) for _ in range(len(types) + 1)]
    for gold, prediction in pairs:
        check_types(gold, prediction, schema)
        for was, became in _entity_types(gold, prediction) if task == "NER" else _relations(gold, prediction, schema):
            counts[len(types) if was is None else place[was]][len(types) if became is None else place[became]] += 1
    return {"rows": [*types, "spurious"], "columns": [*types, "missed"], "counts": counts}


def _types(schema: Schema, task: str) -> tuple[str, ...]:
    return schema.entity_types if task == "NER" else schema.relation_types


def _entity_types(gold: Example, prediction: Prediction) -> Iterator[tuple[str | None, str | None]]:
    return _matches(set(gold.entities), set(prediction.entities), lambda a, b: a.span == b.span)


def _relations(gold: Example, prediction: Prediction, schema: Schema) -> Iterator[tuple[str | None, str | None]]:
    def same_place(a: Relation, b: Relation) -> bool:
        ends, others = (a.head.span, a.tail.span), (b.head.span, b.tail.span)
        either_way = a.type in schema.symmetric or b.type in schema.symmetric
        return a.type != b.type and (ends == others or (either_way and ends == others[::-1]))

    expected, found = ({schema.canonical(r) for r in side.relations} for side in (gold, prediction))
    return _matches(expected, found, same_place)


def _matches(
    expected: set[Item], found: set[Item], same_place: Callable[[Item, Item], bool]
) -> Iterator[tuple[str | None, str | None]]:
    """(gold type, predicted type) of equal items, then of those in the same place; None where there is no other."""
    for item in expected & found:
        yield item.type, item.type
    left = sorted(found - expected)
    for item in sorted(expected - found):
        other = next((candidate for candidate in left if same_place(item, candidate)), None)
        if other is not None:
            left.remove(other)
            yield item.type, other.type
        else:
            yield item.type, None
    for other in left:
        yield None, other.type
