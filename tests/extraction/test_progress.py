from __future__ import annotations

import logging

import pytest

from iter_lightning.extraction import progress as module
from iter_lightning.extraction.progress import Rate, show_progress
from iter_lightning.extraction.run import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_the_rate_is_of_what_this_process_extracts(clock: list[float]) -> None:
    """What an earlier one did is passed over in no time."""
    rate = Rate()
    assert rate.text(Progress(0, 0, 0, 1000)) == "0 documents"
    for done in (200, 400):
        clock[0] += 1
        assert rate.text(Progress(0, 0, done, 1000)) == "0 documents"
        assert rate.left(Progress(0, 0, done, 1000)) == ""
    clock[0] += 10
    now = Progress(1500, 2, 500, 1000)
    assert rate.text(now) == "1,500 documents, 150.0/s, 2 bad"
    assert rate.left(now) == "about 50 s left"


@pytest.mark.parametrize(("seconds", "told"), [(1, "9 s"), (60, "9 min"), (1200, "3 h"), (86_400, "9 days")])
def test_time_left_in_a_fitting_unit(clock: list[float], seconds: int, told: str) -> None:
    rate = Rate()
    rate.text(Progress())
    clock[0] += seconds
    assert rate.left(Progress(10, 0, 100, 1000)) == f"about {told} left"
    assert rate.left(Progress(10, 0, 1100, 1000)) == "about 0 s left"  # a file has grown
    assert rate.left(Progress(10, 0, 100, None)) == ""


def test_without_a_terminal_a_line_now_and_then(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iter_lightning")
    with show_progress() as tell:
        tell(Progress(0, 0, 0, 1000))
        clock[0] += 20
        tell(Progress(100, 0, 100, 1000))
        clock[0] += 20
        tell(Progress(200, 0, 200, 1000))
    assert caplog.messages == ["200 documents, 5.0/s, 20% of the input, about 3 min left"]
    caplog.set_level(logging.WARNING, "iter_lightning")
    with show_progress() as tell:
        clock[0] += 100
        tell(Progress(300, 0, 300, 1000))
    assert len(caplog.messages) == 1
