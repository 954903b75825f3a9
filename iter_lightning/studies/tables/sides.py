"""The two sides of a comparison: their runs by corpus and fold, and the checks that they can be compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from iter_lightning.errors import ConfigError
from iter_lightning.metrics.functional import EvaluationDefinition
from iter_lightning.studies.runs.counts import SentenceCounts
from iter_lightning.studies.runs.stored import load_runs
from iter_lightning.studies.tables.statistics import Counts

Folds = dict[str, list[SentenceCounts]]
"""Title of the corpus with its fold -> runs, sorted."""


def find_runs(name: str) -> list[Path]:
    """Return the run folders that an argument names: one, all below a folder, or a comma-separated list of either.

    Raises:
        ConfigError: No such folder, or no run in it.
    """
    found: list[Path] = []
    for part in [name] if Path(name).exists() else [part.strip() for part in name.split(",") if part.strip()]:
        folder = Path(part)
        if not folder.is_dir():
            raise ConfigError(f"{part} is not a folder; expected a run folder or a folder of run folders")
        runs = load_runs(folder)
        if not runs:
            raise ConfigError(f"no run in {folder}: there is no manifest.json in it or below it")
        found += [run.folder.path for run in runs]
    if not found:
        raise ConfigError(f"{name!r} names no folder; expected a run folder or a folder of run folders")
    return found


def check_apart(a: Sequence[Path], b: Sequence[Path]) -> None:
    """Refuse a run that is named twice."""
    seen: dict[Path, str] = {}
    for side, folders in (("A", a), ("B", b)):
        if not folders:
            raise ConfigError(f"{side} names no run; expected at least one run folder")
        for folder in folders:
            before = seen.get(folder.resolve())
            if before:
                place = f"twice in {side}" if before == side else "both in A and in B"
                raise ConfigError(f"the run {folder} is {place}; expected every run once, on one side")
            seen[folder.resolve()] = side


def by_corpus(runs: Sequence[SentenceCounts]) -> dict[str, Folds]:
    """Corpus -> title -> runs sorted by seed; a corpus in folds has a title for each fold."""
    found: dict[str, Folds] = {}
    for run in sorted(runs, key=lambda run: (_fold_order(run.title), run.seed or 0, str(run.folder))):
        found.setdefault(_fold_order(run.title)[0], {}).setdefault(run.title, []).append(run)
    return found


def _fold_order(title: str) -> tuple[str, int]:
    """Split a title and its fold: "ADE fold 3" -> ("ADE", 3)."""
    match = re.fullmatch(r"(.+) fold (\d+)", title)
    return (match[1], int(match[2])) if match else (title, -1)


def pooled(folds: Folds, task: str, definition: EvaluationDefinition) -> Counts:
    """Counts [R, S, 3]: the first runs of all folds form one run over all their sentences, and so on."""
    return np.concatenate([[run.of(task, definition) for run in runs] for runs in folds.values()], axis=1)


def check_same_corpora(a: dict[str, Folds], b: dict[str, Folds]) -> None:
    """Check that both sides have the same corpora and folds, and each fold of a corpus equally many runs."""
    titles = [{title for folds in side.values() for title in folds} for side in (a, b)]
    if titles[0] != titles[1]:
        only = [f"only {side} has {', '.join(sorted(more))}"
                for side, more in (("A", titles[0] - titles[1]), ("B", titles[1] - titles[0])) if more]  # fmt: skip
        raise ConfigError(f"A and B must be tested on the same corpora and folds; {'; '.join(only)}")
    for side, corpora in (("A", a), ("B", b)):
        for corpus, folds in corpora.items():
            numbers = {title: len(runs) for title, runs in folds.items()}
            if len(set(numbers.values())) > 1:
                found = ", ".join(f"{number} of {title}" for title, number in numbers.items())
                raise ConfigError(f"{corpus}: {side} needs equally many runs of every fold, found {found}")


def check_same_sentences(a: Folds, b: Folds) -> None:
    """Check all runs of a title, on both sides, against the first of A."""
    for title, (first, *others) in a.items():
        for run in [*others, *b[title]]:
            where = f"{title}: {first.folder} and {run.folder} must be tested on the same sentences"
            if len(first.sha256) != len(run.sha256):
                raise ConfigError(f"{where}; found {len(first.sha256)} and {len(run.sha256)} of them")
            for i, (one, other) in enumerate(zip(first.sha256, run.sha256, strict=True)):
                if one != other:
                    raise ConfigError(
                        f"{where}; the first whose words or gold differ is on line {i + 1} of test_sentences.jsonl: "
                        f"id {first.ids[i]!r} ({one}) and id {run.ids[i]!r} ({other})"
                    )
