"""Make the runs that a plan asks for: each in its own process and folder, several at a time.

A finished run is never run again, a killed one is continued, and a crashed one is reported while the others go on.
Everything that matters is in the run folders, so the runner itself can be stopped or killed at any time.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from iter_lightning.studies.runs.launch import Kind, Launcher, Outcome, Task, make_launcher, worker_command
from iter_lightning.studies.runs.plan import RunSpec
from iter_lightning.studies.runs.stored import log_tail
from iter_lightning.studies.runs.survey import Run, Survey, best_of, by_reason

_LOG = logging.getLogger(__name__)
PENDING = ("new", "started", "trained")


@dataclass
class RunnerOptions:
    """How runs are made."""

    jobs: int = 1
    """Runs at a time."""
    launcher: Kind = "local"
    wandb_mode: str = "auto"
    """As in `fit`."""
    dry_run: bool = False
    """Only print what would be done."""


def make_runs(specs: Sequence[RunSpec], survey: Survey, options: RunnerOptions) -> list[Run]:
    """Make the runs that are missing.

    Args:
        specs: The runs wanted.
        survey: The runs that exist; updated with every run that ends.
        options: How they are made.

    Returns:
        The runs that others start from, then those of `specs` in their order.

    Raises:
        KeyboardInterrupt: After all processes have been ended.
    """
    starts = list({start.name: start for spec in specs for start in spec.init_from}.values())
    begun: list[Run] = []
    if starts:
        _LOG.info("runs that others start from:")
        begun = make_runs(starts, survey, options)
    runs = _states(specs, survey, options)
    (print if options.dry_run else _LOG.info)(describe(runs))
    todo = list({run.spec.name: run for run in runs if run.state in PENDING}.values())  # rows may share a run
    if todo and not options.dry_run:
        _launch(todo, survey, options)
        runs = _states(specs, survey, options)
    return [*begun, *runs]


def describe(runs: Sequence[Run]) -> str:
    """Report what is finished, what will be run, and what is impossible, with each reason once."""
    done = [run for run in runs if run.state == "done"]
    todo = [run for run in runs if run.state in PENDING]
    blocked = [(run.spec.name, run.reason) for run in runs if run.state == "blocked"]
    lines = [f"{len(runs)} runs: {len(done)} finished, {len(todo)} to do, {len(blocked)} not possible here"]
    lines += [f"  finished  {run.spec.name}{_elsewhere(run)}  {_duration(run.seconds)}" for run in done]
    words = {"new": "train    ", "started": "continue ", "trained": "test     "}
    lines += [f"  {words[run.state]} {run.spec.name}" for run in todo]
    return "\n".join([*lines, *(f"  skipped   {line}" for line in by_reason(blocked))])


def scores(run: Run) -> str:
    """Format the main score of dev and test for a progress line."""
    found: dict[str, list[dict[str, Any]]] = run.folder.read_results()
    parts = []
    for split in ("dev", "test"):
        if split in found:
            tasks = found[split][0]["scores"]
            task = "RE+" if "RE+" in tasks else "NER"
            parts.append(f"{split} {task} {100 * tasks[task]['micro']['f1']:.1f}")
    return ", ".join(parts)


def _states(specs: Sequence[RunSpec], survey: Survey, options: RunnerOptions) -> list[Run]:
    """The states of runs; a new one that starts from another is blocked if that is missing."""
    runs = survey.runs(specs)
    return runs if options.dry_run else [_with_start(run, survey) for run in runs]


def _with_start(run: Run, survey: Survey) -> Run:
    starts = survey.runs(run.spec.init_from)
    if run.state != "new" or not starts or best_of(starts) is not None:
        return run
    reason = next((start.reason for start in starts if start.reason), "it failed")
    return replace(run, state="blocked", reason=f"starts from {starts[0].spec.name}, which is missing: {reason}")


def _launch(todo: Sequence[Run], survey: Survey, options: RunnerOptions) -> None:
    waiting, started = deque(todo), time.monotonic()
    launcher = make_launcher(options.launcher, options.jobs)
    running: dict[str, Run] = {}
    done = 0
    try:
        while waiting or running:
            while waiting and len(running) < launcher.slots:
                run = waiting.popleft()
                running[run.spec.name] = run
                _submit(run, launcher, survey, options)
            outcome = launcher.wait()
            done += 1
            run = running.pop(outcome.task.name)
            survey.reread(run.folder.path)
            _LOG.info(_result(run, outcome, f"{done}/{len(todo)}", time.monotonic() - started))
    except BaseException:
        _LOG.info("stopping %d runs; the same command resumes them", len(running))
        launcher.stop()
        raise


def _submit(run: Run, launcher: Launcher, survey: Survey, options: RunnerOptions) -> None:
    spec = run.spec
    arguments = [
        *spec.arguments(), f"--experiment={spec.group}", f"--run_dir={run.folder.path}",
        f"--wandb.mode={options.wandb_mode}", f"--wandb.job_type={'fit' if spec.fold is None else 'fold'}",
        "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    if spec.init_from:
        begun = run.manifest.get("init", {}).get("from")  # a continued run keeps the one it started from
        best = best_of(survey.runs(spec.init_from))
        arguments.append(f"--model.init_from={begun or (best and best.folder.path)}")
    verbs = ("test",) if run.state == "trained" else ("fit", "test")
    log = survey.runs_dir / spec.group / f"{spec.part}.log"
    environment = {"ITER_DATA": str(survey.data_dir.absolute())}
    launcher.submit(Task(spec.name, worker_command(verbs, arguments), log, environment))
    _LOG.info("started   %s (%s; output in %s)", spec.name, " and ".join(verbs), log)


def _result(run: Run, outcome: Outcome, place: str, elapsed: float) -> str:
    took = _duration(outcome.seconds)
    if outcome.stopped:
        return f"{place} stopped {run.spec.name} after {took}; the same command resumes it"
    if outcome.status != 0:
        log = outcome.task.log
        return (
            f"{place} FAILED {run.spec.name} after {took} with status {outcome.status}; "
            f"the others go on. From {log}:\n{log_tail(log)}"
        )
    return f"{place} finished {run.spec.name} in {took}: {scores(run)} ({_duration(elapsed)} so far)"


def _elsewhere(run: Run) -> str:
    usual = (run.spec.group, run.spec.part)
    return "" if run.folder.path.parts[-2:] == usual else f" (in {run.folder.path})"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
