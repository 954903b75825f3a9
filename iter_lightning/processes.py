"""End commands on SIGINT or SIGTERM, and when their parent process dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Terminated(SystemExit):
    """Signal SIGTERM in the main thread. It ends the process unless it is caught."""


@dataclass
class Stop:
    """Record the signal that stopped a command, and advice for the user."""

    signal: int = 0
    """SIGINT or SIGTERM; 0 before any signal arrives."""
    advice: str = ""
    """Next step for the user, such as "the same command resumes"."""

    @property
    def status(self) -> int:
        """Return the conventional exit status for this signal: 130 or 143."""
        return 128 + self.signal

    @property
    def message(self) -> str:
        """Return one line for standard error."""
        happened = "interrupted" if self.signal == signal.SIGINT else "terminated"
        return f"{happened}; {self.advice}" if self.advice else happened


_current = Stop()


def advise(text: str) -> None:
    """Set the advice that is printed when a signal ends the command."""
    _current.advice = text


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Raise `KeyboardInterrupt` on the first SIGINT or `Terminated` on the first SIGTERM, and record the signal.

    The exception lets callers close files and remove temporary ones. Libraries may replace it by another exception, so
    callers should check the yielded `Stop`. A second signal ends the process at once, as `kill -9` does. Signals that
    the process ignored from its start stay ignored. Outside the main thread, this context manager does nothing.
    """
    global _current
    before, owner = _current, os.getpid()
    stop = _current = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked child ends, and its parent prints the message
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(128 + number)
        if stop.signal:
            os.write(2, f"{stop.message}\n".encode())
            os._exit(stop.status)
        stop.signal = number
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(stop.status)

    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    handlers = {number: found for number, found in handlers.items() if found not in (signal.SIG_IGN, None)}
    try:
        for number in handlers:
            signal.signal(number, handle)
        yield stop
    finally:
        for number, found in handlers.items():
            signal.signal(number, found)
        _current = before


def end_with(parent: int, *_: object) -> None:
    """End this process soon after its parent process dies, so that no orphan keeps running.

    Args:
        parent: Id of the process that started this one.
        _: Ignored arguments of callers, such as the worker number of a data loader.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int, seconds: float = 0.05) -> None:
    while os.getppid() == parent:
        time.sleep(seconds)
    os._exit(1)
