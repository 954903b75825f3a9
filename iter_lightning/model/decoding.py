"""From logits to predictions, vectorised over a batch: two waits for the device, whatever the batch.

L eligible lefts, C span candidates, T entity types, E found spans, P pairs of them, R relation types.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from iter_lightning.features.alignment import EncodedExample, owner
from iter_lightning.features.batching import Batch
from iter_lightning.model.brackets import SpanCandidates, ordered_pairs, span_candidates
from iter_lightning.types import Entity, Prediction, Relation, Schema

_LEAST = float(np.finfo(np.float32).tiny)
"""The score of what is decided and too improbable for a float: zero would mean that it is not."""
TYPE_DECISIONS = ("argmax", "all")


class Heads(Protocol):
    """The three decisions on one batch: the model's, or an oracle's."""

    def left_logits(self) -> Tensor:
        """[L], one for each eligible left of the batch."""

    def span_logits(self, candidates: SpanCandidates) -> Tensor:
        """[C, T]."""

    def link_logits(self, left_slots_E: Tensor, right_slots_E: Tensor, head_P: Tensor, tail_P: Tensor) -> Tensor:
        """[P, R] for pairs of spans given by their first and last slots."""


@dataclass(frozen=True)
class DecodingRules:
    """What turns logits into decisions."""

    omega: int
    type_decision: str
    """`argmax`: the best type, if its logit > 0; `all`: every type with logit > 0 (Eq. 5 as printed)."""
    link_threshold: float
    """Lambda of Eq. 6."""
    flat: bool = False
    """Entities never overlap: of found spans that do, the most probable is kept (`resolve_overlaps`)."""


def decide_types(logits_CT: Tensor, valid_C: Tensor, type_decision: str) -> Tensor:
    """Bool [C, T], the types each candidate span is given (Eq. 5)."""
    positive_CT = (logits_CT > 0) & valid_C.unsqueeze(1)
    if type_decision == "all":
        return positive_CT
    best_CT = torch.zeros_like(positive_CT).scatter_(1, logits_CT.argmax(dim=1, keepdim=True), True)
    return positive_CT & best_CT


def type_probabilities(logits_CT: Tensor) -> Tensor:
    """[C, T], the softmax over the types and "none" that Eq. 11 trains."""
    none_C1 = logits_CT.new_zeros(len(logits_CT), 1)
    return torch.cat([logits_CT, none_C1], dim=1).softmax(dim=1)[:, :-1]


@dataclass(frozen=True)
class _Spans:
    """The spans found in a batch, on the host, grouped by row."""

    row_E: np.ndarray
    left_slot_E: np.ndarray
    right_slot_E: np.ndarray
    types_ET: np.ndarray
    """Bool, the types decided."""
    scores_ET: np.ndarray

    def keep(self, kept_E: np.ndarray) -> _Spans:
        """Those for which the mask is true."""
        return _Spans(*(getattr(self, field.name)[kept_E] for field in fields(self)))


@dataclass(frozen=True)
class _OnItsWay:
    """A tensor that is being copied to the host."""

    tensor: Tensor
    copied: torch.cuda.Event | None

    @classmethod
    def of(cls, tensor: Tensor) -> _OnItsWay:
        """Start the copy; on a GPU into page-locked memory, without waiting."""
        if tensor.device.type != "cuda":
            return cls(tensor.cpu(), None)
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record(torch.cuda.current_stream(tensor.device))
        return cls(host, copied)

    def arrived(self) -> np.ndarray:
        """Wait for it."""
        if self.copied is not None:
            self.copied.synchronize()
        values: np.ndarray = self.tensor.numpy()
        return values


@dataclass(frozen=True)
class Proposed:
    """Decisions on lefts and spans, perhaps still being computed."""

    batch: Batch
    heads: Heads
    rules: DecodingRules
    schema: Schema
    table: _OnItsWay
    """[C, 2 + T] int32: slots of left and right, and the bits of each decided type's score."""

    @torch.no_grad()
    def linked(self) -> Found:
        """The first wait for the device, for how many spans there are; then their links are put to work."""
        spans = _found_spans(self.table.arrived(), self.batch.input_ids_BN.shape[1])
        if self.rules.flat:
            spans = spans.keep(_kept_in_whole_examples(self.batch, spans))
        return Found(self, spans, *_links(self.batch, self.heads, spans, len(self.schema.relation_types)))


