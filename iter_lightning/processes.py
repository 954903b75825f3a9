"""How commands end: when they are asked to by a signal, and when the process that started them is gone."""

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
    """Raised in the main thread when SIGTERM arrives; ends the process where nothing catches it."""


@dataclass
class Stop:
    """Whether a command was asked to stop, and what its user can do afterwards."""

    signal: int = 0
    """SIGINT or SIGTERM; 0 while there was none."""
    advice: str = ""
    """How to go on, such as "the same command resumes"."""

    @property
    def status(self) -> int:
        """The exit status that shells give a command ended by this signal: 130 or 143."""
        return 128 + self.signal

    @property
    def message(self) -> str:
        """One line for standard error."""
        happened = "interrupted" if self.signal == signal.SIGINT else "terminated"
        return f"{happened}; {self.advice}" if self.advice else happened


_current = Stop()


def advise(text: str) -> None:
    """Set what is printed if a signal ends the command from now on: how its user goes on."""
    _current.advice = text


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Raise `KeyboardInterrupt` at SIGINT and `Terminated` at SIGTERM, once, and note which it was.

    What is raised lets files be closed and temporary ones be removed on the way out; libraries may replace it by
    another exception, so callers look at the yielded `Stop`. A second signal ends the process at once, as `kill -9`
    would, for which everything on the disk is prepared. A signal that this process was started to ignore stays
    ignored. In threads other than the main one nothing is changed.
    """
    global _current
    before, owner = _current, os.getpid()
    stop = _current = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked child: it ends, and its parent tells
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
    """End this process soon after it gets another parent than `parent`, so that nothing runs on unseen after a kill.

    Args:
        parent: id of the process that started this one.
        _: what a caller adds, such as a data loader the number of its worker.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int, seconds: float = 0.05) -> None:
    while os.getppid() == parent:
        time.sleep(seconds)
    os._exit(1)
