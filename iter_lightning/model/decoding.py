"""From logits to predictions, vectorised over a batch: two waits for the device, whatever the batch.

L eligible lefts, C span candidates, T entity types, E found spans, P pairs of them, R relation types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from iter_lightning.features.batching import Batch
from iter_lightning.model import conversion
from iter_lightning.model.brackets import SpanCandidates, ordered_pairs, span_candidates
from iter_lightning.model.conversion import TYPE_DECISIONS, DecodingRules, Spans, resolve_overlaps
from iter_lightning.types import NO_LIMITS, Prediction, Schema, WindowLimits

__all__ = [
    "TYPE_DECISIONS",
    "DecodingRules",
    "Found",
    "Heads",
    "Proposed",
    "decide_types",
    "decided_scores",
    "decode",
    "propose",
    "resolve_overlaps",
    "type_probabilities",
]  # fmt: skip
_LEAST = float(np.finfo(np.float32).tiny)
"""The score of what is decided and too improbable for a float: zero would mean that it is not."""


class Heads(Protocol):
    """The three decisions on one batch: the model's, or an oracle's."""

    def left_logits(self) -> Tensor:
        """[L], one for each eligible left of the batch."""

    def span_logits(self, candidates: SpanCandidates) -> Tensor:
        """[C, T]."""

    def link_logits(self, left_slots_E: Tensor, right_slots_E: Tensor, head_P: Tensor, tail_P: Tensor) -> Tensor:
        """[P, R] for pairs of spans given by their first and last slots; [P, 2R] under `rules.inverse_links`."""


def decide_types(logits_CT: Tensor, valid_C: Tensor, type_decision: str) -> Tensor:
    """Bool [C, T], the types each candidate span is given (Eq. 5)."""
    positive_CT = (logits_CT > 0) & valid_C.unsqueeze(1)
    if type_decision == "all":
        return positive_CT
    if type_decision == "sum":
        positive_CT = ((logits_CT.logsumexp(dim=1) > 0) & valid_C).unsqueeze(1).expand_as(logits_CT)
    best_CT = torch.zeros_like(positive_CT).scatter_(1, logits_CT.argmax(dim=1, keepdim=True), True)
    return positive_CT & best_CT


def type_probabilities(logits_CT: Tensor) -> Tensor:
    """[C, T], the softmax over the types and "none" that Eq. 11 trains."""
    none_C1 = logits_CT.new_zeros(len(logits_CT), 1)
    return torch.cat([logits_CT, none_C1], dim=1).softmax(dim=1)[:, :-1]


def decided_scores(logits_CT: Tensor, valid_C: Tensor, left_score_C: Tensor, type_decision: str) -> Tensor:
    """[C, T] in float32: the scores of decided types, above zero, and zero for all others."""
    types_CT = decide_types(logits_CT, valid_C, type_decision)
    scores_CT = type_probabilities(logits_CT) * left_score_C.unsqueeze(1)
    return torch.where(types_CT, scores_CT.float().clamp(min=_LEAST), 0.0)


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
    limits: WindowLimits
    table: _OnItsWay
    """[C, 2 + T] int32: slots of left and right, and the bits of each decided type's score."""

    @torch.no_grad()
    def linked(self) -> Found:
        """The first wait for the device, for how many spans there are; then their links are put to work."""
        spans = _found_spans(self.table.arrived(), self.batch.input_ids_BN.shape[1])
        if self.rules.flat:
            spans = spans.keep(conversion.kept_in_whole_examples(self.batch.windows, spans))
        spans, truncated_rows = conversion.most_probable(spans, self.limits.entities)
        return Found(
            self, truncated_rows, spans, *_links(self.batch, self.heads, spans, len(self.schema.relation_types))
        )


@dataclass(frozen=True)
class Found:
    """The spans found in a batch, with the probabilities of their links, perhaps still being computed."""

    proposed: Proposed
    truncated_rows: frozenset[int]
    spans: Spans
    head_P: np.ndarray
    tail_P: np.ndarray
    links_PR: _OnItsWay

    def predictions(self) -> list[Prediction]:
        """One for each example of the batch: the second wait for the device, then work of the host alone."""
        links_PR, of = self.links_PR.arrived(), self.proposed
        return conversion.predictions(
            of.batch.windows, of.batch.word_BN.numpy(), self.spans, self.head_P, self.tail_P, links_PR, of.rules,
            of.schema, of.limits, self.truncated_rows,
        )  # fmt: skip


def decode(batch: Batch, heads: Heads, rules: DecodingRules, schema: Schema) -> list[Prediction]:
    """One prediction for each example of the batch, its windows merged; see `propose`."""
    return propose(batch, heads, rules, schema).linked().predictions()


def propose(
    batch: Batch, heads: Heads, rules: DecodingRules, schema: Schema, limits: WindowLimits = NO_LIMITS
) -> Proposed:
    """Decide on lefts and spans without waiting for a GPU.

    The score of an entity is the probability of its left bracket times that of its type; the score of a
    relation is the sigmoid of its logit, with inverse links the larger of both readings, and for a symmetric type
    the mean over both directions.
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
    left_slot_C = candidates.left_slot_C
    decided_CT = decided_scores(span_logits_CT, candidates.valid_C, left_score[left_slot_C], rules.type_decision)
    slots_C2 = torch.stack([left_slot_C, candidates.right_slot_C], dim=1).int()
    table = _OnItsWay.of(torch.cat([slots_C2, decided_CT.view(torch.int32)], 1))
    return Proposed(batch, heads, rules, schema, limits, table)


def _found_spans(table: np.ndarray, length: int) -> Spans:
    """The rows of `Proposed.table` in which a type was decided."""
    scores = np.ascontiguousarray(table[:, 2:]).view(np.float32)
    return conversion.found_spans(table[:, 0], table[:, 1], scores, length)


def _links(batch: Batch, heads: Heads, spans: Spans, relation_types: int) -> tuple[np.ndarray, np.ndarray, _OnItsWay]:
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
