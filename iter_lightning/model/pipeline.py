"""Run a trained model over many examples: tokenize ahead of the model, and convert its results behind it.

- Examples are read one pool at a time, sorted by length inside the pool, split into batches by number and token budget,
  and returned in their original order.
- With workers, separate processes tokenize and batch the pools.
- On a GPU, the encoder of a batch is started before the spans of the previous batch are waited for.
- Predictions are built in a thread.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

import torch

from iter_lightning.cancellation import cancellable
from iter_lightning.errors import ConfigError
from iter_lightning.features.alignment import Aligner
from iter_lightning.features.batching import Batch, collate
from iter_lightning.features.lengths import POOL, batched_windows, pools
from iter_lightning.model.base import IterBase
from iter_lightning.model.decoding import SpanProposals
from iter_lightning.types import Example, Prediction

__all__ = ["POOL", "Batcher", "stream"]
_AHEAD = 2
"""Batches whose predictions may be unfinished when the next batch starts."""


@dataclass(frozen=True)
class Batcher:
    """Splits examples into batches; a plain value, so that it can be sent to worker processes."""

    aligner: Aligner
    pad_id: int
    respect_word_boundaries: bool
    batch_size: int | None
    max_tokens: int

    @classmethod
    def of(cls, model: IterBase, batch_size: int | None, max_tokens: int | None = None) -> Batcher:
        """Build the batcher of a model; see `stream`.

        Raises:
            ConfigError: both bounds are missing, or one is less than 1.
        """
        if batch_size is None and max_tokens is None:
            raise ConfigError("batches need a limit: give batch_size, max_tokens or both")
        _at_least(1, batch_size=batch_size, max_tokens=max_tokens)
        budget = max_tokens or (batch_size or 1) * model.max_subwords
        return cls(model.aligner(), model.pad_id, model.config.respect_word_boundaries, batch_size, budget)

    def __call__(self, examples: Sequence[Example]) -> list[tuple[list[int], Batch]]:
        """Return batches of similar length, longest first, each with the indices of its examples."""
        return [
            (places, collate(windows, self.pad_id, self.respect_word_boundaries))
            for places, windows in batched_windows(self.aligner, examples, self.batch_size, self.max_tokens)
        ]


def stream(
    model: IterBase, examples: Iterable[Example], batch_size: int | None = 32, *,
    link_threshold: float | None = None, max_tokens: int | None = None, workers: int = 0, pool: int = POOL,
) -> Iterator[Prediction]:  # fmt: skip
    """Predict entities and relations of a stream of examples, keeping one pool of them in memory.

    Args:
        model: the model; it is in `eval()` mode until the iterator ends.
        examples: may be endless; only words and context are used.
        batch_size: most examples per batch; None if only `max_tokens` limits a batch.
        link_threshold: lambda; None is the configured one.
        max_tokens: most padded subwords per batch; None is the size of `batch_size` of the longest windows.
        workers: processes that tokenize ahead; 0 tokenizes in this process. They are spawned, so a script that uses
            them needs `if __name__ == "__main__":`.
        pool: number of examples that are sorted by length together.

    Returns:
        an iterator over predictions, in the order of the examples.

    Raises:
        ConfigError: both limits of a batch are missing, or a value is too small.
    """
    _at_least(1, pool=pool)
    _at_least(0, workers=workers)
    return _stream(model, pools(examples, pool), Batcher.of(model, batch_size, max_tokens), link_threshold, workers)


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise ConfigError(f"{name} must be at least {least}, found {value}")


def _stream(
    model: IterBase, pools: Iterator[list[Example]], batcher: Batcher, link_threshold: float | None, workers: int
) -> Iterator[Prediction]:
    training = model.training
    model.eval()
    try:
        with _batched(pools, batcher, workers) as batched, ThreadPoolExecutor(1, "predictions") as converter:
            for batches in batched:
                yield from _pool_predictions(model, batches, link_threshold, converter)
    finally:
        model.train(training)


def _pool_predictions(
    model: IterBase, batches: Sequence[tuple[list[int], Batch]], link_threshold: float | None,
    converter: ThreadPoolExecutor,
) -> list[Prediction]:  # fmt: skip
    """Predict the examples of a pool, in their order."""
    device = next(model.parameters()).device
    held = 1 if device.type == "cuda" else 0  # proposals whose links wait until the next batch has started
    proposed: deque[tuple[list[int], SpanProposals]] = deque()
    converting: deque[tuple[list[int], Future[list[Prediction]]]] = deque()
    found: dict[int, Prediction] = {}

    def finish_all_but(proposals: int, conversions: int) -> None:
        while len(proposed) > proposals:
            places, proposal = proposed.popleft()
            converting.append((places, converter.submit(proposal.link().predictions)))
        while len(converting) > conversions:
            places, future = converting.popleft()
            found.update(zip(places, future.result(), strict=True))

    for places, batch in cancellable(batches):
        pinned = batch.pin_memory() if device.type == "cuda" else batch
        proposed.append((places, model.propose(pinned.to(device, non_blocking=True), link_threshold)))
        finish_all_but(held, _AHEAD)
    finish_all_but(0, 0)
    return [found[place] for place in range(len(found))]


@contextmanager
def _batched(
    pools: Iterator[list[Example]], batcher: Batcher, workers: int
) -> Iterator[Iterator[list[tuple[list[int], Batch]]]]:
    """Provide the pools as batches; each worker process stays two pools ahead."""
    if not workers:
        yield map(batcher, pools)
        return
    # spawned, because a fork would copy torch's threads in an undefined state
    executor = ProcessPoolExecutor(workers, get_context("spawn"), _take_batcher, (batcher,))
    try:
        yield _in_order(executor, pools, 2 * workers)
    finally:
        executor.shutdown(cancel_futures=True)


def _in_order(
    executor: ProcessPoolExecutor, pools: Iterator[list[Example]], ahead: int
) -> Iterator[list[tuple[list[int], Batch]]]:
    pending = deque(executor.submit(_make_batches, pool) for pool in islice(pools, ahead))
    while pending:
        batches: list[tuple[list[int], Batch]] = pickle.loads(pending.popleft().result())
        pending.extend(executor.submit(_make_batches, pool) for pool in islice(pools, 1))
        yield batches


_batcher: Batcher | None = None
"""The batcher of a worker process, set once."""


def _take_batcher(batcher: Batcher) -> None:
    global _batcher
    _batcher = batcher
    torch.set_num_threads(1)


def _make_batches(examples: list[Example]) -> bytes:
    """Batch examples and pickle the batches by value; torch's own way would keep a file open for every tensor."""
    assert _batcher is not None  # set by the initializer
    return pickle.dumps(_batcher(examples))
