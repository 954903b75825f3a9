"""Sweeps without training: killed and continued, raised, crashed, reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import yaml

from iter_lightning.errors import ConfigError
from iter_lightning.studies.runs.launch import Outcome
from iter_lightning.studies.sweeps.config import SweepConfig
from iter_lightning.studies.sweeps.journal import Journal
from iter_lightning.studies.sweeps.report import best_of
from iter_lightning.studies.sweeps.search import Facade, Proposal
from iter_lightning.studies.sweeps.sweep import Sweep
from iter_lightning.training.extends import lookup, merged
from tests.studies.builders import heard
from tests.studies.sweeps.fakes import (
    BATCH,
    CRASHES,
    EXPERIMENT,
    RATE,
    SPACE,
    FakeLauncher,
    Killed,
    asked,
    run_sweep,
    sweep_config,
)


def test_sweep_killed_again_and_again_continues_from_its_journal(undisturbed: tuple[SweepConfig, Path]) -> None:
    """Killed after 0, 2 and 6 trials, with a line cut in the middle; its budget is raised at the end."""
    config, folder = undisturbed
    shorter, tried = sweep_config(folder, config.facade, trials=7), []
    for more in (0, 2, 4):
        run_sweep(shorter, folder / "killed", FakeLauncher(crashes=CRASHES, kill_after=more))
        assert asked(folder / "killed")[: len(tried)] == tried  # a trial that was killed is repeated, not replaced
        tried = asked(folder / "killed")
        with (folder / "killed" / "trials.jsonl").open("ab") as file:
            file.write(b'{"event": "told", "number": 4, "sta')
    assert Journal(folder / "killed" / "trials.jsonl").trials[6].status == "running"
    run_sweep(shorter, folder / "killed", FakeLauncher(crashes=CRASHES))
    assert len(asked(folder / "killed")) == 7
    run_sweep(config, folder / "killed", FakeLauncher(crashes=CRASHES))
    keys = [proposal.key for proposal in asked(folder / "killed")]
    assert keys[:4] == [proposal.key for proposal in asked(folder / "whole")][:4]  # the initial design
    assert len(keys) == len(set(keys)) == 8
    assert "running" not in {trial.status for trial in Journal(folder / "killed" / "trials.jsonl").trials}


def test_a_finished_sweep_is_not_run_again(undisturbed: tuple[SweepConfig, Path]) -> None:
    config, folder = undisturbed
    launcher = FakeLauncher()
    before = (folder / "whole" / "trials.jsonl").read_bytes()
    assert run_sweep(config, folder / "whole", launcher) == []
    assert (folder / "whole" / "trials.jsonl").read_bytes() == before
    assert launcher.started == []


def test_the_first_trial_is_the_experiment_as_it_is(undisturbed: tuple[SweepConfig, Path]) -> None:
    config, folder = undisturbed
    first, second = asked(folder / "whole")[:2]
    assert first == Proposal({}, config.full_budget)
    assert set(second.values) == set(config.dimensions)
    ours = merged(folder / "whole" / "trials" / "0001.yaml")
    assert {key: ours[key] for key in ("data", "model")} == {key: EXPERIMENT[key] for key in ("data", "model")}
    assert ours["trainer"]["max_epochs"] == (9 if config.facade == "hpo" else 3)


def test_budgets_of_hyperband(undisturbed: tuple[SweepConfig, Path]) -> None:
    config, folder = undisturbed
    tried = asked(folder / "whole")
    if config.facade == "hpo":
        assert {proposal.budget for proposal in tried} == {None}
        assert len({proposal.key for proposal in tried}) == len(tried)
    else:
        assert [proposal.budget for proposal in tried] == [3.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 1.0]
        trials = Journal(folder / "whole" / "trials.jsonl").trials
        best = max((t for t in trials[1:4]), key=lambda t: t.f1 or 0)
        assert trials[4].proposal.values == best.proposal.values  # promoted


def test_a_crash_costs_1_and_tells_its_log(undisturbed: tuple[SweepConfig, Path]) -> None:
    _, folder = undisturbed
    told = [json.loads(line) for line in (folder / "whole" / "trials.jsonl").read_text().splitlines()]
    crashed = [line for line in told if line.get("status") == "crashed"]
    assert [(line["number"], line["cost"], line["dev_f1"]) for line in crashed] == [(4, 1.0, None)]
    assert "error: out of memory" in crashed[0]["reason"]
    assert [t.status for t in Journal(folder / "whole" / "trials.jsonl").trials].count("finished") == 7


def test_only_the_best_trial_keeps_its_model(undisturbed: tuple[SweepConfig, Path]) -> None:
    config, folder = undisturbed
    best = best_of(Journal(folder / "whole" / "trials.jsonl").trials, config)
    assert best is not None
    assert [path.parent.name for path in sorted((folder / "whole" / "trials").glob("*/model"))] == [
        f"{best.number:04d}"
    ]
    assert len(list((folder / "whole" / "trials").glob("*/manifest.json"))) == 7


def test_the_incumbent_is_an_experiment(undisturbed: tuple[SweepConfig, Path]) -> None:
    config, folder = undisturbed
    text = (folder / "whole" / "incumbent.yaml").read_text()
    assert text.startswith(f"# python -m iter_lightning fit --config {folder / 'whole' / 'incumbent.yaml'}\n# Trial ")
    best = best_of(Journal(folder / "whole" / "trials.jsonl").trials, config)
    assert best is not None
    found = merged(folder / "whole" / "incumbent.yaml")
    assert {name: lookup(found, name) for name in config.dimensions} == best.proposal.values
    assert found["experiment"] == "fake-incumbent"
    assert found["trainer"] == EXPERIMENT["trainer"]  # its own epochs
    assert found["data"]["class_path"] == "CoNLL04"
    assert set(yaml.safe_load(text)) == {"extends", "experiment", "data", "model"}


@pytest.mark.parametrize("facade", get_args(Facade))
def test_trials_at_a_time(facade: str, tmp_path: Path) -> None:
    """What ran when the sweep was killed runs again, in its own folder; nothing else does."""
    config = sweep_config(tmp_path, facade, trials=6)
    run_sweep(config, tmp_path / "sweep", FakeLauncher(slots=2, kill_after=3))
    assert [t.number for t in Journal(tmp_path / "sweep" / "trials.jsonl").trials if t.status == "running"] == [4, 5]
    launcher = FakeLauncher(slots=2)
    run_sweep(config, tmp_path / "sweep", launcher)
    assert launcher.started == ["trial 4", "trial 5", "trial 6"]
    trials = Journal(tmp_path / "sweep" / "trials.jsonl").trials
    assert [trial.status for trial in trials] == ["finished"] * 6
    assert len({trial.proposal.key for trial in trials}) == 6


def test_stopped_trials_are_ended(tmp_path: Path) -> None:
    launcher = FakeLauncher(kill_after=0)
    with heard() as said, pytest.raises(Killed):
        Sweep(sweep_config(tmp_path), tmp_path / "sweep", launcher).run()
    assert launcher.stopped
    assert said[-1] == "stopping 1 trials; the same command resumes the sweep"


@pytest.mark.parametrize("status", [143, -2])
def test_a_trial_that_a_signal_stopped_is_resumed_and_no_crash(status: int, tmp_path: Path) -> None:
    class OneStop(FakeLauncher):
        def wait(self) -> Outcome:
            outcome = super().wait()
            self.crashes = () if outcome.stopped else self.crashes
            return outcome

    launcher = OneStop(crashes=(2,), status=status)
    sweep = Sweep(sweep_config(tmp_path, trials=3), tmp_path / "sweep", launcher)
    sweep.run()
    assert launcher.started.count("trial 2") == 2
    assert {trial.status for trial in sweep.journal.trials} == {"finished"}


def test_a_damaged_line_is_told(undisturbed: tuple[SweepConfig, Path]) -> None:
    config, folder = undisturbed
    lines = (folder / "whole" / "trials.jsonl").read_text().splitlines()
    (folder / "damaged").mkdir()
    (folder / "damaged" / "trials.jsonl").write_text("\n".join([*lines[:3], lines[3][:20], *lines[4:]]) + "\n")
    with pytest.raises(ConfigError, match=r"trials.jsonl: line 4 is damaged .*; move the folder away"):
        Sweep(config, folder / "damaged", FakeLauncher())


def test_a_space_that_is_exhausted_ends_the_sweep(tmp_path: Path) -> None:
    config = sweep_config(tmp_path, trials=9, space={**SPACE, RATE: None, BATCH: [8, 16], "model.activation": None})
    said = run_sweep(config, tmp_path / "sweep")
    assert said[-1] == "the space has nothing new after 2 trials"  # one of its two is the unchanged experiment


def test_an_experiment_that_cannot_be_trained_ends_the_sweep(tmp_path: Path) -> None:
    config = sweep_config(tmp_path, trials=3)
    with pytest.raises(ConfigError, match=r"trial 1\) cannot be trained; from .*0001.log:\n.*\n.*error: out of memory"):
        run_sweep(config, tmp_path / "sweep", FakeLauncher(crashes=(1,), status=2))
    launcher = FakeLauncher()
    run_sweep(config, tmp_path / "sweep", launcher)
    assert launcher.started == ["trial 1", "trial 2", "trial 3"]


def test_a_crashed_experiment_is_no_baseline(tmp_path: Path) -> None:
    run_sweep(sweep_config(tmp_path, trials=3), tmp_path / "sweep", FakeLauncher(crashes=(1, 2)))
    found = json.loads((tmp_path / "sweep" / "report.json").read_text())
    assert found["beats_default"] is None
    assert found["verdict"].startswith("Trial 3 is the best, with ")
    assert found["verdict"].endswith("unchanged experiment is unknown: trial 1 crashed.")


def test_an_experiment_outside_the_space_is_reported(tmp_path: Path) -> None:
    config = sweep_config(tmp_path, trials=2, space={**SPACE, BATCH: [16, 32]})
    run_sweep(config, tmp_path / "sweep")
    assert f"it is not reported to SMAC: {BATCH} 8." in (tmp_path / "sweep" / "report.md").read_text()


def test_another_sweep_is_refused(tmp_path: Path) -> None:
    run_sweep(sweep_config(tmp_path, trials=1), tmp_path / "sweep")
    with pytest.raises(ConfigError, match=r"holds another sweep; it differs in:\n  initial: 3 there, 4 now\n.*seed"):
        Sweep(sweep_config(tmp_path, initial=4, seed=7), tmp_path / "sweep", FakeLauncher())
    (tmp_path / "experiment.yaml").write_text("{}")
    changed = SweepConfig(tmp_path / "fake.yaml", tmp_path / "experiment.yaml", space=SPACE, initial=3)
    with pytest.raises(ConfigError, match=r"experiment.data.class_path: 'CoNLL04' there, None now"):
        Sweep(changed, tmp_path / "sweep", FakeLauncher())


def test_overrides_are_in_every_trial(tmp_path: Path) -> None:
    config = sweep_config(
        tmp_path, trials=1, overrides={"trainer": {"max_epochs": 5}, "data": {"init_args": {"fold": 2}}}
    )
    run_sweep(config, tmp_path / "sweep")
    for file in ("trials/0001.yaml", "incumbent.yaml"):
        found = merged(tmp_path / "sweep" / file)
        assert found["trainer"]["max_epochs"] == 5
        assert found["data"]["init_args"] == {"batch_size": 8, "fold": 2}
