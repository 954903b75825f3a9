"""Conversion of the decisions on a batch into predictions. Uses numpy only, for torch and ONNX Runtime alike.

C span candidates, T entity types, E found spans, P pairs of found spans, R relation types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise, product
from typing import TypeVar

import numpy as np

from iter_lightning.features.alignment import EncodedExample, owner
from iter_lightning.features.layout import example_of_rows
from iter_lightning.model.config import IterConfig
from iter_lightning.types import NO_LIMITS, Entity, Prediction, Relation, Schema, WindowLimits

T = TypeVar("T")
Windows = Sequence[tuple[EncodedExample, int]]
"""The (example, window number) of each row."""


@dataclass(frozen=True)
class Spans:
    """The spans found in a batch, grouped by row."""

    row_E: np.ndarray
    left_slot_E: np.ndarray
    right_slot_E: np.ndarray
    types_ET: np.ndarray
    """Bool, the decided types."""
    scores_ET: np.ndarray
    """Probabilities of the decided types, 0 for all others."""

    def keep(self, kept_E: np.ndarray) -> Spans:
        """Return the spans for which a bool mask is true."""
        return Spans(*(getattr(self, field.name)[kept_E] for field in fields(self)))


def found_spans(left_slot_C: np.ndarray, right_slot_C: np.ndarray, scores_CT: np.ndarray, length: int) -> Spans:
    """Select the candidates that were given a type, in their order.

    Args:
        left_slot_C: slot of each left bracket (`row * length + position`), grouped by row.
        right_slot_C: slot of each right bracket.
        scores_CT: scores of the decided types, 0 for all others.
        length: number N of subwords in a padded window.
    """
    found = np.flatnonzero(scores_CT.any(axis=1))
    left_slots, right_slots = left_slot_C[found].astype(np.int64), right_slot_C[found].astype(np.int64)
    return Spans(right_slots // length, left_slots, right_slots, scores_CT[found] > 0, scores_CT[found])


def resolve_overlaps(first_E: np.ndarray, last_E: np.ndarray, score_E: np.ndarray) -> np.ndarray:
    """Choose spans that do not overlap, greedily by probability; of equally probable ones, the earlier.

    Args:
        first_E: first position of each span.
        last_E: last position of each span, inclusive.
        score_E: probability of each span.

    Returns:
        Bool [E], true for the chosen spans.

    Example:
        >>> resolve_overlaps(np.array([0, 1, 4]), np.array([2, 3, 5]), np.array([0.6, 0.9, 0.5])).tolist()
        [False, True, True]
    """
    kept_E = np.ones(len(first_E), dtype=bool)
    if not len(first_E):
        return kept_E
    # Split the spans, in order of position, into groups that do not touch each other.
    order = np.lexsort((last_E, first_E))
    reach = np.maximum.accumulate(last_E[order])
    begins = np.flatnonzero(np.r_[True, first_E[order][1:] > reach[:-1]])
    for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
        if end - begin == 1:
            continue
        # Within a group, take spans from the most probable down unless they overlap one already taken.
        chosen: list[int] = []
        for span in sorted(order[begin:end], key=lambda e: -score_E[e]):
            if any(first_E[span] <= last_E[other] and first_E[other] <= last_E[span] for other in chosen):
                kept_E[span] = False
            else:
                chosen.append(span)
    return kept_E


def most_probable(spans: Spans, limit: int | None) -> tuple[Spans, frozenset[int]]:
    """Return the `limit` most probable spans of each row, and the rows that had more."""
    kept_E = _first_in_row(spans.row_E, spans.scores_ET.max(axis=1, initial=0.0), limit)
    return (spans, frozenset()) if kept_E.all() else (spans.keep(kept_E), frozenset(spans.row_E[~kept_E].tolist()))


def _first_in_row(row_K: np.ndarray, score_K: np.ndarray, limit: int | None) -> np.ndarray:
    """Return bool [K]: the `limit` best items of each row."""
    kept_K = np.ones(len(row_K), dtype=bool)
    if limit is not None and len(row_K) > limit:
        order = np.lexsort((-score_K, row_K))
        rows = row_K[order]
        kept_K[order] = np.arange(len(rows)) - np.searchsorted(rows, rows) < limit
    return kept_K


def kept_in_whole_examples(windows: Windows, spans: Spans) -> np.ndarray:
    """Resolve overlaps in rows that hold a whole example, before pairs are made.

    Overlaps in examples of several windows are resolved later, when the owner of each span is known: a span that
    another window owns must not remove one of this window.

    Returns:
        Bool [E], true for the spans to keep.
    """
    whole_E = np.array([len(encoded.windows) == 1 for encoded, _ in windows], dtype=bool)[spans.row_E]
    kept_E = np.ones(len(whole_E), dtype=bool)
    found = spans.keep(whole_E)
    kept_E[whole_E] = resolve_overlaps(found.left_slot_E, found.right_slot_E, found.scores_ET.max(axis=1))
    return kept_E


def _without_overlaps(entities: dict[Entity, float]) -> dict[Entity, float]:
    """Keep the entities of an example whose spans do not overlap."""
    if all(a.end <= b.start or a.span == b.span for a, b in pairwise(sorted(entities))):
        return entities
    score_of: dict[tuple[int, int], float] = {}
    for entity, score in entities.items():
        score_of[entity.span] = max(score, score_of.get(entity.span, 0.0))
    bounds = np.array(list(score_of)).reshape(-1, 2)
    kept = resolve_overlaps(bounds[:, 0], bounds[:, 1] - 1, np.array(list(score_of.values())))
    spans = {span for span, stays in zip(score_of, kept, strict=True) if stays}
    return {entity: score for entity, score in entities.items() if entity.span in spans}


def predictions(
    windows: Windows, word_BN: np.ndarray, spans: Spans, head_P: np.ndarray, tail_P: np.ndarray, links_PR: np.ndarray,
    config: IterConfig, link_threshold: float, limits: WindowLimits = NO_LIMITS,
    truncated_rows: frozenset[int] = frozenset(),
) -> list[Prediction]:  # fmt: skip
    """Convert spans and pairs of subwords into entities and relations of words, one `Prediction` per example.

    Args:
        windows: see `Batch`.
        word_BN: see `Batch`.
        spans: the spans found in the batch.
        head_P: head of each ordered pair of spans in a row.
        tail_P: tail of each pair.
        links_PR: relation probabilities of the pairs; [P, 2R] with inverse links.
        config: the model's configuration.
        link_threshold: lambda of Eq. 6.
        limits: maximum number of relations of a window; that of entities was applied before.
        truncated_rows: rows whose entities were limited.
    """
    schema = config.schema
    example_B = example_of_rows(windows)
    entities: list[dict[Entity, float]] = [{} for _ in range(example_B[-1] + 1 if example_B else 0)]
    relations: list[dict[Relation, float]] = [{} for _ in entities]

    # Entities: from slots to words; of several windows, the one that owns a span reports it.
    word_S = word_BN.reshape(-1)
    starts_E, ends_E = word_S[spans.left_slot_E], word_S[spans.right_slot_E] + 1
    typed = _typed_entities(spans, starts_E, ends_E, schema)
    for row, start, end, scored in zip(spans.row_E, starts_E, ends_E, typed, strict=True):
        if _is_owner(windows[row], int(start), int(end)):
            _keep_best(entities[example_B[row]], scored)
    if config.flat:  # spans of different windows, and of subwords of one word, may still overlap
        entities = [_without_overlaps(found) for found in entities]

    # Relations: pairs over the threshold between entities that were kept; the owner of both spans' hull reports them.
    links_PR = _both_directions(links_PR, head_P, tail_P, config.inverse_links, schema)
    linked_PR = links_PR > link_threshold
    if not config.self_links:
        # compare words, not subwords: two spans of subwords inside one word are the same entity
        linked_PR &= ((starts_E[head_P] != starts_E[tail_P]) | (ends_E[head_P] != ends_E[tail_P]))[:, None]
    linked_K2 = np.argwhere(linked_PR)
    row_K = spans.row_E[head_P[linked_K2[:, 0]]]
    kept_K = _first_in_row(row_K, links_PR[linked_PR], limits.relations)
    truncated = {example_B[row] for row in truncated_rows.union(row_K[~kept_K].tolist())}
    for pair, kind in linked_K2[kept_K]:
        head, tail = head_P[pair], tail_P[pair]
        row = spans.row_E[head]
        hull = int(min(starts_E[head], starts_E[tail])), int(max(ends_E[head], ends_E[tail]))
        if not _is_owner(windows[row], *hull):
            continue
        kept, name, score = entities[example_B[row]], schema.relation_types[kind], float(links_PR[pair, kind])
        _keep_best(relations[example_B[row]], {
            schema.canonical(Relation(first, second, name)): score
            for first, second in product(typed[head], typed[tail])
            if first in kept and second in kept and schema.allows(name, first.type, second.type)
        })  # fmt: skip
    return [
        _prediction(found, linked, example in truncated)
        for example, (found, linked) in enumerate(zip(entities, relations, strict=True))
    ]


def _typed_entities(
    spans: Spans, starts_E: np.ndarray, ends_E: np.ndarray, schema: Schema
) -> list[dict[Entity, float]]:
    """Return the entities of each span, one per decided type, with their scores."""
    return [
        {Entity(int(start), int(end), schema.entity_types[t]): float(scores_T[t]) for t in types_T.nonzero()[0]}
        for start, end, types_T, scores_T in zip(starts_E, ends_E, spans.types_ET, spans.scores_ET, strict=True)
    ]


def _keep_best(scores: dict[T, float], found: Mapping[T, float]) -> None:
    """Add scored items; an item that was found before keeps its larger score."""
    for item, score in found.items():
        scores[item] = max(scores.get(item, 0.0), score)


def _is_owner(window: tuple[EncodedExample, int], start: int, end: int) -> bool:
    encoded, number = window
    return len(encoded.windows) == 1 or owner(encoded.windows, start, end) == number


def _both_directions(
    links_PR: np.ndarray, head_P: np.ndarray, tail_P: np.ndarray, inverse_links: bool, schema: Schema
) -> np.ndarray:
    """Combine the probabilities of each pair with those of the opposite pair.

    With inverse links the larger of a relation's two readings counts. The two directions of a symmetric type are then
    replaced by their mean.

    Returns:
        probabilities [P, R].
    """
    types = len(schema.relation_types)
    columns = [schema.relation_types.index(name) for name in schema.symmetric]
    if not (columns or inverse_links) or not len(links_PR):
        return links_PR[:, :types]
    # Find the opposite (tail, head) of each (head, tail) by binary search.
    key = head_P * (int(max(head_P.max(), tail_P.max())) + 1) + tail_P
    mirrored = tail_P * (int(max(head_P.max(), tail_P.max())) + 1) + head_P
    order = key.argsort()
    reverse_P = order[np.searchsorted(key, mirrored, sorter=order)]
    result: np.ndarray = links_PR[:, :types].copy()
    if inverse_links:
        result = np.maximum(result, links_PR[reverse_P, types:])
    if columns:
        result[:, columns] = (result[:, columns] + result[reverse_P][:, columns]) / 2
    return result


def _prediction(entities: dict[Entity, float], relations: dict[Relation, float], truncated: bool) -> Prediction:
    found, linked = sorted(entities), sorted(relations)
    return Prediction(
        entities=tuple(found),
        relations=tuple(linked),
        entity_scores=tuple(entities[e] for e in found),
        relation_scores=tuple(relations[r] for r in linked),
        truncated=truncated,
    )
