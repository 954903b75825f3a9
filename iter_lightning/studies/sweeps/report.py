"""The report of a sweep: the best trial beside the unchanged experiment and the paper's Table 5, and all trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iter_lightning.studies.runs.stored import StoredRun, commits_of
from iter_lightning.studies.sweeps.config import SweepConfig
from iter_lightning.studies.sweeps.journal import Trial
from iter_lightning.studies.sweeps.space import build_space, outside
from iter_lightning.studies.tables.published import published
from iter_lightning.studies.tables.render import DASH, Grid, Report
from iter_lightning.training.extends import lookup
from iter_lightning.training.run import RunFolder

_TABLE_5 = {"encoder_group": "encoder", "head_group": "heads"}
"""Options of the model -> halves of the paper's table."""


def best_of(trials: Sequence[Trial], config: SweepConfig) -> Trial | None:
    """Return the incumbent: the best trial with the full budget, the first of equal ones."""
    full = [trial for trial in trials if trial.f1 is not None and trial.proposal.budget == config.full_budget]
    return max(full, key=lambda trial: trial.f1 or 0.0, default=None)


def report(config: SweepConfig, trials: Sequence[Trial], folder: Path) -> Report:
    """Report the trials so far.

    Args:
        config: The sweep.
        trials: All trials; those that still run are left out.
        folder: Folder of the sweep, with the trials' run folders.
    """
    ended = [trial for trial in trials if trial.status != "running"]
    runs = {trial.number: StoredRun(RunFolder(folder / trial.folder)) for trial in ended}
    manifests = {number: run.manifest for number, run in runs.items()}
    best, finished = best_of(ended, config), [trial for trial in ended if trial.f1 is not None]
    task = next((_task(runs[trial.number].folder) for trial in finished), "RE+ or NER")
    first = _first(ended)
    own = {name: lookup(manifests.get(1, {}).get("config") or {}, name) for name in config.dimensions}
    facts: dict[str, Any] = {
        "experiment": str(config.experiment), "facade": config.facade, "epochs": config.epochs, "task": task,
        "trials": len(ended), "crashed": len(ended) - len(finished), "seconds": round(sum(t.seconds for t in ended), 1),
        "beats_default": _beats(ended, best), "verdict": verdict(ended, best, task),
        "evaluation": next((m["evaluation"] for m in manifests.values() if m.get("evaluation")), None),
        "commits": commits_of(manifests[trial.number] for trial in finished),
        "incumbent": best and {"trial": best.number, "dev_f1": best.f1, "values": best.proposal.values},
        "default": {"dev_f1": first and first.f1, "values": own},
        "table5": published()["table5"].get(corpus_of(config)),
        "list": [
            {"trial": t.number, "status": t.status, "epochs": t.epochs, "dev_f1": t.f1, "seconds": t.seconds,
             "values": t.proposal.values, "reason": t.reason} for t in ended
        ],
    }  # fmt: skip
    command = f"python -m iter_lightning sweep --config {config.path} --trials {len(trials)}"
    return Report(
        f"sweep_{config.name}", f"Sweep {config.name}", command, facts["verdict"],
        (_hyperparameters(config, facts, best), _trials(config, ended, own)), tuple(_notes(config, facts, own)), facts,
    )  # fmt: skip


def verdict(ended: Sequence[Trial], best: Trial | None, task: str) -> str:
    """Say in words whether the search found something better than the unchanged experiment."""
    if best is None:
        return "No trial has finished with the full budget yet."
    first = _first(ended)
    if first is None or first.f1 is None:
        return (
            f"Trial {best.number} is the best, with {percent(best.f1)} dev F1 ({task}). Whether it beats the "
            f"unchanged experiment is unknown: trial 1 {'has not finished' if first is None else 'crashed'}."
        )
    if best is not first:
        return (
            f"Trial {best.number} beats the unchanged experiment: {percent(best.f1)} dev F1 ({task}) against "
            f"{percent(first.f1)}, {100 * (first.cost - best.cost):.2f} more. Each is one training, on one seed."
        )
    others = [trial for trial in ended if trial is not first and trial.f1 is not None and trial.epochs == first.epochs]
    rest = max(others, key=lambda trial: trial.f1 or 0.0, default=None)
    beside = "no other trial has finished with the full budget"
    if rest is not None:
        beside = f"the best of {len(others)} others with the full budget, trial {rest.number}, has {percent(rest.f1)}"
    return f"No trial beats the unchanged experiment ({percent(first.f1)} dev F1, {task}): {beside}."


