"""Collate windows into batches of tensors, and sample batches of windows with similar length.

Shape suffixes: B windows, N subwords, F subwords of all windows, L eligible left brackets, M eligible right brackets,
G gold left brackets, S gold spans, T typed spans, K links.
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
from iter_lightning.types import LabelSet

__all__ = ["Batch", "LengthBatchSampler", "collate", "length_batches"]


@dataclass(frozen=True)
class Batch:
    """Hold the input of the model for B windows of up to N subwords; see `collate`.

    All tensors have dtype long, except for `mask_BN`. A *slot* is the index `row * N + position`.

    Example:
        >>> from iter_lightning.types import Example
        >>> window = Features([101, 7, 8, 102], [-1, 0, 1, -1], first_word=0, last_word=2)
        >>> encoded = EncodedExample(Example(("Ada", "sings")), (window,), omega=1)
        >>> collate([(encoded, 0)], pad_id=0).input_ids_BN.shape
        torch.Size([1, 4])
    """

    input_ids_BN: Tensor
    """Subword ids."""
    mask_BN: Tensor
    """Boolean mask, False at padding."""
    word_BN: Tensor
    """Word of each subword, -1 at special tokens, context, and padding. This tensor always stays on the CPU."""
    left_slots_L: Tensor
    """Slots where a left bracket is allowed."""
    right_slots_M: Tensor
    """Slots where a right bracket is allowed."""
    filled_slots_F: Tensor
    """Slots of all subwords, special tokens and context included."""
    gold_left_slots_G: Tensor
    """Slots of the gold left brackets."""
    gold_spans_S3: Tensor
    """Triples (row, left, right), sorted by row."""
    gold_types_T2: Tensor
    """Pairs (index in `gold_spans_S3`, entity type)."""
    gold_links_K3: Tensor
    """Triples (head index in `gold_spans_S3`, tail index, relation type)."""
    windows: tuple[tuple[EncodedExample, int], ...]
    """The (example, window number) of each row. Windows of one example are adjacent."""
    labels: LabelSet | None = None
    """The labels that an open model is asked for."""

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def lengths(self) -> list[int]:
        """Return the number of subwords of each window."""
        return [len(encoded.windows[number]) for encoded, number in self.windows]

    @property
    def examples(self) -> list[EncodedExample]:
        """Return the distinct examples in the order of their first window."""
        numbers = example_of_rows(self.windows)
        return [self.windows[numbers.index(number)][0] for number in sorted(set(numbers))]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return a copy on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return a copy in page-locked memory (called by `DataLoader`)."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moves = isinstance(value, Tensor) and field.name != "word_BN"
            values[field.name] = change(value) if moves else value
        return Batch(**values)


def collate(windows: Sequence[tuple[EncodedExample, int]], pad_id: int, respect_word_boundaries: bool = True) -> Batch:
    """Pad windows to the longest one, and collect their gold in flat index tensors.

    Args:
        windows: Pairs of an example and the number of one of its windows. Windows of one example must be adjacent.
        pad_id: Id of the padding token.
        respect_word_boundaries: Whether left brackets are allowed only at the first subword of a word, and right
            brackets only at the last.

    Returns:
        A batch on the CPU.

    Example:
        >>> from iter_lightning.types import Example
        >>> window = Features([101, 7, 8, 102], [-1, 0, 0, -1], first_word=0, last_word=1, lefts=(1,))
        >>> encoded = EncodedExample(Example(("Acme",)), (window,), omega=1)
        >>> batch = collate([(encoded, 0)], pad_id=0)
        >>> batch.left_slots_L.tolist(), batch.right_slots_M.tolist()
        ([1], [2])
    """
    layout = lay_out(windows, pad_id, respect_word_boundaries)
    tensors: dict[str, Any] = {field.name: torch.from_numpy(getattr(layout, field.name)) for field in fields(layout)}
    tensors |= _gold([encoded.windows[number] for encoded, number in windows], layout.mask_BN.shape[1])
    return Batch(**tensors, windows=tuple(windows))


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
    """Sample batches of items with similar length, identical for the same seed and epoch on every machine.

    With `shuffle`, an epoch is built in these steps:

    1. Shuffle the items and cut them into buckets of `bucket_batches` batches.
    2. Sort each bucket by length, cut it into batches, and shuffle the batches.
    3. Repeat some batches, so that all ranks get the same number. Batches of the same step have similar padded
       sizes, because ranks wait for each other.

    Without `shuffle`, items are sorted by length, and each item occurs exactly once over all ranks.

    Args:
        lengths: Number of subwords of each item.
        batch_size: Largest number of items in a batch, or None.
        max_tokens: Largest number of padded subwords in a batch, or None.
        shuffle: Whether to use a new order in each epoch (see `set_epoch`).
        seed: Seed of the order.
        bucket_batches: Number of batches in a bucket. With 1, the items of a batch are a random sample.
        rank: Index of this process under DDP.
        world_size: Number of processes under DDP.

    Raises:
        ValueError: If neither `batch_size` nor `max_tokens` is given.

    Example:
        >>> list(LengthBatchSampler([3, 9, 4, 8], batch_size=2))
        [[1, 3], [2, 0]]
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int | None, *, max_tokens: int | None = None, shuffle: bool = False,
        seed: int = 0, bucket_batches: int = 16, rank: int = 0, world_size: int = 1,
    ) -> None:  # fmt: skip
        if batch_size is None and max_tokens is None:
            raise ValueError("expected batch_size or max_tokens, but both are None")
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
        """Return self, because Lightning calls `set_epoch` on the `sampler` of a batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each epoch."""
        self.epoch = epoch

    def _all_batches(self) -> list[list[int]]:
        if not self.shuffle:
            return longest_first(self.lengths, self.batch_size, self.max_tokens)
        # shuffle items, batch them by length, shuffle batches
        order = list(range(len(self.lengths)))
        rng = random.Random(f"{self.seed}/{self.epoch}")
        rng.shuffle(order)
        batches = self._bucketed(order)
        rng.shuffle(batches)
        # repeat the first batches until all ranks get the same number
        missing = -len(batches) % self.world_size
        batches += [batches[i % len(batches)] for i in range(missing)]
        return batches if self.world_size == 1 else self._equal_steps(batches, rng)

    def _bucketed(self, order: list[int]) -> list[list[int]]:
        """Cut `order` into batches, sorted by length inside each bucket."""
        if self.batch_size is None:
            return length_batches(self.lengths, self._alternating(order), None, self.max_tokens)
        step = self.batch_size * self.bucket_batches
        buckets = (order[start : start + step] for start in range(0, len(order), step))
        return [
            batch
            for bucket in buckets
            for batch in length_batches(
                self.lengths, sorted(bucket, key=lambda item: -self.lengths[item]), self.batch_size, self.max_tokens
            )
        ]

    def _alternating(self, order: list[int]) -> list[int]:
        """Sort buckets in descending and ascending order by turns, so that batches across buckets are full."""
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
        """Group batches of similar padded size into steps of `world_size` batches, and shuffle the steps."""
        batches = sorted(batches, key=lambda batch: -len(batch) * max(self.lengths[item] for item in batch))
        steps = [batches[i : i + self.world_size] for i in range(0, len(batches), self.world_size)]
        rng.shuffle(steps)
        return [batch for step in steps for batch in step]

    def __iter__(self) -> Iterator[list[int]]:
        # a generator, because Lightning creates the iterator before it calls `set_epoch` when it resumes
        yield from self._all_batches()[self.rank :: self.world_size]

    def __len__(self) -> int:
        return len(range(self.rank, len(self._all_batches()), self.world_size))
