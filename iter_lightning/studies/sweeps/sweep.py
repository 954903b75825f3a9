"""`sweep`: search for hyperparameters; each trial is a `fit` of its own, scored on dev.

Everything is in one folder, by default `runs/sweeps/NAME`:

trials.jsonl                        the journal, from which a killed sweep is resumed
trials/0007.yaml, .log, and 0007/   a trial's experiment, output and run folder
incumbent.yaml                      the best trial as an experiment for `fit`
report.md, report.json              see `report`

Only the best trial keeps its model; with large encoders the others would fill the disk.
"""

from __future__ import annotations

import argparse
import logging
import math
import shutil
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from iter_lightning.corpora import data_folder
from iter_lightning.errors import ConfigError, IterError
from iter_lightning.io.atomic import write_atomically
from iter_lightning.io.locks import locked
from iter_lightning.studies.runs.launch import Kind, Launcher, Outcome, Task, make_launcher, worker_command
from iter_lightning.studies.runs.obstacles import obstacle_of
from iter_lightning.studies.runs.stored import log_tail
from iter_lightning.studies.sweeps.config import SweepConfig, load_sweep
from iter_lightning.studies.sweeps.journal import Journal, Trial
from iter_lightning.studies.sweeps.report import best_of, percent, report, short
from iter_lightning.studies.sweeps.search import Proposal, Search
from iter_lightning.studies.sweeps.space import Values, build_space, outside, plain
from iter_lightning.studies.tables.render import write_report
from iter_lightning.training.extends import lookup
from iter_lightning.training.run import RunFolder, differences

_LOG = logging.getLogger(__name__)
_CANNOT = 2
"""Exit status of a process after an error of its input."""
_WAIT = 60.0
"""Seconds to wait for the trial of a killed sweep to release its run folder."""


class Sweep:
    """A sweep in its folder, which `main` locks.

    Args:
        config: The sweep's definition.
        folder: Folder of the sweep; made if it is missing.
        launcher: Runs the trials.
        reports: Second folder for the report.

    Raises:
        ConfigError: The folder holds another sweep.
    """

    def __init__(
        self, config: SweepConfig, folder: Path, launcher: Launcher, reports: Path | None = None
    ) -> None:  # fmt: skip
        self.config, self.folder, self.launcher, self.reports = config, folder, launcher, reports
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder / "trials.jsonl")
        identity = config.identity()
        if not self.journal.header:
            self.journal.start({**identity, "versions": {name: version(name) for name in ("smac", "ConfigSpace")}})
        elif changed := list(differences({k: self.journal.header.get(k) for k in identity}, identity)):
            raise ConfigError(
                f"{folder} holds another sweep; it differs in:\n  " + "\n  ".join(changed[:10])
                + "\n  choose another --folder, or move that folder away"
            )  # fmt: skip
        self.search = self._restored()
        self._waiting = [trial for trial in self.journal.trials if trial.status == "running"]
        self._running: dict[str, Trial] = {}

    def run(self) -> None:
        """Run the trials that are missing.

        Raises:
            ConfigError: Trial 1, the unchanged experiment, cannot be trained.
        """
        self._write()
        try:
            while True:
                while len(self._running) < self.launcher.slots and (trial := self._next()) is not None:
                    self._start(trial)
                if not self._running:
                    break
                self._finish(self.launcher.wait())
        except BaseException:
            if self._running:
                _LOG.info(f"stopping {len(self._running)} trials; the same command resumes the sweep")
            self.launcher.stop()
            raise

    def _restored(self) -> Search:
        """Return an optimizer to which all recorded trials are reported."""
        c = self.config
        search = Search(c.dimensions, c.facade, c.seed, c.initial, c.epochs)
        for trial in self.journal.trials:
            if trial.status != "running":
                self._inform(search, trial)
            elif trial.number > 1:
                search.expect(trial.proposal)
        return search

    def _inform(self, search: Search, trial: Trial) -> None:
        """Report a result to the optimizer; that of the unchanged experiment only if the space contains its values."""
        proposal = trial.proposal
        if trial.number == 1:
            own = own_values(self.config, RunFolder(self.folder / trial.folder))
            if trial.f1 is None or outside(search.space, own):
                return
            proposal = Proposal(own, self.config.full_budget)
        search.tell(proposal, trial.cost, trial.seconds, crashed=trial.f1 is None)

    def _next(self) -> Trial | None:
        """The next trial to run: one that was stopped, else a new one; None if there are enough."""
        if self._waiting:
            return self._waiting.pop(0)
        if len(self.journal.trials) >= self.config.trials:
            return None
        first = not self.journal.trials
        proposal = Proposal({}, self.config.full_budget) if first else self.search.ask()
        if proposal is None:
            _LOG.info(f"the space has nothing new after {len(self.journal.trials)} trials")
            return None
        return self.journal.ask(proposal)

    def _start(self, trial: Trial) -> None:
        run, config = self.folder / trial.folder, self.config
        file, log = run.with_suffix(".yaml"), run.with_suffix(".log")
        more: dict[str, Any] = {"wandb": {"job_type": "trial"}}
        if trial.epochs is not None:
            more["trainer"] = {"max_epochs": trial.epochs}
        command = f"python -m iter_lightning fit --config {file} --run_dir {run}"
        write_atomically(
            file, config.experiment_yaml(file.parent, f"{config.name}-sweep", trial.proposal.values, [command], more)
        )
        if (lock := run / ".lock").exists():
            with locked(lock, ConfigError(f"another process is training in {run}; end it first"), _WAIT):
                pass
        arguments = (f"--config={file}", f"--run_dir={run}", "--trainer.enable_progress_bar=false")
        name = f"trial {trial.number}"
        self.launcher.submit(Task(name, worker_command(("fit",), arguments), log))
        self._running[name] = trial
        budget = "" if trial.epochs is None else f", {_epochs(trial.epochs)}"
        values = ", ".join(f"{short(name)} {_rounded(value)}" for name, value in trial.proposal.values.items())
        _LOG.info(f"{name} of {config.trials}{budget}: {values or 'the unchanged experiment'}")

    def _finish(self, outcome: Outcome) -> None:
        trial = self._running.pop(outcome.task.name)
        found = result_of(RunFolder(self.folder / trial.folder))
        if found is None and outcome.stopped:  # there is no result to learn from
            _LOG.info(f"{outcome.task.name} was stopped by a signal; it is resumed")
            self._waiting.append(trial)
            return
        if found is None and trial.number == 1 and outcome.status == _CANNOT:
            raise ConfigError(
                f"the unchanged experiment (trial 1) cannot be trained; from {outcome.task.log}:\n"
                f"{log_tail(outcome.task.log)}"
            )
        if found is None:
            reason = f"status {outcome.status}\n{log_tail(outcome.task.log)}"
            self.journal.tell(trial.number, None, round(outcome.seconds, 1), reason)
        else:
            self.journal.tell(trial.number, *found)
        self._inform(self.search, trial)
        self._write()
        best = best_of(self.journal.trials, self.config)
        so_far = "none yet" if best is None else f"trial {best.number}, {percent(best.f1)}"
        said = "crashed" if found is None else f"dev F1 {percent(found[0])} after {found[1]:.0f} s"
        reason = f"\n{trial.reason}" if trial.reason else ""
        _LOG.info("trial %d: %s; best so far: %s%s", trial.number, said, so_far, reason)

    def _write(self) -> None:
        """Write the incumbent and the report, and remove the models of the other trials."""
        if all(trial.status == "running" for trial in self.journal.trials):
            return
        best = best_of(self.journal.trials, self.config)
        for trial in self.journal.trials:
            if trial.status != "running" and trial is not best:
                for name in ("model", "model.old", "model.new", "checkpoints"):
                    shutil.rmtree(self.folder / trial.folder / name, ignore_errors=True)
        if best is not None:
            file = self.folder / "incumbent.yaml"
            budget = "" if best.epochs is None else f" after {_epochs(best.epochs)}; here, the experiment's epochs hold"
            comments = [
                f"python -m iter_lightning fit --config {file}",
                f"Trial {best.number} of {self.config.path}: dev F1 {percent(best.f1)}{budget}",
            ]
            write_atomically(file, self.config.experiment_yaml(
                self.folder, f"{self.config.name}-incumbent", best.proposal.values, comments
            ))  # fmt: skip
        found = report(self.config, self.journal.trials, self.folder)
        write_report(replace(found, name="report"), self.folder, (".md", ".json"))
        if self.reports is not None:
            write_report(found, self.reports, (".md", ".json"))


