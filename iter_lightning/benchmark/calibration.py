"""Untrained heads that find as much as a trained model would: their logits shifted to a corpus's density.

Random heads find nothing or everything, and what is found decides what the later heads cost. A constant added to a
head's logits moves how much is found and leaves the head's own work as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from iter_lightning.benchmark.stages import WatchedHeads
from iter_lightning.benchmark.subjects import spread_over
from iter_lightning.features.batching import Batch
from iter_lightning.model import IterModel
from iter_lightning.model.decoding import decode
from iter_lightning.model.iter import ModelHeads
from iter_lightning.model.pipeline import Batcher
from iter_lightning.types import Example, Prediction

SAMPLE = 512
"""Sentences that the shifts are read from, at most."""
TOLERANCE = 0.05
"""How far from the relations asked for is near enough."""


@dataclass(frozen=True)
class Density:
    """What is found in a sentence, on average."""

    lefts: float
    """Distinct starts."""
    spans: float
    """Distinct (start, end)."""
    relations: float

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Density:
        """Of gold annotation."""
        count = max(1, len(examples))
        return cls(
            sum(len({e.start for e in x.entities}) for x in examples) / count,
            sum(len({e.span for e in x.entities}) for x in examples) / count,
            sum(len(x.relations) for x in examples) / count,
        )

    def with_spans(self, spans: float) -> Density:
        """So many spans, each with a left of its own, relations in proportion."""
        return Density(spans, spans, self.relations * spans / self.spans if self.spans else spans / 2)

    def to_dict(self) -> dict[str, float]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass
class _Shift:
    """A forward hook that adds a constant to a head's logits."""

    value: float = 0.0

    def __call__(self, head: Any, inputs: Any, logits: Tensor) -> Tensor:
        return logits + self.value


@dataclass
class _Sample:
    """Batches with their hidden states, and what the heads say of them."""

    model: IterModel
    batches: list[tuple[Batch, Tensor]]
    seen: dict[str, list[Tensor]] = field(default_factory=dict)

    def decode(self, last: str | None = None) -> list[Prediction]:
        """Predictions under the shifts of now; `seen` then holds the logits of this pass.

        Args:
            last: a head that is asked but not believed, so that one not calibrated yet does not find everything.
        """
        self.seen = {"left": [], "span": [], "link": []}
        found: list[Prediction] = []
        for batch, hidden_SH in self.batches:
            heads = WatchedHeads(ModelHeads(self.model, batch, hidden_SH), note=self._note, last=last)
            found += decode(batch, heads, self.model.rules(), self.model.config.schema)
        return found

    def _note(self, head: str, logits: Tensor) -> None:
        self.seen[head].append((logits.amax(dim=1) if head == "span" else logits).float().flatten().cpu())

    def logits(self, head: str) -> Tensor:
        """What that head said in the last pass; of a span candidate its best type's alone."""
        return torch.cat(self.seen[head]) if self.seen[head] else torch.empty(0)


@torch.inference_mode()
def calibrate(
    model: IterModel, examples: Sequence[Example], wanted: Density, batch_size: int = 8, max_tokens: int | None = None
) -> Density:
    """Have the model find `wanted` in the examples, on average, by forward hooks on its heads.

    Args:
        model: as it will be measured (precision changes logits); hooks of an earlier call are taken off.
        examples: up to `SAMPLE` of them are read, evenly spread; gold is not.
        wanted: at least what there is room for is reached: no more lefts than words, no more spans than candidates.
        batch_size, max_tokens: of the batches, as in `IterModel.predict`.

    Returns:
        what is found in those examples now.
    """
    shifts = _hook(model)
    chosen = spread_over(list(examples), SAMPLE)
    device = next(model.parameters()).device
    batches = [batch.to(device) for _, batch in Batcher.of(model, batch_size, max_tokens)(chosen)]
    sample = _Sample(model, [(batch, model.encode(batch)) for batch in batches])
    for head, rate in (("left", wanted.lefts), ("span", wanted.spans)):
        sample.decode(head)
        shifts[head].value -= cut(sample.logits(head), round(rate * len(chosen)))
    if "link" in shifts:
        _calibrate_links(sample, shifts["link"], wanted.relations * len(chosen), model.config.link_threshold)
    found = sample.decode()
    lefts = sum(int((logits > 0).sum()) for logits in sample.seen["left"]) / len(chosen)
    return Density(
        lefts, sum(len({e.span for e in p.entities}) for p in found) / len(chosen),
        sum(len(p.relations) for p in found) / len(chosen),
    )  # fmt: skip


def _calibrate_links(sample: _Sample, shift: _Shift, wanted: float, threshold: float) -> None:
    """Symmetric relations are reported once of two logits, so that the count is corrected by what came of it."""
    threshold = min(max(threshold, 1e-6), 1 - 1e-6)
    border = math.log(threshold / (1 - threshold))
    asked = wanted
    sample.decode("link")
    for _ in range(4):
        shift.value += border - cut(sample.logits("link"), round(asked))
        reached = sum(len(p.relations) for p in sample.decode())
        if abs(reached - wanted) <= max(1.0, TOLERANCE * wanted):
            break
        asked *= wanted / max(reached, 1)


def cut(logits: Tensor, count: int) -> float:
    """A number that `count` of the logits exceed; above all of them for none, below all where there are too few."""
    if not len(logits):
        return 0.0
    if count <= 0:
        return float(logits.max()) + 1.0
    if count >= len(logits):
        return float(logits.min()) - 1.0
    upper = logits.topk(count + 1).values.double()
    return float((upper[-2] + upper[-1]) / 2)


def _hook(model: IterModel) -> dict[str, _Shift]:
    """New hooks on the heads, at zero."""
    heads = {"left": model.is_left, "span": model.is_span, "link": model.is_link}
    shifts = {}
    for name, head in heads.items():
        if head is None:
            continue
        for key, hook in list(head._forward_hooks.items()):
            if isinstance(hook, _Shift):
                del head._forward_hooks[key]
        shifts[name] = _Shift()
        head.register_forward_hook(shifts[name])
    return shifts
