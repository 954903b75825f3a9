"""From decisions on a batch to predictions: numpy alone, the same whatever has run the network.

C span candidates, T entity types, E found spans, P pairs of them, R relation types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from iter_lightning.features.alignment import EncodedExample, owner
from iter_lightning.types import NO_LIMITS, Entity, Prediction, Relation, Schema, WindowLimits

Windows = Sequence[tuple[EncodedExample, int]]
"""The (example, window number) of each row."""
TYPE_DECISIONS = ("argmax", "all", "sum")


@dataclass(frozen=True)
class DecodingRules:
    """What turns logits into decisions."""

    omega: int
    type_decision: str
    """`argmax`: the best type, if its logit > 0; `all`: every type with logit > 0 (Eq. 5 as printed);
    `sum`: the best type, if the log-sum-exp over all of them > 0 (the published code for omega 1)."""
    link_threshold: float
    """Lambda of Eq. 6."""
    flat: bool = False
    """Entities never overlap: of found spans that do, the most probable is kept (`resolve_overlaps`)."""
    inverse_links: bool = False
    """Links come as [P, 2R]: columns r of (a, b) and R + r of (b, a) both tell of r from a to b; the larger counts."""
    self_links: bool = True
    """Whether a relation may link an entity to itself, or to another entity of the same words."""


@dataclass(frozen=True)
class Spans:
    """The spans found in a batch, grouped by row."""

    row_E: np.ndarray
    left_slot_E: np.ndarray
    right_slot_E: np.ndarray
    types_ET: np.ndarray
    """Bool, the types decided."""
    scores_ET: np.ndarray

    def keep(self, kept_E: np.ndarray) -> Spans:
        """Those for which the mask is true."""
        return Spans(*(getattr(self, field.name)[kept_E] for field in fields(self)))


def found_spans(left_slot_C: np.ndarray, right_slot_C: np.ndarray, scores_CT: np.ndarray, length: int) -> Spans:
    """The candidates for which a type was decided, in their order.

    Args:
        left_slot_C, right_slot_C: slots of both brackets (`row * length + position`), grouped by row.
        scores_CT: of decided types; zero of others.
        length: N.
    """
    found = np.flatnonzero(scores_CT.any(axis=1))
    left_slots, right_slots = left_slot_C[found].astype(np.int64), right_slot_C[found].astype(np.int64)
    return Spans(right_slots // length, left_slots, right_slots, scores_CT[found] > 0, scores_CT[found])


def resolve_overlaps(first_E: np.ndarray, last_E: np.ndarray, score_E: np.ndarray) -> np.ndarray:
    """Which spans stay when the most probable of those that overlap does, over and over; equal scores: the earlier.

    Args:
        first_E, last_E: the first and last place of each span, both inclusive.
        score_E: its probability.

    Returns:
        Bool [E].
    """
    kept_E = np.ones(len(first_E), dtype=bool)
    if not len(first_E):
        return kept_E
    order = np.lexsort((last_E, first_E))
    reach = np.maximum.accumulate(last_E[order])
    begins = np.flatnonzero(np.r_[True, first_E[order][1:] > reach[:-1]])  # of groups that touch no other group
    for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
        if end - begin == 1:
            continue
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
    """Bool [E]: overlaps resolved before pairs are made, in rows that are whole examples.

    Of several windows none knows yet which spans it owns: one that goes to another window must not remove its own.
    """
    whole_E = np.array([len(encoded.windows) == 1 for encoded, _ in windows], dtype=bool)[spans.row_E]
    kept_E = np.ones(len(whole_E), dtype=bool)
    found = spans.keep(whole_E)
    kept_E[whole_E] = resolve_overlaps(found.left_slot_E, found.right_slot_E, found.scores_ET.max(axis=1))
    return kept_E


def _flat(entities: dict[Entity, float]) -> dict[Entity, float]:
    """Entities with scores reduced to those of spans that do not overlap."""
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
    rules: DecodingRules, schema: Schema, limits: WindowLimits = NO_LIMITS,
    truncated_rows: frozenset[int] = frozenset(),
) -> list[Prediction]:  # fmt: skip
    """Word offsets, owners of spans and pairs, one `Prediction` an example.

    Args:
        windows, word_BN: see `Batch`.
        spans: found in it.
        head_P, tail_P: all ordered pairs of spans inside a row.
        links_PR: their probabilities; [P, 2R] under `rules.inverse_links`.
        rules, schema: the model's.
        limits: of relations; those of entities have been applied before.
        truncated_rows: rows whose entities were limited.
    """
    entities: dict[int, dict[Entity, float]] = {}
    relations: dict[int, dict[Relation, float]] = {}
    order: dict[int, int] = {}  # id of an example -> its place
    for encoded, _ in windows:
        order.setdefault(id(encoded), len(order))
    word_S = word_BN.reshape(-1)
    starts_E, ends_E = word_S[spans.left_slot_E], word_S[spans.right_slot_E] + 1
    typed: list[list[Entity]] = []
    for span, (row, start, end) in enumerate(zip(spans.row_E, starts_E, ends_E, strict=True)):
        encoded, number = windows[row]
        names = spans.types_ET[span].nonzero()[0]
        typed.append([Entity(int(start), int(end), schema.entity_types[t]) for t in names])
        if _owned(encoded, number, int(start), int(end)):
            mine = entities.setdefault(order[id(encoded)], {})
            for entity, t in zip(typed[span], names, strict=True):
                mine[entity] = max(mine.get(entity, 0.0), float(spans.scores_ET[span, t]))
    if rules.flat:  # those of different windows may overlap, and subwords of one word
        entities = {place: _flat(mine) for place, mine in entities.items()}
    links_PR = _both_directions(links_PR, head_P, tail_P, rules.inverse_links, schema)
    linked_PR = links_PR > rules.link_threshold
    if not rules.self_links:
        # compare words, not subwords: two spans of subwords inside one word are the same entity
        linked_PR &= ((starts_E[head_P] != starts_E[tail_P]) | (ends_E[head_P] != ends_E[tail_P]))[:, None]
    linked_K2 = np.argwhere(linked_PR)
    row_K = spans.row_E[head_P[linked_K2[:, 0]]]
    kept_K = _first_in_row(row_K, links_PR[linked_PR], limits.relations)
    truncated = {order[id(windows[row][0])] for row in truncated_rows.union(row_K[~kept_K].tolist())}
    for pair, kind in linked_K2[kept_K]:
        head, tail = head_P[pair], tail_P[pair]
        encoded, number = windows[spans.row_E[head]]
        place = order[id(encoded)]
        hull = int(min(starts_E[head], starts_E[tail])), int(max(ends_E[head], ends_E[tail]))
        if not _owned(encoded, number, *hull):
            continue
        for first in typed[head]:
            for second in typed[tail]:
                relation = schema.canonical(Relation(first, second, schema.relation_types[kind]))
                if first in entities.get(place, {}) and second in entities[place]:
                    mine_r = relations.setdefault(place, {})
                    mine_r[relation] = max(mine_r.get(relation, 0.0), float(links_PR[pair, kind]))
    return [
        _prediction(entities.get(place, {}), relations.get(place, {}), place in truncated)
        for place in range(len(order))
    ]


def _owned(encoded: EncodedExample, number: int, start: int, end: int) -> bool:
    return len(encoded.windows) == 1 or owner(encoded.windows, start, end) == number


def _both_directions(
    links_PR: np.ndarray, head_P: np.ndarray, tail_P: np.ndarray, inverse_links: bool, schema: Schema
) -> np.ndarray:
    """Probabilities [P, R] with what was said of the opposite pairs.

    Of a type's two readings the more probable counts; then each symmetric type's two directions have their mean.
    """
    types = len(schema.relation_types)
    columns = [schema.relation_types.index(name) for name in schema.symmetric]
    if not (columns or inverse_links) or not len(links_PR):
        return links_PR[:, :types]
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