def result_of(run: RunFolder) -> tuple[float, float] | None:
    """Return the best dev F1 and the seconds of a finished training; None for any other."""
    try:
        manifest = run.manifest
        f1, seconds = float(manifest["best"]["dev/f1"]), float(manifest["seconds"])
    except (ConfigError, KeyError, TypeError, ValueError):
        return None
    return (f1, seconds) if manifest.get("status") == "finished" and math.isfinite(f1) else None


def own_values(config: SweepConfig, run: RunFolder) -> Values:
    """Return the values of the searched options in trial 1, the unchanged experiment."""
    resolved = run.manifest.get("config") or {}
    return {name: lookup(resolved, name) for name in config.dimensions}


def check_options(config: SweepConfig) -> None:
    """Let `fit` parse a configuration of the space, so that no trial is spent on a misspelled option.

    Raises:
        ConfigError: An option that `fit` refuses.
    """
    from iter_lightning.training.cli import build_cli

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    values = plain(build_space(config.dimensions).get_default_configuration())
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "trial.yaml"
        file.write_text(config.experiment_yaml(Path(name), "check", values, []), encoding="utf-8")
        try:
            build_cli("fit", [f"--config={file}", f"--run_dir={name}/run"])
        except IterError as error:
            raise ConfigError(f"{config.path}: `fit` does not take these options: {error}") from error


def main(arguments: list[str]) -> None:
    """Search for hyperparameters on dev, or resume a sweep that was stopped.

    Raises:
        ConfigError: The sweep or its experiment is not valid, or another process runs it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m iter_lightning sweep", description=(main.__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="a sweep's YAML")
    parser.add_argument(
        "--trials", type=int, metavar="N", help="trials in total; default: the YAML's; may be raised later"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trials at a time; default: 1")
    parser.add_argument("--launcher", choices=get_args(Kind), default="local", help="default: local processes")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="default: runs/sweeps/NAME")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="also write sweep_NAME.md and .json there")
    options = parser.parse_args(arguments)
    config = load_sweep(options.config)
    if options.trials is not None:
        config = replace(config, trials=options.trials)
    folder = options.folder or Path("runs") / "sweeps" / config.name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", ConfigError(f"another process runs the sweep in {folder}; wait for it, or end it")):
        if not (folder / "trials.jsonl").exists():
            data = Path(lookup(config.settings, "data.init_args.data_dir") or data_folder())
            if obstacle := obstacle_of(config.settings, data):
                raise ConfigError(obstacle)
            check_options(config)
        sweep = Sweep(config, folder, make_launcher(options.launcher, options.jobs), options.report)
        sweep.run()
        print(f"{report(config, sweep.journal.trials, folder).intro}\n\n{folder / 'incumbent.yaml'}")


def _epochs(number: int) -> str:
    return f"{number} epoch{'s' if number > 1 else ''}"


def _rounded(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
