"""A trained model over many examples: tokenisation ahead of it, conversion of its results behind it.

Examples are taken a pool at a time, sorted by length inside it, cut into batches by number and token budget, and
given back in their order. With workers, pools are tokenised and batched in processes of their own. On a GPU a batch's
encoder is put to work before the spans of the one before are waited for; predictions are built in a thread.
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
from typing import TYPE_CHECKING

import torch

from iter_lightning.cancellation import cancellable
from iter_lightning.errors import ConfigError
from iter_lightning.features.alignment import Aligner
from iter_lightning.features.batching import Batch, collate
from iter_lightning.features.lengths import POOL, batched_windows, pools
from iter_lightning.types import Example, Prediction

if TYPE_CHECKING:
    from iter_lightning.model.decoding import SpanProposals
    from iter_lightning.model.iter import IterModel

__all__ = ["POOL", "Batcher", "stream"]
_AHEAD = 2
"""Batches whose predictions may still be under way."""


@dataclass(frozen=True)
class Batcher:
    """Examples into batches; a plain value, so that worker processes can receive it."""

    aligner: Aligner
    pad_id: int
    respect_word_boundaries: bool
    batch_size: int | None
    max_tokens: int

    @classmethod
    def of(cls, model: IterModel, batch_size: int | None, max_tokens: int | None = None) -> Batcher:
        """The model's, see `stream`.

        Raises:
            ConfigError: nothing bounds a batch, or a bound below one.
        """
        if batch_size is None and max_tokens is None:
            raise ConfigError("a batch needs a bound: batch_size, max_tokens or both")
        _at_least(1, batch_size=batch_size, max_tokens=max_tokens)
        budget = max_tokens or (batch_size or 1) * model.max_subwords
        return cls(model.aligner(), model.pad_id, model.config.respect_word_boundaries, batch_size, budget)

    def __call__(self, examples: Sequence[Example]) -> list[tuple[list[int], Batch]]:
        """Batches of similar length, the longest first, each with the places of its examples."""
        return [
            (places, collate(windows, self.pad_id, self.respect_word_boundaries))
            for places, windows in batched_windows(self.aligner, examples, self.batch_size, self.max_tokens)
        ]


def stream(
    model: IterModel, examples: Iterable[Example], batch_size: int | None = 32, *,
    link_threshold: float | None = None, max_tokens: int | None = None, workers: int = 0, pool: int = POOL,
) -> Iterator[Prediction]:  # fmt: skip
    """Predictions in the order of the examples, as they come; holds a pool of them at a time.

    Args:
        model: is switched to `eval()` and, at the end, back.
        examples: only their words (and context) matter; may be endless.
        batch_size: examples a batch, at most; None: `max_tokens` alone decides.
        link_threshold: lambda; None is the configured one.
        max_tokens: padded subwords a batch, at most; None is what `batch_size` of the longest windows would take.
        workers: processes that tokenise ahead; 0 does it in this one. They are spawned: a script that uses them
            needs `if __name__ == "__main__":`.
        pool: examples sorted together.

    Raises:
        ConfigError: nothing bounds a batch, or a bound below one.
    """
    _at_least(1, pool=pool)
    _at_least(0, workers=workers)
    return _stream(model, pools(examples, pool), Batcher.of(model, batch_size, max_tokens), link_threshold, workers)


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise ConfigError(f"{name} must be at least {least}, found {value}")


def _stream(
    model: IterModel, pools: Iterator[list[Example]], batcher: Batcher, link_threshold: float | None, workers: int
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
    model: IterModel, batches: Sequence[tuple[list[int], Batch]], link_threshold: float | None,
    converter: ThreadPoolExecutor,
) -> list[Prediction]:  # fmt: skip
    """All predictions of a pool, in its order."""
    device = next(model.parameters()).device
    held = 1 if device.type == "cuda" else 0  # proposals whose links wait until the next batch is under way
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
    """The pools as batches, made in worker processes that stay two pools ahead each."""
    if not workers:
        yield map(batcher, pools)
        return
    # spawned: a fork would copy the threads of torch in whatever state they are
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
"""A worker's own, received once."""


def _take_batcher(batcher: Batcher) -> None:
    global _batcher
    _batcher = batcher
    torch.set_num_threads(1)


def _make_batches(examples: list[Example]) -> bytes:
    """Pickled here, by value: torch's own way would keep a file open for every tensor."""
    assert _batcher is not None  # the initializer has run
    return pickle.dumps(_batcher(examples))
