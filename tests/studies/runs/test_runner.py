"""The runner over a launcher that only writes run folders: what is run, what is not, crashes, stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.model.encoder import weights_digest
from iter_lightning.studies.runs import obstacles, runner, survey
from iter_lightning.studies.runs.launch import Outcome, Task
from iter_lightning.studies.runs.plan import RunSpec, load_plan, select
from iter_lightning.studies.runs.runner import RunnerOptions, make_runs
from tests.studies.builders import heard, manifest_of, write_plan, write_run

pytestmark = pytest.mark.usefixtures("settings_are_whole")

COUNTS = [{"NER": (1, 0, 0), "RE": (1, 0, 1), "RE+": (0, 1, 1)}]


class FakeLauncher:
    """Runs a task by writing what a training would leave; `crash` names tasks that fail."""

    def __init__(self, jobs: int, specs: list[RunSpec], crash: set[str], act: Callable[[str], None]) -> None:
        self.slots, self.crash, self.act = jobs, crash, act
        self.specs = {spec.name: spec for spec in specs}
        self.running: list[Task] = []
        self.ran: list[tuple[str, ...]] = []
        self.most = 0
        self.stopped = False

    def submit(self, task: Task) -> None:
        assert len(self.running) < self.slots
        self.running.append(task)
        self.most = max(self.most, len(self.running))
        self.ran.append((task.name, *task.command))

    def wait(self) -> Outcome:
        task = self.running.pop(0)
        self.act(task.name)
        if task.name in self.crash:
            task.log.parent.mkdir(parents=True, exist_ok=True)
            task.log.write_text("RuntimeError: out of memory\n")
            return Outcome(task, 1, 2.0)
        spec = self.specs[task.name]
        folder = Path(next(a for a in task.command if a.startswith("--run_dir=")).partition("=")[2])
        manifest = manifest_of(spec)
        for start in (a.partition("=")[2] for a in task.command if a.startswith("--model.init_from=")):
            manifest["origin"]["init_sha256"] = weights_digest(f"{start}/model")
        write_run(folder, manifest, COUNTS)
        return Outcome(task, 0, 61.0)

    def stop(self) -> None:
        self.stopped = True
        self.running.clear()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that makes runs of a plan and returns (states, what was said, launcher)."""
    plan = load_plan(write_plan(tmp_path / "experiments", encoder=str(tmp_path)))
    monkeypatch.setattr(obstacles, "corpus_obstacle", lambda *_: "")
    monkeypatch.setattr(obstacles, "hub_reachable", lambda: False)
    obstacles.encoder_obstacle.cache_clear()

    def make(
        jobs: int = 1, crash: Any = (), act: Any = lambda _: None, dry_run: bool = False, reload: bool = False,
        **part: Any,
    ) -> Any:  # fmt: skip
        specs = select(load_plan(plan.path) if reload else plan, **part)
        starts = [start for spec in specs for start in spec.init_from]
        launcher = FakeLauncher(jobs, [*specs, *starts], set(crash), act)
        monkeypatch.setattr(runner, "make_launcher", lambda *_: launcher)
        runs = survey.Survey(tmp_path / "runs", tmp_path / "data")
        found: list[survey.Run] = []
        with heard() as said, suppress(KeyboardInterrupt):
            found = make_runs(specs, runs, RunnerOptions(jobs, dry_run=dry_run))
        return {run.spec.name: run.state for run in found}, "\n".join(said), launcher

    return make


def test_everything_missing_is_run_once(study: Any) -> None:
    states, said, launcher = study(jobs=3, encoders=["own"])
    assert states == dict.fromkeys(("mine/seed1", "mine/seed2", "folds/fold0", "folds/fold1"), "done")
    assert launcher.most == 3
    assert "4 runs: 0 finished, 4 to do, 0 not possible here" in said
    assert "4/4 finished folds/fold1 in 61 s: dev RE+ 0.0, test RE+ 0.0" in said
    by_name = {name: command for name, *command in launcher.ran}
    assert "fit,test" in by_name["mine/seed1"]
    assert "--wandb.job_type=fold" in by_name["folds/fold1"]
    assert "--wandb.job_type=fit" in by_name["mine/seed2"]
    states, said, launcher = study(encoders=["own"])
    assert launcher.ran == []
    assert "finished  mine/seed1  61 s" in said


