"""A sweep without training: an experiment of a few values, and a launcher whose trials are a formula."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from iter_lightning.studies.runs.launch import Outcome, Task
from iter_lightning.studies.sweeps.config import SweepConfig
from iter_lightning.studies.sweeps.search import Facade, Proposal
from iter_lightning.studies.sweeps.space import APPENDIX_D
from iter_lightning.studies.sweeps.sweep import Sweep
from iter_lightning.training.extends import lookup, merged
from iter_lightning.training.run import RunFolder
from tests.studies.builders import heard

RATE, BATCH, ACTIVATION = "model.encoder_group.learning_rate", "data.init_args.batch_size", "model.activation"
SPACE: dict[str, Any] = {name: None for name in APPENDIX_D if name not in (RATE, BATCH, ACTIVATION)}
"""Three dimensions of Appendix D are left."""
EXPERIMENT = {
    "data": {"class_path": "CoNLL04", "init_args": {"batch_size": 8}},
    "model": {"activation": "relu", "encoder_group": {"learning_rate": 1e-3}}, "trainer": {"max_epochs": 9},
}  # fmt: skip


CRASHES = (4,)
"""Trials of the fixture `undisturbed` that crash."""


class Killed(BaseException):
    """Stands for kill -9: nothing of the sweep may rely on being told."""


def formula(values: Mapping[str, Any], epochs: int) -> float:
    """F1 of a trial: best at a rate of 1e-4, better with more epochs."""
    distance = abs(math.log10(lookup(values, RATE)) + 4) + lookup(values, BATCH) / 400
    return float(0.9 - 0.3 * distance - 0.1 / epochs - 0.02 * (lookup(values, ACTIVATION) == "tanh"))


@dataclass
class FakeLauncher:
    """Ends tasks in the order in which they were started."""

    slots: int = 1
    crashes: tuple[int, ...] = ()
    """Numbers of trials that crash."""
    status: int = 1
    """Exit status of those."""
    kill_after: int | None = None
    """Trials told before the sweep is killed."""
    objective: Callable[[Mapping[str, Any], int], float] = formula
    tasks: list[Task] = field(default_factory=list)
    done: int = 0
    started: list[str] = field(default_factory=list)
    stopped: bool = False

    def submit(self, task: Task) -> None:
        assert len(self.tasks) < self.slots
        self.tasks.append(task)
        self.started.append(task.name)

    def wait(self) -> Outcome:
        if self.done == self.kill_after:
            raise Killed
        self.done += 1
        task = self.tasks.pop(0)
        named = dict(a.removeprefix("--").split("=", 1) for a in task.command if a.startswith("--"))
        run, values = RunFolder(named["run_dir"]), merged(Path(named["config"]))
        (run.path / "model").mkdir(parents=True, exist_ok=True)
        if int(run.path.name) in self.crashes:
            task.log.write_text("Traceback\nerror: out of memory\n")
            return Outcome(task, self.status, 2.0)
        assert task.command[3] == "fit"  # nothing else is run
        f1 = self.objective(values, values["trainer"]["max_epochs"])
        run.update_manifest(
            status="finished", best={"epoch": 0, "dev/f1": f1}, seconds=10.0, config=values, commit="0123456789",
            commit_clean=True, evaluation={"gold": "corpus", "split_protocol": "clean"},
        )  # fmt: skip
        scores = {task: {"micro": {}} for task in ("NER", "RE", "RE+")}
        run.add_results("dev", [{"definition": {}, "scores": scores}])
        return Outcome(task, 0, 11.0)

    def stop(self) -> None:
        self.stopped = True


def sweep_config(folder: Path, facade: Facade = "hpo", trials: int = 8, **options: Any) -> SweepConfig:
    """A sweep of `EXPERIMENT` over three dimensions."""
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    epochs = {"min_epochs": 1, "max_epochs": 3} if facade == "multifidelity" else {}
    options = {"space": SPACE, "initial": 3, **epochs, **options}
    return SweepConfig(folder / "fake.yaml", folder / "experiment.yaml", facade, trials, **options)


def run_sweep(config: SweepConfig, folder: Path, launcher: FakeLauncher | None = None) -> list[str]:
    """Run until the end or the kill; returns what was said."""
    with heard() as said, contextlib.suppress(Killed):
        Sweep(config, folder, launcher or FakeLauncher()).run()
    return said


def asked(folder: Path) -> list[Proposal]:
    """What was tried, in order."""
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    return [Proposal(line["values"], line["budget"]) for line in lines if line["event"] == "asked"]
