"""Section `stream`: a long stream of sentences once it flows, tokenising processes started and pools ahead."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import cycle, islice
from statistics import median
from typing import Any

from iter_lightning.benchmark.floor import id_rows
from iter_lightning.benchmark.inference import density_of, flops_of
from iter_lightning.benchmark.shapes import Measurement, Plan, batchings, kernels_of, options_of, own_setting
from iter_lightning.benchmark.stages import watched_pass
from iter_lightning.benchmark.subjects import Subject
from iter_lightning.model import IterModel, pipeline
from iter_lightning.types import Example

POOLS_A_PASS = 4


def stream(subject: Subject, plan: Plan) -> Iterator[Measurement]:
    """The subject's sentences over and over, at every batch size, token budget and precision."""
    setting = own_setting(subject)
    examples = setting.examples
    lengths = [len(row) for row in id_rows(setting.model, examples)]
    for options in plan.options:
        prepared, found = setting.prepare(options, plan.batch)
        for size, budget in batchings(plan):
            seconds = pool_seconds(prepared, examples, size, budget, plan.workers, POOLS_A_PASS * plan.passes)
            _, work, _ = watched_pass(prepared, examples, size or len(examples), budget)
            once = median(seconds) * len(examples) / pipeline.POOL
            values: dict[str, Any] = {
                "kernels": kernels_of(options, setting.model),
                "sentences": pipeline.POOL, "subwords": round(pipeline.POOL * sum(lengths) / len(examples)),
                "seconds": {"ours": seconds}, "work": asdict(work),
                **flops_of(setting.model, lengths, work, once, options.precision), **density_of(setting, found),
            }  # fmt: skip
            yield {"batch_size": size, "token_budget": budget, "workers": plan.workers, **options_of(options)}, values


def pool_seconds(
    model: IterModel, examples: Sequence[Example], size: int | None, budget: int | None, workers: int, count: int
) -> list[float]:
    """Seconds from one pool's predictions to the next's, for `count` pools after those that were made ahead."""
    found = pipeline.stream(model, cycle(examples), size, max_tokens=budget, workers=workers, pool=pipeline.POOL)
    ends: list[float] = []
    with closing(found):  # type: ignore[type-var]  # a generator
        for _ in range(2 * workers + 1 + count):
            for _ in islice(found, pipeline.POOL):
                pass
            ends.append(time.perf_counter())
    return [after - before for before, after in zip(ends[-count - 1 :], ends[-count:], strict=False)]
