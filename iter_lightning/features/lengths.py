"""Group items of different lengths into batches of limited size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from iter_lightning.features.alignment import Aligner, EncodedExample
from iter_lightning.types import Example

POOL = 2048
"""Number of examples that are encoded, sorted, and batched together when predictions are streamed."""
Windows = list[tuple[EncodedExample, int]]
"""Pairs of an example and a window number. Windows of one example are adjacent."""


def length_batches(
    lengths: Sequence[int], order: Sequence[int], size: int | None, max_tokens: int | None
) -> list[list[int]]:
    """Cut `order` into batches of at most `size` items and `max_tokens` padded subwords; None means no limit.

    An item longer than `max_tokens` becomes a batch of its own.
    """
    batches: list[list[int]] = []
    current: list[int] = []
    longest = 0
    for item in order:
        grown = max(longest, lengths[item])
        full = (size is not None and len(current) >= size) or (
            max_tokens is not None and grown * (len(current) + 1) > max_tokens
        )
        if current and full:
            batches.append(current)
            current, grown = [], lengths[item]
        current.append(item)
        longest = grown
    if current:
        batches.append(current)
    return batches


def longest_first(lengths: Sequence[int], size: int | None, max_tokens: int | None) -> list[list[int]]:
    """Group all items into batches of similar length, the longest first; see `length_batches`."""
    order = sorted(range(len(lengths)), key=lambda item: -lengths[item])
    return length_batches(lengths, order, size, max_tokens)


def portions(sizes: Sequence[int], limit: int) -> list[slice]:
    """Cut items into consecutive slices of total size up to `limit`. A larger item becomes a slice of its own."""
    parts: list[slice] = []
    start = taken = 0
    for place, size in enumerate(sizes):
        if taken + size > limit and place > start:
            parts.append(slice(start, place))
            start, taken = place, 0
        taken += size
    return [*parts, slice(start, len(sizes))]


def whole_rows(counts: Iterable[int], limit: int) -> Iterator[tuple[slice, slice]]:
    """Yield slices of the items of consecutive rows, and slices of the ordered pairs inside these rows.

    Args:
        counts: Number of items of each row.
        limit: Largest number of items in a slice. Items of one row stay together.
    """
    filled = [count for count in counts if count]
    first = paired = 0
    for rows in portions(filled, limit) if filled else ():
        items, pairs = sum(filled[rows]), sum(count * count for count in filled[rows])
        yield slice(first, first + items), slice(paired, paired + pairs)
        first, paired = first + items, paired + pairs


def pools(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
    """Yield lists of up to `size` consecutive examples."""
    iterator = iter(examples)
    while pool := list(islice(iterator, size)):
        yield pool


def batched_windows(
    aligner: Aligner, examples: Sequence[Example], size: int | None, max_tokens: int | None
) -> Iterator[tuple[list[int], Windows]]:
    """Encode examples without their gold, and yield batches of similar length, the longest first.

    Yields:
        The positions of the examples of a batch, and all windows of these examples.
    """
    encoded = aligner.encode([replace(example, entities=(), relations=()) for example in examples])
    lengths = [sum(map(len, e.windows)) for e in encoded]
    for places in longest_first(lengths, size, max_tokens):
        yield places, [(encoded[place], number) for place in places for number in range(len(encoded[place].windows))]