@dataclass(frozen=True)
class Found:
    """The spans found in a batch, with the probabilities of their links, perhaps still being computed."""

    proposed: Proposed
    spans: _Spans
    head_P: np.ndarray
    tail_P: np.ndarray
    links_PR: _OnItsWay

    def predictions(self) -> list[Prediction]:
        """One for each example of the batch: the second wait for the device, then work of the host alone."""
        links_PR, of = self.links_PR.arrived(), self.proposed
        return _predictions(of.batch, self.spans, self.head_P, self.tail_P, links_PR, of.rules, of.schema)


def decode(batch: Batch, heads: Heads, rules: DecodingRules, schema: Schema) -> list[Prediction]:
    """One prediction for each example of the batch, its windows merged; see `propose`."""
    return propose(batch, heads, rules, schema).linked().predictions()


def propose(batch: Batch, heads: Heads, rules: DecodingRules, schema: Schema) -> Proposed:
    """Decide on lefts and spans without waiting for a GPU.

    The score of an entity is the probability of its left bracket times that of its type; the score of a
    relation is the sigmoid of its logit, for a symmetric type the mean over both directions.
    """
    device = batch.input_ids_BN.device
    left_logits_L = heads.left_logits()
    left_score = left_logits_L.new_zeros(batch.input_ids_BN.numel())
    left_score[batch.left_slots_L] = left_logits_L.sigmoid()
    is_left = torch.zeros(left_score.shape, dtype=torch.bool, device=device)
    is_left[batch.left_slots_L] = left_logits_L > 0
    candidates = span_candidates(
        is_left.view_as(batch.input_ids_BN), batch.left_slots_L, batch.right_slots_M, rules.omega,
        "paired" if device.type == "cpu" else "all",  # counting candidates would be another wait
    )  # fmt: skip
    span_logits_CT = heads.span_logits(candidates)
    types_CT = decide_types(span_logits_CT, candidates.valid_C, rules.type_decision)
    left_slot_C = candidates.left_slot_C
    scores_CT = type_probabilities(span_logits_CT) * left_score[left_slot_C].unsqueeze(1)
    # what is decided has a score above zero
    decided_CT = torch.where(types_CT, scores_CT.float().clamp(min=_LEAST), 0.0)
    slots_C2 = torch.stack([left_slot_C, candidates.right_slot_C], dim=1).int()
    return Proposed(batch, heads, rules, schema, _OnItsWay.of(torch.cat([slots_C2, decided_CT.view(torch.int32)], 1)))


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


def _kept_in_whole_examples(batch: Batch, spans: _Spans) -> np.ndarray:
    """Bool [E]: overlaps resolved before pairs are made, in rows that are whole examples.

    Of several windows none knows yet which spans it owns: one that goes to another window must not remove its own.
    """
    whole_E = np.array([len(encoded.windows) == 1 for encoded, _ in batch.windows], dtype=bool)[spans.row_E]
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


