"""Verdict, incumbent, and the report of a sweep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iter_lightning.studies.sweeps.config import SweepConfig
from iter_lightning.studies.sweeps.journal import Journal, Trial
from iter_lightning.studies.sweeps.report import best_of, report, verdict
from iter_lightning.studies.sweeps.search import Proposal
from tests.studies.sweeps.fakes import (
    BATCH,
    sweep_config,
)


@pytest.mark.parametrize("undisturbed", ["hpo"], indirect=True)
def test_report(undisturbed: tuple[SweepConfig, Path]) -> None:
    config, folder = undisturbed
    text = (folder / "whole" / "report.md").read_text()
    found = json.loads((folder / "whole" / "report.json").read_text())
    assert (found["trials"], found["crashed"], found["beats_default"]) == (8, 1, True)
    assert found["commits"] == ["0123456"]
    assert f"Trial {found['incumbent']['trial']} beats the unchanged experiment" in text
    assert "| encoder.learning_rate | 5e-05 | 0.001 | " in text  # the paper's, the experiment's, the best
    assert "| activation | ReLU | relu | " in text
    assert "8 trials, 1 crashed" in text
    assert "dev F1 is RE+, the best of a training's epochs (gold corpus, split_protocol clean)" in text
    assert "| 4 | " in text
    written = report(config, Journal(folder / "whole" / "trials.jsonl").trials, folder / "whole")
    assert written.name == "sweep_fake"


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([0.5, 0.6, 0.55], "Trial 2 beats the unchanged experiment: 60.00 dev F1 (RE+) against 50.00, 10.00 more."),
        ([0.5, 0.4, 0.45], "No trial beats the unchanged experiment (50.00 dev F1, RE+): the best of 2 others with the "
                           "full budget, trial 3, has 45.00."),
        ([0.5, 0.5], "No trial beats the unchanged experiment"),
        ([0.5], "no other trial has finished with the full budget."),
        ([], "No trial has finished with the full budget yet."),
    ],
)  # fmt: skip
def test_verdict(scores: list[float], said: str, tmp_path: Path) -> None:
    trials = [Trial(n, Proposal({}), "finished", f1, 1.0) for n, f1 in enumerate(scores, start=1)]
    assert said in verdict(trials, best_of(trials, sweep_config(tmp_path)), "RE+")


def test_the_incumbent_has_the_full_budget(tmp_path: Path) -> None:
    config = sweep_config(tmp_path, "multifidelity")
    trials = [Trial(1, Proposal({}, 3.0), "finished", 0.3), Trial(2, Proposal({BATCH: 8}, 1.0), "finished", 0.9)]
    assert best_of(trials, config) is trials[0]
