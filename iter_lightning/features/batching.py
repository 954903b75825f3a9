"""Windows into batches of tensors, and samplers that batch windows of similar length.

B windows, N subwords, F subwords of all windows, L eligible lefts, M eligible rights, G gold lefts, S gold spans, T
typed spans, K links.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from iter_lightning.features.alignment import EncodedExample, Features
from iter_lightning.features.layout import example_of_rows, lay_out
from iter_lightning.features.lengths import length_batches, longest_first

__all__ = ["Batch", "LengthBatchSampler", "collate", "length_batches"]


@dataclass(frozen=True)
class Batch:
    """Everything the model reads; a *slot* is `row * N + position`. Long tensors unless said otherwise.

    Raises nothing: built by `collate` alone.
    """

    input_ids_BN: Tensor
    mask_BN: Tensor
    """Bool, False at padding."""
    word_BN: Tensor
    """Word of the example at each subword, -1 elsewhere; stays on the host."""
    left_slots_L: Tensor
    """Slots where a left bracket may be."""
    right_slots_M: Tensor
    """Slots where a right bracket may be."""
    filled_slots_F: Tensor
    """Slots that hold a subword, special tokens and context included."""
    gold_left_slots_G: Tensor
    gold_spans_S3: Tensor
    """(row, left, right), grouped by row."""
    gold_types_T2: Tensor
    """(row of gold_spans_S3, entity type)."""
    gold_links_K3: Tensor
    """(head row of gold_spans_S3, tail row, relation type)."""
    windows: tuple[tuple[EncodedExample, int], ...]
    """The (example, window number) each row came from; windows of one example are neighbours."""

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def lengths(self) -> list[int]:
        """Subwords of each window."""
        return [len(encoded.windows[number]) for encoded, number in self.windows]

    @property
    def examples(self) -> list[EncodedExample]:
        """The distinct examples, in the order of their first window."""
        numbers = example_of_rows(self.windows)
        return [self.windows[numbers.index(number)][0] for number in sorted(set(numbers))]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (called by a `DataLoader`)."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moves = isinstance(value, Tensor) and field.name != "word_BN"
            values[field.name] = change(value) if moves else value
        return Batch(**values)


def collate(windows: Sequence[tuple[EncodedExample, int]], pad_id: int, respect_word_boundaries: bool = True) -> Batch:
    """Pad windows to the longest and gather their gold into flat index tensors.

    Args:
        windows: (example, window number) pairs, windows of one example next to each other.
        pad_id: the token that fills.
        respect_word_boundaries: lefts only at a word's first subword, rights only at its last.
    """
    layout = lay_out(windows, pad_id, respect_word_boundaries)
    return Batch(
        **{field.name: torch.from_numpy(getattr(layout, field.name)) for field in fields(layout)},
        **_gold([encoded.windows[number] for encoded, number in windows], layout.mask_BN.shape[1]),
        windows=tuple(windows),
    )


def _gold(features: Sequence[Features], width: int) -> dict[str, Tensor]:
    lefts: list[int] = []
    spans: list[tuple[int, int, int]] = []
    types: list[tuple[int, int]] = []
    links: list[tuple[int, int, int]] = []
    for row, window in enumerate(features):
        first = len(spans)
        lefts.extend(row * width + left for left in window.lefts)
        spans.extend((row, left, right) for left, right in window.spans)
        types.extend((first + span, kind) for span, kind in window.span_types)
        links.extend((first + head, first + tail, kind) for head, tail, kind in window.links)
    return {
        "gold_left_slots_G": torch.tensor(lefts, dtype=torch.long),
        "gold_spans_S3": torch.tensor(spans, dtype=torch.long).reshape(-1, 3),
        "gold_types_T2": torch.tensor(types, dtype=torch.long).reshape(-1, 2),
        "gold_links_K3": torch.tensor(links, dtype=torch.long).reshape(-1, 3),
    }


class LengthBatchSampler(Sampler[list[int]]):
    """Batches of items of similar length, the same for a (seed, epoch) on every machine.

    Shuffled: items are permuted, cut into buckets of `bucket_batches` batches, sorted by length inside a bucket,
    cut into batches, and the batches permuted; every rank then gets the same number of them (the first ones again
    where they do not divide). Ranks wait for each other at every step, so those that they take in the same step are
    neighbours in padded subwords. Unshuffled: sorted by length, each item exactly once over all ranks.

    Args:
        lengths: subwords of each item.
        batch_size: items a batch, at most; None leaves it to `max_tokens`.
        max_tokens: padded subwords a batch, at most; None leaves it open.
        shuffle: a new order each epoch (`set_epoch`).
        seed: of the order.
        bucket_batches: batches a bucket when shuffled; with 1 a batch's items are drawn at random.
        rank, world_size: this process's share under DDP.

    Raises:
        ValueError: nothing bounds a batch.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int | None, *, max_tokens: int | None = None, shuffle: bool = False,
        seed: int = 0, bucket_batches: int = 16, rank: int = 0, world_size: int = 1,
    ) -> None:  # fmt: skip
        if batch_size is None and max_tokens is None:
            raise ValueError("a batch has no bound: give batch_size or max_tokens")
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self.shuffle = shuffle
        self.seed = seed
        self.bucket_batches = bucket_batches
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    @property
    def sampler(self) -> LengthBatchSampler:
        """Itself: Lightning looks for `set_epoch` on a batch sampler's `sampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def _all_batches(self) -> list[list[int]]:
        if not self.shuffle:
            return longest_first(self.lengths, self.batch_size, self.max_tokens)
        order = list(range(len(self.lengths)))
        rng = random.Random(f"{self.seed}/{self.epoch}")
        rng.shuffle(order)
        batches = self._bucketed(order)
        rng.shuffle(batches)
        missing = -len(batches) % self.world_size
        batches += [batches[i % len(batches)] for i in range(missing)]
        return batches if self.world_size == 1 else self._equal_steps(batches, rng)

    def _bucketed(self, order: list[int]) -> list[list[int]]:
        """Batches of `order`, sorted by length inside buckets."""
        if self.batch_size is None:
            return length_batches(self.lengths, self._winding(order), None, self.max_tokens)
        step = self.batch_size * self.bucket_batches
        buckets = (order[start : start + step] for start in range(0, len(order), step))
        return [
            batch
            for bucket in buckets
            for batch in length_batches(
                self.lengths, sorted(bucket, key=lambda item: -self.lengths[item]), self.batch_size, self.max_tokens
            )
        ]

    def _winding(self, order: list[int]) -> list[int]:
        """Buckets sorted downwards and upwards in turn, so that a budget is filled across their borders, too."""
        if self.bucket_batches == 1:
            return order
        step = max(1, self.bucket_batches * (self.max_tokens or 1) * len(order) // max(1, sum(self.lengths)))
        buckets = [order[start : start + step] for start in range(0, len(order), step)]
        return [
            item
            for number, bucket in enumerate(buckets)
            for item in sorted(bucket, key=lambda item: self.lengths[item], reverse=number % 2 == 0)
        ]

    def _equal_steps(self, batches: list[list[int]], rng: random.Random) -> list[list[int]]:
        """The batches so that `world_size` neighbours, a step, have similar padded subwords; the steps permuted."""
        batches = sorted(batches, key=lambda batch: -len(batch) * max(self.lengths[item] for item in batch))
        steps = [batches[i : i + self.world_size] for i in range(0, len(batches), self.world_size)]
        rng.shuffle(steps)
        return [batch for step in steps for batch in step]

    def __iter__(self) -> Iterator[list[int]]:
        # a generator: a loader's iterator may be made before `set_epoch`, as Lightning does when it resumes
        yield from self._all_batches()[self.rank :: self.world_size]

    def __len__(self) -> int:
        return len(range(self.rank, len(self._all_batches()), self.world_size))
