"""One thread a process: tiny tensors gain nothing from more."""

from __future__ import annotations

import logging

import pytest
import torch


@pytest.fixture
def settings_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of `builders` have the configuration that their spec states, without the defaults of `fit`."""
    from iter_lightning.studies.runs import survey as runs

    monkeypatch.setattr(runs, "resolved", lambda spec: {**spec.settings, "experiment": spec.group})


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    logging.raiseExceptions = False  # Lightning's handler keeps the stream of the test that imported it first
