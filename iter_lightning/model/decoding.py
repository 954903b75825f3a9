"""Decoding of a batch: from logits to predictions, vectorized, with two synchronizations with the device per batch.

L eligible lefts, C span candidates, T entity types, E found spans, P pairs of found spans, R relation types.
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
from iter_lightning.model.config import IterConfig, TypeDecision
from iter_lightning.model.conversion import Spans
from iter_lightning.types import NO_LIMITS, Prediction, WindowLimits

_LEAST = float(np.finfo(np.float32).tiny)
"""Score of a decided type whose probability underflows; 0 means that the type was not decided."""


class Heads(Protocol):
    """The three decisions on one batch, of a model or, in tests, of an oracle."""

    def left_logits(self) -> Tensor:
        """Return [L], one logit for each eligible left of the batch."""

    def span_logits(self, candidates: SpanCandidates) -> Tensor:
        """Return [C, T], one logit per type for each candidate."""

    def link_logits(self, left_slots_E: Tensor, right_slots_E: Tensor, head_P: Tensor, tail_P: Tensor) -> Tensor:
        """Return [P, R] for pairs of spans, given by their first and last slots; [P, 2R] with inverse links."""


def decide_types(logits_CT: Tensor, valid_C: Tensor, type_decision: TypeDecision) -> Tensor:
    """Decide which types each candidate span has (Eq. 5).

    Args:
        logits_CT: logits of the types.
        valid_C: bool, whether the candidate has a left bracket.
        type_decision: see `IterConfig`.

    Returns:
        Bool [C, T].
    """
    positive_CT = (logits_CT > 0) & valid_C.unsqueeze(1)
    if type_decision == "all":
        return positive_CT
    if type_decision == "sum":
        positive_CT = ((logits_CT.logsumexp(dim=1) > 0) & valid_C).unsqueeze(1).expand_as(logits_CT)
    best_CT = torch.zeros_like(positive_CT).scatter_(1, logits_CT.argmax(dim=1, keepdim=True), True)
    return positive_CT & best_CT


def type_probabilities(logits_CT: Tensor) -> Tensor:
    """Return [C, T], the softmax over the types and "none" (logit 0) that Eq. 11 trains."""
    none_C1 = logits_CT.new_zeros(len(logits_CT), 1)
    return torch.cat([logits_CT, none_C1], dim=1).softmax(dim=1)[:, :-1]


def decided_scores(logits_CT: Tensor, valid_C: Tensor, left_score_C: Tensor, type_decision: TypeDecision) -> Tensor:
    """Return [C, T] in float32: positive scores of the decided types, 0 for all others.

    Args:
        logits_CT: logits of the types.
        valid_C: bool, whether the candidate has a left bracket.
        left_score_C: probability of the left bracket.
        type_decision: see `IterConfig`.
    """
    types_CT = decide_types(logits_CT, valid_C, type_decision)
    scores_CT = type_probabilities(logits_CT) * left_score_C.unsqueeze(1)
    return torch.where(types_CT, scores_CT.float().clamp(min=_LEAST), 0.0)


@dataclass(frozen=True)
class AsyncHostTensor:
    """A tensor that is being copied to the host."""

    tensor: Tensor
    copied: torch.cuda.Event | None

    @classmethod
    def start(cls, tensor: Tensor) -> AsyncHostTensor:
        """Start the copy; from a GPU into page-locked memory, without waiting for it."""
        if tensor.device.type != "cuda":
            return cls(tensor.cpu(), None)
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record(torch.cuda.current_stream(tensor.device))
        return cls(host, copied)

    def wait(self) -> np.ndarray:
        """Wait for the copy and return it."""
        if self.copied is not None:
            self.copied.synchronize()
        values: np.ndarray = self.tensor.numpy()
        return values


@dataclass(frozen=True)
class SpanProposals:
    """The decisions on the lefts and spans of a batch, possibly still being computed."""

    batch: Batch
    heads: Heads
    config: IterConfig
    link_threshold: float
    limits: WindowLimits
    table: AsyncHostTensor
    """[C, 2 + T] int32: slots of left and right bracket, and the bits of each decided type's float32 score."""

    @torch.no_grad()
    def link(self) -> DecodedBatch:
        """Wait for the spans (the first synchronization), then start to score the links between them."""
        spans = _found_spans(self.table.wait(), self.batch.input_ids_BN.shape[1])
        if self.config.flat:
            spans = spans.keep(conversion.kept_in_whole_examples(self.batch.windows, spans))
        spans, truncated_rows = conversion.most_probable(spans, self.limits.entities)
        return DecodedBatch(self, truncated_rows, spans, *_links(self.batch, self.heads, spans, self.config))


