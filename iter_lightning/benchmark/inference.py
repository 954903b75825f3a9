"""Sections of the benchmark that predict: `speed`, `lengths`, `entities`, `omega`.

Ours is the time from words to `Prediction`s, tokenisation included; the floor is the bare encoder on the same
sentences (`Floor`). Passes of both alternate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache, partial
from statistics import median
from typing import Any

import torch
from torch import nn

from iter_lightning.benchmark.calibration import Density
from iter_lightning.benchmark.floor import Floor, attention_of, floor_encoder
from iter_lightning.benchmark.flops import encoder_flops, head_flops, matmul_peak
from iter_lightning.benchmark.memory import peak_of_prediction
from iter_lightning.benchmark.shapes import (
    Measurement,
    Plan,
    Setting,
    Shape,
    batchings,
    kernels_of,
    options_of,
    own_setting,
    shaped_setting,
)
from iter_lightning.benchmark.stages import HeadWork, shares
from iter_lightning.benchmark.subjects import Subject
from iter_lightning.benchmark.timing import AttentionClock, interleaved, ratio_of
from iter_lightning.model import IterModel
from iter_lightning.model import encoder as encoders
from iter_lightning.model.inference import InferenceOptions

LENGTH_PASS = 8192
"""Subwords of a pass in `lengths`; one sentence at least."""
LENGTH_BATCH = 4096
"""Padded subwords a batch in `lengths`; one sentence at least."""
OMEGA_SHAPE = Shape(subwords=128, entities=13, sentences=32)
OMEGAS = (1, 3)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def speed(subject: Subject, plan: Plan) -> Iterator[Measurement]:
    """The subject's sentences at every batch size, token budget and precision."""
    setting, floor = own_setting(subject), floor_encoder(subject.model)
    for options in plan.options:
        prepared, found = setting.prepare(options, plan.batch)
        for size, budget in batchings(plan):
            values = compare(setting, prepared, floor, (size, budget), options, plan) | density_of(setting, found)
            yield {"batch_size": size, "token_budget": budget, "workers": plan.workers, **options_of(options)}, values


