"""Section `host`: what the host does for a sentence besides the network, which bounds what a fast GPU can be fed."""

from __future__ import annotations

import importlib.util
import logging
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

from iter_lightning.benchmark.shapes import Measurement, Plan, own_setting
from iter_lightning.benchmark.subjects import Subject
from iter_lightning.model.inference import InferenceOptions
from iter_lightning.model.pipeline import POOL, Batcher
from iter_lightning.types import Example

BATCH = 64


def host(subject: Subject, plan: Plan) -> Iterator[Measurement]:
    """Seconds of every pass over one pool of sentences, on one thread where the work is Python's.

    Tokenising and batching (what a worker does), a pool's way between processes, building predictions, and, where Ray
    is installed, a task that does nothing and one that is sent a pool of sentences.
    """
    prepared, _ = own_setting(subject).prepare(InferenceOptions(), plan.batch)
    pool = list(islice(cycle(subject.examples), POOL))
    batcher = Batcher.of(prepared, BATCH)
    batches = batcher(pool)
    sent = pickle.dumps(batches)
    found = [prepared.propose(batch).linked() for _, batch in batches]
    work: dict[str, Callable[[], object]] = {
        "tokenise + collate": lambda: batcher(pool),
        "send": lambda: pickle.dumps(batches),
        "receive": lambda: pickle.loads(sent),
        "build predictions": lambda: [one.predictions() for one in found],
    }
    seconds = {name: _passes(run, plan.passes) for name, run in work.items()}
    yield {"pool": POOL}, {"seconds": seconds, "bytes": len(sent), **_ray(pool, plan.passes)}


def _passes(run: Callable[[], object], passes: int) -> list[float]:
    run()
    seconds = []
    for _ in range(passes):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def _ray(pool: Sequence[Example], passes: int) -> dict[str, Any]:
    """Seconds of round trips through a local Ray; empty where it is not installed."""
    if importlib.util.find_spec("ray") is None:
        return {}
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        task = ray.remote(_count)
        return {
            "ray": {
                "empty task": _passes(lambda: ray.get(task.remote(())), 20 * passes),
                "task with a pool": _passes(lambda: ray.get(task.remote(list(pool))), passes),
            }
        }
    finally:
        ray.shutdown()


def _count(examples: Sequence[Example]) -> int:
    return len(examples)
