"""Signals: status, message, a second one, and processes that end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from iter_lightning import cli
from iter_lightning.processes import Stop, Terminated, advise, stoppable


@pytest.mark.parametrize(("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"),
                                                        (signal.SIGTERM, 143, "terminated")])  # fmt: skip
@pytest.mark.parametrize("replaced", [None, SystemExit(1), SystemExit(None), RuntimeError("a worker is gone")])
def test_main_after_a_signal_returns_its_status_whatever_a_library_raises(
    number: int, status: int, word: str, replaced: BaseException | None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def verb(_: list[str]) -> None:
        try:
            os.kill(os.getpid(), number)
        except BaseException:
            if replaced is None:
                raise
            raise replaced from None

    monkeypatch.setitem(cli.VERBS, "fit", verb)
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    try:
        assert cli.main(["fit"]) == status
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert capsys.readouterr().err == f"{word}; the same command resumes\n"
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_message_without_advice_has_only_what_happened() -> None:
    assert Stop(signal.SIGINT).message == "interrupted"
    assert Stop(signal.SIGTERM, "start again").message == "terminated; start again"


def test_a_second_signal_ends_the_process_at_once() -> None:
    code = (
        "import os, signal, sys, time\n"
        "from iter_lightning.processes import advise, stoppable\n"
        "with stoppable():\n"
        "    advise('the same command resumes')\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (143, "terminated; the same command resumes\n")


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable() as stop:
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_signals_alone() -> None:
    found: list[int] = []

    def work() -> None:
        with stoppable() as stop:
            advise("nothing")
            found.append(stop.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [0]


def test_terminated_passes_handlers_of_exceptions() -> None:
    assert not issubclass(Terminated, Exception)
