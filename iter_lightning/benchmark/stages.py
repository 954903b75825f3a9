"""One pass taken apart: batches made, encoded, each head, decoded; the time of each stage and what the heads did.

L eligible lefts, C span candidates, T entity types, E found spans, P pairs of them, R relation types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor

from iter_lightning.benchmark.timing import Clock
from iter_lightning.model import IterModel
from iter_lightning.model.brackets import SpanCandidates
from iter_lightning.model.decoding import decode
from iter_lightning.model.iter import ModelHeads
from iter_lightning.model.pipeline import Batcher
from iter_lightning.types import Example, Prediction

STAGES = ("tokenise + collate", "encoder", "left", "span", "link", "decode")


@dataclass(frozen=True)
class HeadWork:
    """How much a pass gives the heads to do, summed over its batches."""

    lefts: int = 0
    """Rows IsLeft decides on."""
    left_operands: int = 0
    """Lefts IsSpan projects."""
    right_operands: int = 0
    """Rights IsSpan projects."""
    candidates: int = 0
    spans: int = 0
    """Found ones, which IsLink projects."""
    pairs: int = 0

    def __add__(self, other: HeadWork) -> HeadWork:
        return HeadWork(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        """In the order of the fields."""
        return (self.lefts, self.left_operands, self.right_operands, self.candidates, self.spans, self.pairs)


@dataclass
class WatchedHeads:
    """The model's heads on one batch, their time and work noted; see `decoding.Heads`."""

    heads: ModelHeads
    clock: Clock = field(default_factory=Clock)
    work: HeadWork = HeadWork()
    note: Callable[[str, Tensor], None] | None = None
    """Is handed each head's logits: of lefts, of valid candidates, of pairs."""
    last: str | None = None
    """A head that is asked but not believed: it finds nothing, and later ones are not asked."""

    def left_logits(self) -> Tensor:
        """[L]."""
        with self.clock("left"):
            logits_L = self.heads.left_logits()
        self.work += HeadWork(lefts=len(logits_L))
        return self._said("left", logits_L)

    def span_logits(self, candidates: SpanCandidates) -> Tensor:
        """[C, T]."""
        with self.clock("span"):
            logits_CT = self.heads.span_logits(candidates)
        self.work += HeadWork(
            left_operands=len(candidates.left_slots_L), right_operands=len(candidates.right_slots_M),
            candidates=len(logits_CT),
        )  # fmt: skip
        return self._said("span", logits_CT, candidates.valid_C)

    def link_logits(self, left_slots_E: Tensor, right_slots_E: Tensor, head_P: Tensor, tail_P: Tensor) -> Tensor:
        """[P, R]."""
        with self.clock("link"):
            logits_PR = self.heads.link_logits(left_slots_E, right_slots_E, head_P, tail_P)
        self.work += HeadWork(spans=len(left_slots_E), pairs=len(head_P))
        return self._said("link", logits_PR)

    def _said(self, head: str, logits: Tensor, valid: Tensor | None = None) -> Tensor:
        if self.note is not None:
            self.note(head, logits if valid is None else logits[valid])
        return torch.full_like(logits, -1e4) if head == self.last else logits


@torch.no_grad()  # as `predict`: a compiled encoder has a graph for each mode
def watched_pass(
    model: IterModel, examples: Sequence[Example], batch_size: int | None, max_tokens: int | None = None
) -> tuple[dict[str, float], HeadWork, list[Prediction]]:
    """Seconds of each of `STAGES` in one pass, one stage after the other, what the heads did, and the predictions.

    The predictions are in the order of the batches.
    """
    device = next(model.parameters()).device
    clock, work, found = Clock(device), HeadWork(), []
    with clock(STAGES[0]):
        batches = Batcher.of(model, batch_size, max_tokens)(examples)
    for _, made in batches:
        batch = made.to(device)
        with clock("encoder"):
            hidden_SH = model.encode(batch)
        heads = WatchedHeads(ModelHeads(model, batch, hidden_SH), clock)
        with clock("all heads"):
            found += decode(batch, heads, model.rules(), model.config.schema)
        work += heads.work
    seconds = {stage: clock.seconds.get(stage, 0.0) for stage in STAGES}
    seconds["decode"] = clock.seconds["all heads"] - sum(seconds[head] for head in ("left", "span", "link"))
    return seconds, work, found


def shares(
    model: IterModel, examples: Sequence[Example], batch_size: int | None, max_tokens: int | None, passes: int
) -> tuple[dict[str, float], dict[str, float], HeadWork]:
    """Each stage's share of the pass (they sum to 1) and its median seconds over `passes`; what the heads did."""
    taken = [watched_pass(model, examples, batch_size, max_tokens) for _ in range(passes)]
    seconds = {stage: median(found[0][stage] for found in taken) for stage in STAGES}
    total = sum(seconds.values())
    return {stage: value / total for stage, value in seconds.items()}, seconds, taken[0][1]