@dataclass(frozen=True)
class DecodedBatch:
    """The spans found in a batch and the probabilities of their links, which may still be being computed."""

    proposals: SpanProposals
    truncated_rows: frozenset[int]
    spans: Spans
    head_P: np.ndarray
    tail_P: np.ndarray
    links_PR: AsyncHostTensor

    def predictions(self) -> list[Prediction]:
        """Wait for the links (the second synchronization) and return one prediction per example of the batch."""
        links_PR, given = self.links_PR.wait(), self.proposals
        return conversion.predictions(
            given.batch.windows, given.batch.word_BN.numpy(), self.spans, self.head_P, self.tail_P, links_PR,
            given.config, given.link_threshold, given.limits, self.truncated_rows,
        )  # fmt: skip


def decode(batch: Batch, heads: Heads, config: IterConfig, link_threshold: float | None = None) -> list[Prediction]:
    """Return one prediction per example of the batch, with the windows of an example merged; see `propose`."""
    return propose(batch, heads, config, link_threshold).link().predictions()


def propose(
    batch: Batch, heads: Heads, config: IterConfig, link_threshold: float | None = None,
    limits: WindowLimits = NO_LIMITS,
) -> SpanProposals:  # fmt: skip
    """Decide on the lefts and spans of a batch without waiting for a GPU.

    The score of an entity is the probability of its left bracket times that of its type. The score of a relation is the
    sigmoid of its logit: with inverse links the larger of both readings, and for a symmetric type the mean over both
    directions.

    Args:
        batch: the windows of one or more examples.
        heads: the decisions on this batch.
        config: the model's configuration.
        link_threshold: lambda of Eq. 6; None is the configuration's.
        limits: maximum numbers of entities and relations of a window.

    Example:
        >>> proposals = propose(batch, heads, model.config)  # doctest: +SKIP
        >>> predictions = proposals.link().predictions()  # doctest: +SKIP
    """
    # Score the eligible lefts, and spread probabilities and decisions over all slots of the batch.
    device = batch.input_ids_BN.device
    left_logits_L = heads.left_logits()
    left_score = left_logits_L.new_zeros(batch.input_ids_BN.numel())
    left_score[batch.left_slots_L] = left_logits_L.sigmoid()
    is_left = torch.zeros(left_score.shape, dtype=torch.bool, device=device)
    is_left[batch.left_slots_L] = left_logits_L > 0

    # Pair every eligible right with its closest lefts. On a GPU all candidates are kept: counting them would wait.
    candidates = span_candidates(
        is_left.view_as(batch.input_ids_BN), batch.left_slots_L, batch.right_slots_M, config.omega,
        "paired" if device.type == "cpu" else "all",
    )  # fmt: skip

    # Decide on types and send slots and scores to the host as one table.
    span_logits_CT = heads.span_logits(candidates)
    left_slot_C = candidates.left_slot_C
    decided_CT = decided_scores(span_logits_CT, candidates.valid_C, left_score[left_slot_C], config.type_decision)
    slots_C2 = torch.stack([left_slot_C, candidates.right_slot_C], dim=1).int()
    table = AsyncHostTensor.start(torch.cat([slots_C2, decided_CT.view(torch.int32)], dim=1))
    threshold = config.link_threshold if link_threshold is None else link_threshold
    return SpanProposals(batch, heads, config, threshold, limits, table)


def _found_spans(table: np.ndarray, length: int) -> Spans:
    """Return the rows of `SpanProposals.table` that were given a type."""
    scores = np.ascontiguousarray(table[:, 2:]).view(np.float32)
    return conversion.found_spans(table[:, 0], table[:, 1], scores, length)


def _links(
    batch: Batch, heads: Heads, spans: Spans, config: IterConfig
) -> tuple[np.ndarray, np.ndarray, AsyncHostTensor]:
    """Make all ordered pairs of found spans and start to compute their relation probabilities."""
    row_E, device = torch.from_numpy(spans.row_E), batch.input_ids_BN.device
    head_P, tail_P, _ = ordered_pairs(row_E, row_E, len(batch))
    if not config.schema.relation_types or not len(head_P):
        nothing = np.empty(0, np.int64)
        return nothing, nothing, AsyncHostTensor(torch.empty(0, config.link_outputs), None)
    index = torch.cat([torch.from_numpy(spans.left_slot_E), torch.from_numpy(spans.right_slot_E), head_P, tail_P])
    if device.type == "cuda":
        index = index.pin_memory().to(device, non_blocking=True)
    links_PR = heads.link_logits(*torch.split(index, [len(row_E), len(row_E), len(head_P), len(tail_P)])).sigmoid()
    return head_P.numpy(), tail_P.numpy(), AsyncHostTensor.start(links_PR)
