"""Runs what a plan asks for and is not there yet: each run its own process in its own folder, several at a time.

A finished run is never run again, a killed one is continued, a crashed one is told and the others go on. Everything
that matters is in the run folders, so the runner itself can be stopped or killed at any time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from iter_lightning.studies.runs.launch import Launcher, Outcome, Task, make_launcher, worker_command
from iter_lightning.studies.runs.plan import Spec
from iter_lightning.studies.runs.survey import Run, best_of, by_reason, log_tail, survey

PENDING = ("new", "started", "trained")
Say = Callable[[str], None]
"""Where a line for people goes."""


@dataclass
class Settings:
    """How runs are made."""

    runs_dir: Path = Path("runs")
    """Holds the run folders, GROUP/PART."""
    data_dir: Path = Path("data")
    """Holds the corpora."""
    jobs: int = 1
    """Runs at a time."""
    launcher: str = "local"
    """local or ray."""
    wandb_mode: str = "auto"
    """As `fit` has it."""
    say: Say = field(default=partial(print, flush=True), repr=False)
    """Where progress is told."""


def make_runs(specs: Sequence[Spec], settings: Settings, dry_run: bool = False) -> list[Run]:
    """Make what is missing.

    Args:
        specs: what is wanted.
        settings: folders, launcher, where to print.
        dry_run: say what would be done, and do nothing.

    Returns:
        The runs that others start from, then those of `specs` in their order.

    Raises:
        KeyboardInterrupt: after all processes have been ended.
    """
    starts = list({start.name: start for spec in specs for start in spec.init_from}.values())
    begun: list[Run] = []
    if starts:
        settings.say("runs that others start from:")
        begun = make_runs(starts, settings, dry_run)
    runs = _survey(specs, settings, dry_run)
    settings.say(describe(runs))
    todo = list({run.spec.name: run for run in runs if run.state in PENDING}.values())  # rows may share a run
    if todo and not dry_run:
        _launch(todo, settings)
        runs = _survey(specs, settings, dry_run)
    return [*begun, *runs]


def _survey(specs: Sequence[Spec], settings: Settings, dry_run: bool) -> list[Run]:
    """The states of runs; one that starts from another is blocked where that is not there."""
    runs = survey(specs, settings.runs_dir, settings.data_dir)
    return runs if dry_run else [_with_start(run, settings) for run in runs]


def _with_start(run: Run, settings: Settings) -> Run:
    if run.state != "new" or not run.spec.init_from:
        return run
    starts = survey(run.spec.init_from, settings.runs_dir, settings.data_dir)
    if best_of(starts) is not None:
        return run
    reason = next((start.reason for start in starts if start.reason), "it failed")
    return replace(run, state="blocked", reason=f"starts from {starts[0].spec.name}, which is not there: {reason}")


def describe(runs: Sequence[Run]) -> str:
    """What there is, what will be run, and what cannot be, with the reason: once for all runs that share it."""
    done = [run for run in runs if run.state == "done"]
    todo = [run for run in runs if run.state in PENDING]
    blocked = len(runs) - len(done) - len(todo)
    lines = [f"{len(runs)} runs: {len(done)} finished, {len(todo)} to do, {blocked} not possible here"]
    lines += [f"  finished  {run.spec.name}{_elsewhere(run)}  {_duration(run.seconds)}" for run in done]
    words = {"new": "train    ", "started": "continue ", "trained": "test     "}
    lines += [f"  {words[run.state]} {run.spec.name}" for run in todo]
    lines += [
        f"  skipped   {line}" for line in by_reason((r.spec.name, r.reason) for r in runs if r.state == "blocked")
    ]
    return "\n".join(lines)


def _launch(todo: Sequence[Run], settings: Settings) -> None:
    waiting, started = deque(todo), time.monotonic()
    launcher = make_launcher(settings.launcher, settings.jobs)
    running: dict[str, Run] = {}
    done = 0
    try:
        while waiting or running:
            while waiting and len(running) < launcher.slots:
                run = waiting.popleft()
                running[run.spec.name] = run
                _submit(run, launcher, settings)
            outcome = launcher.wait()
            done += 1
            run = running.pop(outcome.task.name)
            settings.say(_told(run, outcome, f"{done}/{len(todo)}", time.monotonic() - started))
    except BaseException:
        settings.say(f"stopping {len(running)} runs; the same command resumes them")
        launcher.stop()
        raise


def _submit(run: Run, launcher: Launcher, settings: Settings) -> None:
    spec = run.spec
    arguments = [
        *spec.arguments(), f"--experiment={spec.group}", f"--run_dir={run.folder.path}",
        f"--wandb.mode={settings.wandb_mode}", f"--wandb.job_type={'fit' if spec.fold is None else 'fold'}",
        "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    if spec.init_from:
        begun = run.folder.manifest.get("init", {}).get("from")  # a continued run stays with what it started from
        best = best_of(survey(spec.init_from, settings.runs_dir, settings.data_dir))
        arguments.append(f"--model.init_from={begun or (best and best.folder.path)}")
    verbs = ("test",) if run.state == "trained" else ("fit", "test")
    log = settings.runs_dir / spec.group / f"{spec.part}.log"
    environment = {"ITER_DATA": str(settings.data_dir.absolute())}
    launcher.submit(Task(spec.name, worker_command(verbs, arguments), log, environment))
    settings.say(f"started   {spec.name} ({' and '.join(verbs)}; output in {log})")


def _told(run: Run, outcome: Outcome, place: str, elapsed: float) -> str:
    if outcome.stopped:
        return f"{place} stopped {run.spec.name} after {_duration(outcome.seconds)}; the same command resumes it"
    if outcome.status != 0:
        log = outcome.task.log
        return (
            f"{place} FAILED {run.spec.name} after {_duration(outcome.seconds)} with status {outcome.status}; "
            f"the others go on. From {log}:\n{log_tail(log)}"
        )
    took, so_far = _duration(outcome.seconds), _duration(elapsed)
    return f"{place} finished {run.spec.name} in {took}: {scores(run)} ({so_far} so far)"


def scores(run: Run) -> str:
    """The main score of dev and test, in words."""
    found: dict[str, list[dict[str, Any]]] = run.folder.read_results()
    parts = []
    for split in ("dev", "test"):
        if split in found:
            tasks = found[split][0]["scores"]
            task = "RE+" if "RE+" in tasks else "NER"
            parts.append(f"{split} {task} {100 * tasks[task]['micro']['f1']:.1f}")
    return ", ".join(parts)


def _elsewhere(run: Run) -> str:
    usual = (run.spec.group, run.spec.part)
    return "" if run.folder.path.parts[-2:] == usual else f" (in {run.folder.path})"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