def corpus_of(config: SweepConfig) -> str:
    """Return the corpus's key, from the name of the data module."""
    return str(lookup(config.settings, "data.class_path") or "").rpartition(".")[2].lower()


def short(name: str) -> str:
    """Shorten an option's name for tables."""
    return name.removeprefix("model.").removeprefix("data.init_args.").replace("encoder_group", "encoder").replace(
        "head_group", "heads"
    )  # fmt: skip


def percent(value: float | None) -> str:
    """Format an F1 in percent."""
    return DASH if value is None else f"{100 * value:.2f}"


def _first(ended: Sequence[Trial]) -> Trial | None:
    """Trial 1, which is the unchanged experiment."""
    return ended[0] if ended and ended[0].number == 1 else None


def _beats(ended: Sequence[Trial], best: Trial | None) -> bool | None:
    """Whether the best trial beats trial 1; None if there is nothing to compare."""
    first = _first(ended)
    return None if best is None or first is None or first.f1 is None else best is not first


def _task(run: RunFolder) -> str:
    """The task of dev F1: RE+ if there are relations."""
    scores = (run.read_results().get("dev") or [{}])[0].get("scores") or {}
    return "RE+" if "RE+" in scores else "NER" if "NER" in scores else "RE+ or NER"


def _hyperparameters(config: SweepConfig, facts: dict[str, Any], best: Trial | None) -> Grid:
    found = {**facts["default"]["values"], **(best.proposal.values if best else {})}
    rows = [
        (short(name), _published(facts["table5"], name), _cell(facts["default"]["values"][name]),
         _cell(found[name] if best else None))
        for name in config.dimensions
    ]  # fmt: skip
    rows.append(("dev F1", DASH, percent(facts["default"]["dev_f1"]), percent(best.f1 if best else None)))
    columns = (
        "",
        "paper, Table 5",
        "the unchanged experiment (trial 1)",
        f"best (trial {best.number if best else DASH})",
    )
    return Grid("Hyperparameters", columns, tuple(rows))


def _published(row: dict[str, Any] | None, name: str) -> str:
    """The paper's value of an option."""
    if row is None:
        return DASH
    *path, last = name.split(".")
    place = row.get(_TABLE_5.get(path[-1], ""), {}) if path[-1] in _TABLE_5 else row
    return _cell(place.get(last))


def _trials(config: SweepConfig, ended: Sequence[Trial], own: dict[str, Any]) -> Grid:
    names = list(config.dimensions)
    rows = [
        (str(t.number), DASH if t.epochs is None else str(t.epochs), percent(t.f1) if t.f1 is not None else t.status,
         f"{t.seconds:.0f}", *(_cell({**own, **t.proposal.values}[name]) for name in names))
        for t in ended
    ]  # fmt: skip
    return Grid("Trials", ("trial", "epochs", "dev F1", "seconds", *map(short, names)), tuple(rows))


def _notes(config: SweepConfig, facts: dict[str, Any], own: dict[str, Any]) -> list[str]:
    definition = facts["evaluation"]
    said = "" if definition is None else " (" + ", ".join(f"{k} {v}" for k, v in definition.items()) + ")"
    budget = "each trained to its end"
    if config.epochs is not None:
        budget = f"{config.epochs[0]} to {config.epochs[1]} epochs each (Hyperband)"
    notes = [
        f"{facts['trials']} trials, {facts['crashed']} crashed, {budget}; {facts['seconds']:.0f} s of training.",
        f"dev F1 is {facts['task']}, the best of a training's epochs{said}. The test split was not read for any score.",
        f"Seed of the search {config.seed}; all trainings have the experiment's seed. "
        f"Commits: {', '.join(facts['commits']) or DASH} (+: with changes).",
    ]
    if facts["table5"] is None:
        notes.append("The paper's Table 5 has no row for this corpus.")
    if facts["default"]["dev_f1"] is not None and (beyond := outside(build_space(config.dimensions), own)):
        notes.append(
            f"The unchanged experiment lies outside the space, so it is not reported to SMAC: {', '.join(beyond)}."
        )
    return notes


def _cell(value: Any) -> str:
    return DASH if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
