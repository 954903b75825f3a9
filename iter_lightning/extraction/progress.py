"""Show the progress of an extraction: a bar in a terminal, or a line in the log every 30 seconds."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from iter_lightning.extraction.run import Progress

_logger = logging.getLogger(__name__)
SECONDS = 30.0
"""Seconds between two lines if the output is not a terminal."""
_UNITS = ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"))


@contextmanager
def show_progress() -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows documents, documents per second, share of the input, and the remaining time.

    It shows nothing if messages of the level INFO are not logged.
    """
    console = Console(file=sys.stderr)
    if console.is_terminal and _logger.isEnabledFor(logging.INFO):
        yield from _bar(console)
    else:
        yield _lines()


def _bar(console: Console) -> Iterator[Callable[[Progress], None]]:
    left = TextColumn("{task.fields[left]}")
    with Bar(TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn(), left, console=console) as bar:
        task = bar.add_task("extracting", total=None, left="")
        rate = Rate()
        yield lambda progress: bar.update(
            task, description=rate.text(progress), completed=progress.done, total=progress.total,
            left=rate.left(progress),
        )  # fmt: skip


def _lines() -> Callable[[Progress], None]:
    rate, last = Rate(), time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        text = rate.text(progress)  # on every call, because it records the start of the work
        if time.monotonic() - last < SECONDS:
            return
        last = time.monotonic()
        share = f", {progress.done / progress.total:.0%} of the input" if progress.total else ""
        left = rate.left(progress)
        _logger.info("%s%s%s", text, share, left and f", {left}")

    return show


class Rate:
    """Compute documents per second since the first document of this process, and the remaining time."""

    def __init__(self) -> None:
        self._first: tuple[float, int, int] | None = None
        """Start time of the work, and the numbers of documents and bytes that were done before."""

    def text(self, progress: Progress) -> str:
        """Return a text such as `1,024 documents, 85/s, 2 bad`."""
        if self._first is None or not progress.documents:  # parts of an earlier process are skipped quickly
            self._first = (time.monotonic(), progress.documents, progress.done)
        began, documents, _ = self._first
        seconds = time.monotonic() - began
        speed = f", {(progress.documents - documents) / seconds:,.1f}/s" if progress.documents > documents else ""
        return f"{progress.documents:,} documents{speed}" + (f", {progress.bad:,} bad" if progress.bad else "")

    def left(self, progress: Progress) -> str:
        """Return a text such as `about 12 min left`, or an empty string if the remaining time is unknown."""
        if self._first is None or not progress.total or progress.done <= self._first[2]:
            return ""
        share = max(progress.total - progress.done, 0) / (
            progress.done - self._first[2]
        )  # files may have grown since the start
        seconds = share * (time.monotonic() - self._first[0])
        size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), _UNITS[-1])
        return f"about {seconds / size:.0f} {unit} left"
