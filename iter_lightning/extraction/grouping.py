"""Group items so that each group fits in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def grouped(
    items: Iterable[T], length: Callable[[T], int], characters: int, count: int | None = None
) -> Iterator[list[T]]:
    """Yield groups of items in order. A group ends at `count` items, or once it has `characters` characters."""
    group: list[T] = []
    size = 0
    for item in items:
        group.append(item)
        size += length(item)
        if len(group) == count or size >= characters:
            yield group
            group, size = [], 0
    if group:
        yield group
