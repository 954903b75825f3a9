"""Cooperative cancellation: long computations stop between two portions of their work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


class Cancelled(Exception):  # noqa: N818 - it reports no error
    """Raised inside a computation whose result is no longer wanted."""


_cancelled: ContextVar[Callable[[], bool]] = ContextVar("cancelled", default=lambda: False)


@contextmanager
def cancel_when(cancelled: Callable[[], bool]) -> Iterator[None]:
    """Stop the computations of this thread inside the block as soon as `cancelled()` is true.

    Args:
        cancelled: Called before each portion of work.

    Raises:
        Cancelled: The computation was stopped.

    Example:
        >>> with cancel_when(lambda: False):
        ...     list(cancellable([1, 2]))
        [1, 2]
    """
    token = _cancelled.set(cancelled)
    try:
        yield
    finally:
        _cancelled.reset(token)


def cancellable(portions: Iterable[T]) -> Iterator[T]:
    """Yield portions of work, and raise `Cancelled` before the next one if the computation was cancelled."""
    for portion in portions:
        if _cancelled.get()():
            raise Cancelled
        yield portion
