"""Analyze predictions: scores at each link threshold, and confusion of types."""

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
"""Link thresholds 0.05, 0.10, ..., 0.95."""
Pair = tuple[Example, Prediction]
"""A gold example and its prediction."""
Item = TypeVar("Item", Entity, Relation)


def above(prediction: Prediction, threshold: float) -> Prediction:
    """Keep the relations with a score above the threshold, and all entities, as for a higher lambda (Eq. 6)."""
    kept = [i for i, score in enumerate(prediction.relation_scores) if score > threshold]
    return replace(
        prediction,
        relations=tuple(prediction.relations[i] for i in kept),
        relation_scores=tuple(prediction.relation_scores[i] for i in kept),
    )


def counts_by_type(
    pairs: Sequence[Pair], schema: Schema, definition: EvaluationDefinition
) -> dict[str, dict[str, Counts]]:
    """Count all sentences for each task and type of the schema. Without relation types, only NER is counted.

    Raises:
        ValueError: If a type is not in the schema, or if a span ends past the sentence.
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
    """Compute RE and RE+ scores at each link threshold (lambda), from one set of predictions.

    Args:
        pairs: Gold examples and predictions. The lambda of the predictions must not exceed any of `thresholds`.
        schema: Types. Without relation types, the curve is empty.
        definition: Definition of the scores.
        thresholds: Values of lambda, in the order of the curve.

    Returns:
        One point per lambda: `{"lambda": 0.5, "RE": {"precision": ..., "recall": ..., "f1": ...}, "RE+": {...}}`, with
        micro averages in [0, 1].

    Example:
        >>> person, company = Entity(0, 1, "Peop"), Entity(3, 4, "Org")
        >>> relation = Relation(person, company, "Work_For")
        >>> gold = Example(("Ada", "works", "for", "Acme"), (person, company), (relation,))
        >>> prediction = Prediction((person, company), (relation,), (0.9, 0.9), (0.7,))
        >>> schema = Schema(("Org", "Peop"), ("Work_For",))
        >>> curve = link_curve([(gold, prediction)], schema, EvaluationDefinition(), thresholds=(0.6, 0.8))
        >>> [point["RE+"]["f1"] for point in curve]
        [1.0, 0.0]
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
    """Return the sorted scores of correct relations, those of wrong relations, and the number of gold relations."""
    hits: list[float] = []
    others: list[float] = []
    support = 0
    for gold, prediction in pairs:
        expected = relation_keys(gold, gold.relations, schema, definition, strict)
        support += len(expected)
        best: dict[Key, float] = {}  # relations with equal keys count once, with their highest score
        for relation, score in zip(prediction.relations, prediction.relation_scores, strict=True):
            for key in relation_keys(gold, (relation,), schema, definition, strict):
                best[key] = max(score, best.get(key, score))
        for key, score in best.items():
            (hits if key in expected else others).append(score)
    return sorted(hits), sorted(others), support


def best_threshold(curve: Sequence[dict[str, Any]], task: str = "RE+") -> float:
    """Return the lambda with the highest F1. Ties go to the value closest to 0.5, then to the smaller value.

    Args:
        curve: Points of `link_curve`.
        task: `RE` or `RE+`.

    Returns:
        A value of lambda from the curve.

    Raises:
        ValueError: If the curve is empty.

    Example:
        >>> best_threshold([{"lambda": 0.4, "RE+": {"f1": 0.8}}, {"lambda": 0.5, "RE+": {"f1": 0.7}}])
        0.4
    """
    if not curve:
        raise ValueError("an empty curve has no best threshold")
    best = min(curve, key=lambda p: (-p[task]["f1"], round(abs(p["lambda"] - 0.5), 9), p["lambda"]))
    return float(best["lambda"])


def confusion(pairs: Sequence[Pair], schema: Schema, task: str) -> dict[str, Any]:
    """Compute the confusion matrix of types under the default definition (positions; symmetric relations once).

    - The diagonal has the true positives of the task.
    - Other entries are items with the correct place but another type. The place of an entity is its span; that of a
      relation is its two argument spans, in either order if one of the types is symmetric.
    - All other items are missed or spurious. This includes relations of the correct type with a wrong entity type.

    A row sums to the support of its type, and a column to the number of its predictions.

    Args:
        pairs: Gold examples and predictions.
        schema: Types and their order.
        task: `NER` or `RE+`.

    Returns:
        `rows`, the gold types and "spurious"; `columns`, the predicted types and "missed"; and `counts[row][column]`.

    Raises:
        ValueError: If the task is not supported, or if a type is not in the schema.

    Example:
        >>> gold = Example(("Ada", "sings"), (Entity(0, 1, "Peop"),))
        >>> prediction = Prediction((Entity(0, 1, "Org"),), entity_scores=(0.9,))
        >>> confusion([(gold, prediction)], Schema(("Org", "Peop")), "NER")["counts"]
        [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
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
    """Yield pairs of gold and predicted type: equal items, items in the same place, then unmatched ones (None)."""
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