def lengths(subject: Subject, plan: Plan) -> Iterator[Measurement]:
    """Sentences of one length after the other, each with as many entities as the corpus's have on average."""
    entities = Density.of(subject.examples).spans
    for length in plan.lengths:
        shape, budget = Shape(length, entities, max(1, LENGTH_PASS // length)), max(LENGTH_BATCH, length)
        for options, setting, prepared, values in _made(subject, shape, plan, budget):
            values |= _without_attention(setting, prepared, budget, values, plan)
            yield {**shape.to_dict(), "batch_size": plan.batch, "token_budget": budget, **options_of(options)}, values


def entities(subject: Subject, plan: Plan) -> Iterator[Measurement]:
    """Sentences of one length with ever more entities; the peak memory of a process of its own."""
    for count in plan.entities:
        shape = Shape(plan.subwords, count, plan.batch)
        for options, _, _, values in _made(subject, shape, plan):
            values["memory"] = peak_of_prediction(subject.spec, options, plan.batch, shape)
            values["pair_memory_mb"] = subject.model.config.pair_memory_mb
            yield {**shape.to_dict(), "batch_size": plan.batch, **options_of(options)}, values


def omega(subject: Subject, plan: Plan) -> Iterator[Measurement]:
    """Sentences of 128 subwords and 13 entities, paired with the nearest left alone or with three."""
    for width in OMEGAS:
        shape = Shape(OMEGA_SHAPE.subwords, OMEGA_SHAPE.entities, OMEGA_SHAPE.sentences, width)
        for options, _, _, values in _made(subject, shape, plan):
            yield {**shape.to_dict(), "batch_size": plan.batch, **options_of(options)}, values


def _made(
    subject: Subject, shape: Shape, plan: Plan, budget: int | None = None
) -> Iterator[tuple[InferenceOptions, Setting, IterModel, dict[str, Any]]]:
    """Made sentences of one shape under each of the plan's options, compared with the floor."""
    setting = shaped_setting(subject, shape, budget)
    floor = floor_encoder(setting.model)
    for options in plan.options:
        prepared, found = setting.prepare(options, plan.batch)
        values = compare(setting, prepared, floor, (plan.batch, budget), options, plan)
        yield options, setting, prepared, values | density_of(setting, found)


def compare(
    setting: Setting, prepared: IterModel, encoder: nn.Module, batching: tuple[int | None, int | None],
    options: InferenceOptions, plan: Plan,
) -> dict[str, Any]:  # fmt: skip
    """Seconds of each pass of ours and of the floor, their ratio, and each stage's share of ours.

    Args:
        setting: the model as loaded, and the sentences.
        prepared: the same model for inference, as `options` say.
        encoder: what the floor runs.
        batching: sentences and padded subwords a batch, at most, for both sides; None leaves one open.
        plan: passes and workers.
    """
    size, budget = batching
    examples, device = setting.examples, next(prepared.parameters()).device
    floor = Floor(setting.model, examples, size, budget, encoder)
    predict = partial(prepared.predict, examples, size or len(examples), max_tokens=budget, workers=plan.workers)
    warm_up = 2 if options.compile else 1
    seconds = interleaved({"floor": floor, "ours": predict}, plan.passes, device, warm_up)
    share, stage_seconds, work = shares(prepared, examples, size, budget, max(1, plan.passes // 2))
    return {
        "kernels": kernels_of(options, setting.model),
        "sentences": len(examples), "subwords": sum(floor.lengths), "longest": max(floor.lengths),
        "seconds": seconds, **ratio_of(seconds["ours"], seconds["floor"]), "floor_attention": attention_of(encoder),
        "shares": share, "stage_seconds": stage_seconds, "work": asdict(work),
        **flops_of(setting.model, floor.lengths, work, median(seconds["ours"]), options.precision),
    }  # fmt: skip


def density_of(setting: Setting, found: Density | None) -> dict[str, Any]:
    """What the corpus holds and what calibrated heads find in a sentence; nothing where heads are trained."""
    if setting.wanted is None or found is None:
        return {}
    return {"density": {"wanted": setting.wanted.to_dict(), "found": found.to_dict()}}


def _without_attention(
    setting: Setting, prepared: IterModel, max_tokens: int, values: dict[str, Any], plan: Plan
) -> dict[str, Any]:
    """Seconds inside attention in each of some more passes, and microseconds a subword of the rest."""
    device = next(prepared.parameters()).device
    inside: list[float] = []
    for _ in range(max(1, plan.passes // 2)):
        with AttentionClock(device) as attention:
            prepared.predict(setting.examples, plan.batch, max_tokens=max_tokens)
        if attention.seconds is None:  # eager attention (DeBERTa) or a compiled graph: cannot be told apart
            return {"attention_seconds": None, "microseconds_a_subword": None}
        inside.append(attention.seconds)
    rest = median(values["seconds"]["ours"]) - median(inside)
    return {"attention_seconds": inside, "microseconds_a_subword": 1e6 * rest / values["subwords"]}


def flops_of(
    model: IterModel, lengths: Sequence[int], work: HeadWork, seconds: float, precision: str
) -> dict[str, Any]:  # fmt: skip
    """Model FLOPs of a pass over windows of these lengths and the share of the measured matmul peak.

    Args:
        model: as loaded, not prepared.
        lengths: subwords of each window.
        work: what the heads did.
        seconds: what all of it took.
        precision: of `DTYPES`; another (int8) has no peak.
    """
    config = encoders.config_from_dict(model.config.encoder)
    device = next(model.parameters()).device
    flops = {"encoder": encoder_flops(model.encoder, config, lengths), "heads": head_flops(model, work)}
    rate = sum(flops.values()) / seconds
    peak = _peak(device, DTYPES[precision]) if precision in DTYPES else None
    return {"flops": flops, "flops_a_second": rate, "matmul_peak": peak, "peak_share": rate / peak if peak else None}


@cache
def _peak(device: torch.device, dtype: torch.dtype) -> float:
    return matmul_peak(device, dtype)
