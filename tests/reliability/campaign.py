"""The reliability campaign: tries on hostile input, kills and broken machines, and their counts.

Run it with `make test-reliability`. Each try goes through `Campaign`, which checks what every refusal must look like
and adds to the counts that are printed at the end. Inputs are generated from fixed seeds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.cli import main
from iter_lightning.errors import IterError

COUNTS = ("inputs tried", "accepted", "refused in one line", "tracebacks", "code executed", "kills", "resumed bit-equal")
TOTAL: Counter[str] = Counter()
"""Counts of this process."""


@dataclass(frozen=True)
class Outcome:
    """What one command did."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def message(self) -> str:
        """The line that starts with `error: `, without the prefix, and the lines that follow it."""
        _, _, message = f"\n{self.stderr}".partition("\nerror: ")
        return message.strip()


class Campaign:
    """Runs commands and functions on hostile input and counts the outcomes.

    Args:
        folder: scratch folder of one test.
        capsys: captures what commands in this process print.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.canary = folder / "canary"
        """A payload that gets executed creates this file."""
        self._capsys = capsys

    def run(self, arguments: Sequence[str], limit_s: float = 60.0) -> Outcome:
        """Run a verb in this process.

        Raises:
            AssertionError: a traceback, code of the input that was executed, or no answer within `limit_s` seconds.
        """
        self._capsys.readouterr()
        started = time.monotonic()
        TOTAL["inputs tried"] += 1
        try:
            with _time_limit(limit_s):
                status = main(list(arguments))
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException as error:
            TOTAL["tracebacks"] += 1
            raise AssertionError(f"{' '.join(arguments)}: {type(error).__name__}: {error}") from error
        return self._checked(Outcome(status, *self._capsys.readouterr(), time.monotonic() - started), arguments)

    def process(
        self, arguments: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None,
        stdin: bytes = b"", prefix: Sequence[str] = (), limit_s: float = 120.0,
    ) -> Outcome:  # fmt: skip
        """Run a verb in a process of its own, `prefix` before it (`["sh", "-c", "ulimit -v 1; exec \\"$@\\"", "sh"]`)."""
        TOTAL["inputs tried"] += 1
        command = [*prefix, sys.executable, "-m", "iter_lightning", *arguments]
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=cwd, env={**process_environment(), **(env or {})}, input=stdin, capture_output=True,
            timeout=limit_s,
        )  # fmt: skip
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return self._checked(Outcome(done.returncode, out, err, time.monotonic() - started), arguments)

    def refused(self, arguments: Sequence[str], *expected: str, limit_s: float = 60.0) -> Outcome:
        """Run a verb in this process that must be refused with status 2 and a message that holds `expected`."""
        return self.is_refusal(self.run(arguments, limit_s), *expected)

    def is_refusal(self, outcome: Outcome, *expected: str) -> Outcome:
        """Check that a command was refused: status 2, `error: ` at the start of a line, `expected` in the message."""
        assert outcome.status == 2, f"status {outcome.status}\n{outcome.stdout[-2000:]}\n{outcome.stderr[-2000:]}"
        assert outcome.message, f"no error message\n{outcome.stderr[-2000:]}"
        for text in expected:
            assert text in outcome.message, outcome.message
        TOTAL["refused in one line"] += 1
        return outcome

    def survives(self, arguments: Sequence[str], *, limit_s: float = 60.0) -> Outcome:
        """Run a verb in this process that may accept or refuse its input, but nothing else."""
        outcome = self.run(arguments, limit_s)
        if outcome.status == 0:
            TOTAL["accepted"] += 1
            return outcome
        return self.is_refusal(outcome)

    def raises(self, function: Callable[..., Any], *arguments: Any, limit_s: float = 60.0, **options: Any) -> str:
        """Call a function that must raise an `IterError`; returns its message."""
        error = self._call(function, limit_s, *arguments, **options)
        assert error is not None, f"accepted: {arguments!r:.300}"
        return str(error)

    def tries(self, function: Callable[..., Any], *arguments: Any, limit_s: float = 60.0, **options: Any) -> str | None:
        """Call a function that may return or raise an `IterError`; returns the error's message."""
        error = self._call(function, limit_s, *arguments, **options)
        return None if error is None else str(error)

    def _call(self, function: Callable[..., Any], limit_s: float, *arguments: Any, **options: Any) -> IterError | None:
        TOTAL["inputs tried"] += 1
        try:
            with _time_limit(limit_s):
                function(*arguments, **options)
        except IterError as error:
            TOTAL["refused in one line"] += 1
            return error
        except BaseException as error:
            TOTAL["tracebacks"] += 1
            raise AssertionError(f"{type(error).__name__}: {error} on {arguments!r:.300}") from error
        finally:
            self._check_canary()
        TOTAL["accepted"] += 1
        return None

    def killed(self, count: int = 1) -> None:
        """Count kills."""
        TOTAL["kills"] += count

    def resumed(self, count: int = 1) -> None:
        """Count killed commands whose output, after they were run again, equals that of an undisturbed run."""
        TOTAL["resumed bit-equal"] += count

    def _checked(self, outcome: Outcome, arguments: Sequence[str]) -> Outcome:
        if "Traceback (most recent call last)" in outcome.stderr:
            TOTAL["tracebacks"] += 1
            raise AssertionError(f"{' '.join(arguments)}\n{outcome.stderr[-4000:]}")
        self._check_canary()
        return outcome

    def _check_canary(self) -> None:
        if self.canary.exists():
            TOTAL["code executed"] += 1
            raise AssertionError(f"code of the input was executed: {self.canary.read_text()}")


def process_environment() -> dict[str, str]:
    """The environment for commands in processes of their own: this checkout's package, one thread, no network."""
    root = str(Path(__file__).parents[2])
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return {**kept, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


class _Expired(BaseException):
    """A time limit; no `except Exception` of the code under test catches it."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `_Expired` in the main thread after so much time; other threads have no limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expired(number: int, frame: object) -> None:
        raise _Expired(f"no answer within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
