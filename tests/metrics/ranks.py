"""One rank of the two-process test."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed

from iter_lightning.metrics import ExtractionMetric
from tests.metrics.cases import random_pairs

SHARES = {
    "uneven": (23, 30, False), "even": (15, 30, False), "one": (29, 30, False), "empty": (30, 30, False),
    "updated with nothing": (30, 30, True), "nothing": (0, 0, False),
}  # fmt: skip
"""Name -> where the first rank's sentences end, where the second's, and whether each also scores an empty batch."""
BATCH = 4


def run_rank(rank: int, folder: str, metric: ExtractionMetric) -> None:
    """Score each of `SHARES` and save what this rank sees; `metric` comes from the parent, in shared memory."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    pairs, seen = random_pairs(30), {}
    for name, (first, second, empty_batch) in SHARES.items():
        mine = pairs[:first] if rank == 0 else pairs[first:second]
        if empty_batch:
            metric.update([], [])
        for start in range(0, len(mine), BATCH):
            batch = mine[start : start + BATCH]
            metric.update([p for p, _ in batch], [g for _, g in batch])
        computed, report = metric.compute(), metric.report()
        seen[name] = {"computed": computed, "report": report, "own": metric.counts()}
        metric.reset()
    torch.save(seen, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()
