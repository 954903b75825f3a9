"""The fixture `campaign`, and the counts that are printed at the end of `make test-reliability`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.reliability.campaign import COUNTS, TOTAL, Campaign


@pytest.fixture
def campaign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Campaign:
    """The campaign, with this test's scratch folder."""
    return Campaign(tmp_path, capsys)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's counts to the main process."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["reliability"] = dict(TOTAL)


class _CountsOfWorkers:
    """Adds up the counts of pytest-xdist's workers."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        TOTAL.update(getattr(node, "workeroutput", {}).get("reliability", {}))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if any(TOTAL.values()):
            terminalreporter.section("reliability campaign")
            for name in COUNTS:
                terminalreporter.write_line(f"{name:<22} {TOTAL[name]:>7,}")


def pytest_configure(config: pytest.Config) -> None:
    """Register the hooks of the main process."""
    config.pluginmanager.register(_CountsOfWorkers(), "reliability-counts")
