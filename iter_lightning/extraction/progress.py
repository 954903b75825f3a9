"""How far an extraction is, for people: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

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

SECONDS = 30.0
"""Between two lines where there is no terminal."""
_UNITS = ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"))


@contextmanager
def show_progress(quiet: bool = False) -> Iterator[Callable[[Progress], None]]:
    """Gives what to tell of progress; shows documents, documents a second, share of the input and time left."""
    console = Console(file=sys.stderr)
    if quiet:
        yield lambda progress: None
    elif console.is_terminal:
        yield from _bar(console)
    else:
        yield _lines(console)


def _bar(console: Console) -> Iterator[Callable[[Progress], None]]:
    left = TextColumn("{task.fields[left]}")
    with Bar(TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn(), left, console=console) as bar:
        task = bar.add_task("extracting", total=None, left="")
        rate = Rate()
        yield lambda progress: bar.update(
            task, description=rate.text(progress), completed=progress.done, total=progress.total,
            left=rate.left(progress),
        )  # fmt: skip


def _lines(console: Console) -> Callable[[Progress], None]:
    rate, told = Rate(), time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal told
        text = rate.text(progress)  # each time: it keeps when work began
        if time.monotonic() - told < SECONDS:
            return
        told = time.monotonic()
        share = f", {progress.done / progress.total:.0%} of the input" if progress.total else ""
        left = rate.left(progress)
        console.print(f"{text}{share}{left and f', {left}'}", highlight=False, soft_wrap=True)

    return tell


class Rate:
    """Documents a second since the first one of this process, and the time that is left at that rate."""

    def __init__(self) -> None:
        self._first: tuple[float, int, int] | None = None
        """When work began, and the documents and bytes that were behind it then."""

    def text(self, progress: Progress) -> str:
        """`1,024 documents, 85/s, 2 bad`."""
        if self._first is None or not progress.documents:  # what an earlier process extracted is passed over quickly
            self._first = (time.monotonic(), progress.documents, progress.done)
        began, documents, _ = self._first
        seconds = time.monotonic() - began
        speed = f", {(progress.documents - documents) / seconds:,.1f}/s" if progress.documents > documents else ""
        return f"{progress.documents:,} documents{speed}" + (f", {progress.bad:,} bad" if progress.bad else "")

    def left(self, progress: Progress) -> str:
        """`about 12 min left`, where that can be told."""
        if self._first is None or not progress.total or progress.done <= self._first[2]:
            return ""
        share = max(progress.total - progress.done, 0) / (progress.done - self._first[2])  # a file may have grown
        seconds = share * (time.monotonic() - self._first[0])
        size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), _UNITS[-1])
        return f"about {seconds / size:.0f} {unit} left"
