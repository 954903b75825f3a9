"""Section `training`: an optimiser step against the bare encoder's own forward and backward, and its peak memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import nn

from iter_lightning.benchmark.floor import floor_encoder
from iter_lightning.benchmark.memory import peak, resident_peak
from iter_lightning.benchmark.shapes import Measurement, Plan
from iter_lightning.benchmark.subjects import Subject, SubjectSpec, load_examples, load_subject, variant
from iter_lightning.benchmark.timing import interleaved, ratio_of
from iter_lightning.errors import ConfigError
from iter_lightning.features.batching import Batch, LengthBatchSampler
from iter_lightning.model import IterModel
from iter_lightning.model import encoder as encoders
from iter_lightning.model.packing import can_pack
from iter_lightning.training.optim import GroupConfig, build_optimizer, parameter_groups
from iter_lightning.types import Entity, Example, Relation, Schema

BATCHES_A_PASS = 4
WARM_UP = 2
"""Batches before the first that counts."""
SHAPES = {"8 x 128": (8, 128, 40), "4 x 200": (4, 200, 100)}
"""Sentences, subwords and entities of the batches whose memory is measured."""
OMEGAS = (1, 3)
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}
"""What a step is autocast to; other precisions do not train."""


def training(subject: Subject, plan: Plan) -> Iterator[Measurement]:
    """Steps over batches of the corpus's train split, padded and, where the model can, packed; then their memory."""
    _, _, examples = load_examples(replace(subject.spec, split="train", sentences=None))
    model = variant(subject.model)
    for packing in _packings(model, plan):
        for precision in (p for p in plan.precisions if p in PRECISIONS):
            values = step_times(model, examples, plan.batch, BATCHES_A_PASS * plan.passes, packing, precision)
            yield {"what": "time", "batch_size": plan.batch, "packing": packing, "precision": precision}, values
    for name in SHAPES:
        for width in OMEGAS:
            work = {"what": "train", "subject": subject.spec.to_dict(), "shape": name, "omega": width,
                    "heap": "returned"}  # fmt: skip
            yield {"what": "memory", "shape": name, "omega": width, "precision": "fp32"}, {"memory": peak(work)}


def _packings(model: IterModel, plan: Plan) -> list[bool]:
    """Padded, and packed where the encoder's family allows it."""
    both = plan.packing is None and can_pack(encoders.config_from_dict(model.config.encoder))
    return [False, True] if both else [False]


def step_times(
    model: IterModel, examples: Sequence[Example], size: int, count: int, packing: bool, precision: str
) -> dict[str, Any]:
    """Seconds of an optimiser step and of the bare encoder's forward and backward on `count` batches, in turn.

    Raises:
        ConfigError: the split has too few batches of that size.
    """
    batches = _batches(model, examples, size, count + WARM_UP)
    floor, optimizer = floor_encoder(model).train(), optimizer_of(model)
    model.packing = packing
    device = next(model.parameters()).device
    autocast = partial(_autocast, device, PRECISIONS[precision])
    seconds: dict[str, list[float]] = {"floor": [], "ours": []}
    model.train()
    try:
        for number, batch in enumerate(batches):
            works: dict[str, Callable[[], None]] = {
                "floor": partial(bare_step, floor, batch), "ours": partial(step, model, batch, optimizer, autocast),
            }  # fmt: skip
            for name, (second,) in interleaved(works, 1, device, warm_up=0).items():
                if number >= WARM_UP:
                    seconds[name].append(second)
    finally:
        model.eval()
    subwords = median(sum(batch.lengths) for batch in batches[WARM_UP:])
    return {"seconds": seconds, **ratio_of(seconds["ours"], seconds["floor"]), "median_subwords": subwords}


def _batches(model: IterModel, examples: Sequence[Example], size: int, count: int) -> list[Batch]:
    device = next(model.parameters()).device
    encoded = model.aligner().encode(examples)
    sampler = LengthBatchSampler([len(e) for e in encoded], size, shuffle=True)
    chosen = [rows for rows in sampler if len(rows) == size][:count]
    if len(chosen) < count:
        raise ConfigError(
            f"training needs {count} batches of {size} sentences, the train split has {len(chosen)}: "
            "take fewer passes, or more sentences"
        )
    return [
        model.collate([(encoded[row], n) for row in rows for n in range(len(encoded[row].windows))]).to(device)
        for rows in chosen
    ]


def _autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def optimizer_of(model: IterModel) -> torch.optim.Optimizer:
    """Fused AdamW over encoder and heads, as training builds it."""
    heads = [head for head in (model.is_left, model.is_span, model.is_link) if head is not None]
    groups = (GroupConfig(1.5e-4, 0.1), GroupConfig(5e-4, 0.02))
    return build_optimizer(parameter_groups(model.encoder, heads, groups), 1000, fused=True)[0]


def step(
    model: IterModel, batch: Batch, optimizer: torch.optim.Optimizer,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> None:  # fmt: skip
    """Forward, backward, clipping, update."""
    with autocast():
        loss = model(batch).total
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def bare_step(encoder: nn.Module, batch: Batch) -> None:
    """The encoder's own forward and backward on the padded batch."""
    encoder(input_ids=batch.input_ids_BN, attention_mask=batch.mask_BN.long()).last_hidden_state.sum().backward()
    encoder.zero_grad(set_to_none=True)


def artificial(count: int, subwords: int, entities: int, seed: int = 0) -> list[Example]:
    """Sentences of one-subword words with so many one-word entities of types A to D, neighbours related by V to Z."""
    rng = random.Random(seed)
    examples = []
    for _ in range(count):
        starts = sorted(rng.sample(range(0, subwords - 3), entities))
        found = tuple(Entity(start, start + 1, rng.choice("ABCD")) for start in starts)
        relations = tuple(Relation(a, b, rng.choice("VWXYZ")) for a, b in pairwise(found))
        examples.append(Example(("word",) * (subwords - 2), found, relations))
    return examples


def train_twice(work: dict[str, Any]) -> float:
    """Two steps, of which the second holds the optimiser's state; returns the peak before them, in MiB."""
    subject = load_subject(SubjectSpec(**work["subject"]))
    count, subwords, entities = SHAPES[work["shape"]]
    schema = Schema(tuple("ABCD"), tuple("VWXYZ"))
    model = variant(subject.model, None, schema=schema, omega=work["omega"]).train()
    del subject
    encoded = model.aligner().encode(artificial(count, subwords, entities))
    batch = model.collate([(e, 0) for e in encoded]).to(next(model.parameters()).device)
    optimizer = optimizer_of(model)
    loaded = resident_peak()
    for _ in range(2):
        step(model, batch, optimizer)
    return loaded