def _found_spans(table: np.ndarray, length: int) -> _Spans:
    """The rows of `Proposed.table` in which a type was decided."""
    scores = np.ascontiguousarray(table[:, 2:]).view(np.float32)
    found = np.flatnonzero(scores.any(axis=1))
    left_slots, right_slots = table[found, 0].astype(np.int64), table[found, 1].astype(np.int64)
    return _Spans(right_slots // length, left_slots, right_slots, scores[found] > 0, scores[found])


def _links(batch: Batch, heads: Heads, spans: _Spans, relation_types: int) -> tuple[np.ndarray, np.ndarray, _OnItsWay]:
    """Pairs of found spans and their relation probabilities."""
    row_E, device = torch.from_numpy(spans.row_E), batch.input_ids_BN.device
    head_P, tail_P, _ = ordered_pairs(row_E, row_E, len(batch))
    if not relation_types or not len(head_P):
        nothing = np.empty(0, np.int64)
        return nothing, nothing, _OnItsWay(torch.empty(0, relation_types), None)
    index = torch.cat([torch.from_numpy(spans.left_slot_E), torch.from_numpy(spans.right_slot_E), head_P, tail_P])
    if device.type == "cuda":
        index = index.pin_memory().to(device, non_blocking=True)
    links_PR = heads.link_logits(*torch.split(index, [len(row_E), len(row_E), len(head_P), len(tail_P)])).sigmoid()
    return head_P.numpy(), tail_P.numpy(), _OnItsWay.of(links_PR)


def _predictions(
    batch: Batch, spans: _Spans, head_P: np.ndarray, tail_P: np.ndarray, links_PR: np.ndarray, rules: DecodingRules,
    schema: Schema,
) -> list[Prediction]:  # fmt: skip
    """Word offsets, owners of spans and pairs, one `Prediction` an example."""
    entities: dict[int, dict[Entity, float]] = {}
    relations: dict[int, dict[Relation, float]] = {}
    order: dict[int, int] = {}  # id of an example -> its place
    for encoded, _ in batch.windows:
        order.setdefault(id(encoded), len(order))
    word_S = batch.word_BN.flatten().numpy()
    starts_E, ends_E = word_S[spans.left_slot_E], word_S[spans.right_slot_E] + 1
    typed: list[list[Entity]] = []
    for span, (row, start, end) in enumerate(zip(spans.row_E, starts_E, ends_E, strict=True)):
        encoded, number = batch.windows[row]
        names = spans.types_ET[span].nonzero()[0]
        typed.append([Entity(int(start), int(end), schema.entity_types[t]) for t in names])
        if _owned(encoded, number, int(start), int(end)):
            mine = entities.setdefault(order[id(encoded)], {})
            for entity, t in zip(typed[span], names, strict=True):
                mine[entity] = max(mine.get(entity, 0.0), float(spans.scores_ET[span, t]))
    if rules.flat:  # those of different windows may overlap, and subwords of one word
        entities = {place: _flat(mine) for place, mine in entities.items()}
    links_PR = _both_directions(links_PR, head_P, tail_P, schema)
    for pair, kind in np.argwhere(links_PR > rules.link_threshold):
        head, tail = head_P[pair], tail_P[pair]
        encoded, number = batch.windows[spans.row_E[head]]
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
    return [_prediction(entities.get(place, {}), relations.get(place, {})) for place in range(len(order))]


def _owned(encoded: EncodedExample, number: int, start: int, end: int) -> bool:
    return len(encoded.windows) == 1 or owner(encoded.windows, start, end) == number


def _both_directions(links_PR: np.ndarray, head_P: np.ndarray, tail_P: np.ndarray, schema: Schema) -> np.ndarray:
    """Probabilities with each symmetric type's two directions replaced by their mean."""
    columns = [schema.relation_types.index(name) for name in schema.symmetric]
    if not columns or not len(links_PR):
        return links_PR
    key = head_P * (int(max(head_P.max(), tail_P.max())) + 1) + tail_P
    mirrored = tail_P * (int(max(head_P.max(), tail_P.max())) + 1) + head_P
    order = key.argsort()
    reverse_P = order[np.searchsorted(key, mirrored, sorter=order)]
    result = links_PR.copy()
    result[:, columns] = (links_PR[:, columns] + links_PR[reverse_P][:, columns]) / 2
    return result


def _prediction(entities: dict[Entity, float], relations: dict[Relation, float]) -> Prediction:
    found, linked = sorted(entities), sorted(relations)
    return Prediction(
        entities=tuple(found),
        relations=tuple(linked),
        entity_scores=tuple(entities[e] for e in found),
        relation_scores=tuple(relations[r] for r in linked),
    )