def test_a_trained_run_is_only_tested(study: Any, tmp_path: Path) -> None:
    study(encoders=["own"], corpora=["conll04"], seeds=[1])
    (tmp_path / "runs" / "mine" / "seed1" / "results.json").unlink()
    states, said, launcher = study(encoders=["own"], corpora=["conll04"], seeds=[1])
    assert "  test      mine/seed1" in said
    assert "test" in launcher.ran[0]
    assert states == {"mine/seed1": "done"}


def test_a_crash_is_told_and_the_others_go_on(study: Any) -> None:
    states, said, _ = study(encoders=["own"], crash=["mine/seed1"])
    assert states == {"mine/seed1": "new", "mine/seed2": "done", "folds/fold0": "done", "folds/fold1": "done"}
    assert "1/4 FAILED mine/seed1 after 2 s with status 1" in said
    assert "RuntimeError: out of memory" in said
    states, _, launcher = study(encoders=["own"])
    assert [name for name, *_ in launcher.ran] == ["mine/seed1"]
    assert states["mine/seed1"] == "done"


def test_ctrl_c_ends_what_runs(study: Any) -> None:
    def interrupt(name: str) -> None:
        if name == "mine/seed2":
            raise KeyboardInterrupt

    _, said, launcher = study(encoders=["own"], act=interrupt)
    assert launcher.stopped
    assert "the same command resumes them" in said
    _, _, launcher = study(encoders=["own"])
    assert [name for name, *_ in launcher.ran] == ["mine/seed2", "folds/fold0", "folds/fold1"]


def test_what_cannot_be_run_says_why(study: Any) -> None:
    states, said, launcher = study(encoders=["other"])
    assert states == {"mine_other/seed1": "blocked", "mine_other/seed2": "blocked"}
    assert "2 runs: 0 finished, 0 to do, 2 not possible here" in said
    assert said.count("hf download other/encoder") == 1
    assert "mine_other/seed1 ... seed2" in said
    assert launcher.ran == []


def test_a_dry_run_runs_nothing(study: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states, _, launcher = study(dry_run=True)
    assert "7 runs: 0 finished, 5 to do, 2 not possible here" in capsys.readouterr().out
    assert launcher.ran == []
    assert states["mine/seed1"] == "new"
    assert not (tmp_path / "runs").exists()


def test_a_run_starts_from_the_best_of_another(study: Any, tmp_path: Path) -> None:
    states, _, launcher = study(encoders=["own+folds"])
    assert states == {"start/seed1": "done", "mine+start/seed1": "done"}
    assert [name for name, *_ in launcher.ran] == ["start/seed1", "mine+start/seed1"]
    assert f"--model.init_from={tmp_path / 'runs' / 'start' / 'seed1'}" in launcher.ran[1]
    (tmp_path / "runs" / "start" / "seed1" / "model" / "model.safetensors").write_text("trained anew")
    survey.weights_of.cache_clear()
    states, said, _ = study(encoders=["own+folds"])
    assert states["mine+start/seed1"] == "blocked"
    assert "model.init_from: other weights there" in said


def test_a_continued_run_stays_with_its_start(study: Any, tmp_path: Path) -> None:
    study(encoders=["own+folds"])
    run = tmp_path / "runs" / "mine+start" / "seed1"
    manifest = json.loads((run / "manifest.json").read_text())
    manifest.update(status="running", init={"from": "where/it/began"})
    (run / "manifest.json").write_text(json.dumps(manifest))
    _, _, launcher = study(encoders=["own+folds"], crash=["mine+start/seed1"])
    assert "--model.init_from=where/it/began" in launcher.ran[0]


def test_rows_may_share_a_run(study: Any, tmp_path: Path) -> None:
    plan = tmp_path / "experiments" / "table2.yaml"
    plan.write_text(plan.read_text() + "  - {key: twin, label: Twin, configs: {conll04: mine.yaml}, seeds: [1]}\n")
    states, _, launcher = study(jobs=3, corpora=["conll04"], encoders=["own", "twin"], reload=True)
    assert sorted(name for name, *_ in launcher.ran) == ["mine/seed1", "mine/seed2"]
    assert set(states.values()) == {"done"}


def test_without_its_start_a_run_is_not_made(study: Any) -> None:
    states, said, launcher = study(encoders=["own+folds"], crash=["start/seed1"])
    assert states == {"start/seed1": "new", "mine+start/seed1": "blocked"}
    assert "starts from start/seed1, which is missing: it failed" in said
    assert [name for name, *_ in launcher.ran] == ["start/seed1"]
