"""The cells of a table: scores of finished runs with spread, interval, definition and commit, beside the paper's.

A run with an incomplete manifest is left out: every figure must be traceable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from iter_lightning.errors import ConfigError
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.metrics.functional import Counts, Gold, Match, Symmetric
from iter_lightning.studies.runs.counts import SentenceCounts, read_sentences
from iter_lightning.studies.runs.stored import commits_of, gaps
from iter_lightning.studies.runs.survey import Run, by_reason
from iter_lightning.studies.tables.render import Grid
from iter_lightning.studies.tables.statistics import Summary, bootstrap_interval, summarize

PUBLISHED_GOLD: Gold = "encoded"
PUBLISHED_MATCH: Match = "surface"
"""How the published numbers were counted."""
SCORES = ("precision", "recall", "f1")
_STATE_WORDS = {"new": "not run yet", "started": "not finished", "trained": "not tested yet"}


@dataclass(frozen=True)
class Cell:
    """One task's scores on one corpus by one encoder, in percent."""

    corpus: str
    row: str
    task: str
    definition: EvaluationDefinition
    """Evaluation definition of the scores."""
    scores: Mapping[str, Summary] = field(default_factory=dict)
    """precision, recall, f1 -> mean, spread, extremes over runs; empty for an empty cell."""
    interval: tuple[float, float] | None = None
    """95 % bootstrap interval of the mean F1 over test sentences."""
    as_published: Summary | None = None
    """F1 of the same predictions, counted as the published numbers were."""
    paper: Mapping[str, Any] = field(default_factory=dict)
    """precision, recall, f1 -> [mean, standard deviation or None], as far as the paper prints them."""
    link_thresholds: tuple[float, ...] = ()
    commits: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    """Run folders."""
    epochs: tuple[int, ...] = ()
    empty: str = ""
    """Why there are no scores."""
    missing: tuple[str, ...] = ()
    """Runs of the plan that are left out, with the reason."""
    notes: tuple[str, ...] = ()
    """Warnings for readers of the mean."""

    @property
    def difference(self) -> float | None:
        """Our F1 minus the paper's, in points."""
        if "f1" not in self.scores or "f1" not in self.paper:
            return None
        return self.scores["f1"].mean - float(self.paper["f1"][0])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        values = {**asdict(self), "definition": self.definition.to_dict(), "difference": self.difference}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def make_cell(
    runs: Sequence[Run], task: str, symmetric: Symmetric = "once", paper: Mapping[str, Any] | None = None
) -> Cell:
    """Make the cell of a group of runs.

    Args:
        runs: All runs that the plan has for it, whatever their state.
        task: NER, RE or RE+.
        symmetric: How symmetric relations count: `once` or `twice`.
        paper: The paper's scores.
    """
    first = runs[0].spec
    tested, missing = _usable(runs)
    usable, found = list(tested), list(tested.values())
    definition = replace(_definition(usable), symmetric=symmetric)
    cell = Cell(first.corpus, first.row, task, definition, paper=paper or {}, missing=tuple(missing))
    if not usable:
        return replace(cell, empty=_reason(runs) or "; ".join(missing), missing=())
    if differing := _other_data(usable):
        return replace(cell, empty=differing)
    counts = [sentences.of(task, definition) for sentences in found]
    totals = [array.sum(axis=0) for array in counts]
    interval = bootstrap_interval(counts, [sentences.sha256 for sentences in found])
    published = [s.of(task, replace(definition, gold=PUBLISHED_GOLD, match=PUBLISHED_MATCH)).sum(axis=0) for s in found]
    return replace(
        cell,
        scores={name: summarize([_percent(name, total) for total in totals]) for name in SCORES},
        interval=(100 * interval.low, 100 * interval.high),
        as_published=summarize([_percent("f1", total) for total in published]),
        link_thresholds=tuple(sorted({s.link_threshold for s in found})),
        commits=tuple(commits_of(run.manifest for run in usable)),
        runs=tuple(str(run.folder.path) for run in usable),
        epochs=tuple(sorted({int(run.manifest.get("epochs", 0)) for run in usable})),
        notes=(*_mixed_thresholds(usable, [sentences.link_threshold for sentences in found]), *_unfinished(usable)),
    )


def _percent(score: str, counts: NDArray[Any]) -> float:
    return 100 * float(getattr(Counts(*map(int, counts)), score))


def _usable(runs: Sequence[Run]) -> tuple[dict[Run, SentenceCounts], list[str]]:
    """The runs whose scores may be shown, with their counts; for the others the reasons, a line each."""
    usable: dict[Run, SentenceCounts] = {}
    missing = []
    for run in runs:
        if run.state != "done":
            missing.append((run.spec.name, run.reason or _STATE_WORDS[run.state]))
        elif lacking := [] if run.unfinished else gaps(run.manifest):
            missing.append((run.spec.name, f"the manifest lacks {', '.join(lacking)}"))
        else:
            try:
                usable[run] = read_sentences(run.folder.path, run.unfinished)
            except ConfigError as error:
                missing.append((run.spec.name, str(error)))
    return usable, by_reason(missing)


def _other_data(runs: Sequence[Run]) -> str:
    """The reason if runs of one cell may not be pooled because they saw different data; else empty."""
    seen: dict[Any, dict[str, list[str]]] = {}
    for run in runs:
        digests = {name: split["sha256"] for name, split in run.manifest["data"]["splits"].items()}
        seen.setdefault(run.spec.fold, {}).setdefault(json.dumps(digests), []).append(run.spec.name)
    parts = [
        " against ".join(", ".join(names) for names in groups.values()) for groups in seen.values() if len(groups) > 1
    ]
    return f"made on different data, so that they have no common mean: {'; '.join(parts)}" if parts else ""


def _mixed_thresholds(runs: Sequence[Run], thresholds: Sequence[float]) -> tuple[str, ...]:
    """A note if some runs were tested at a lambda chosen on dev and others not."""
    chosen = [run.manifest.get("link_threshold", {}).get("value") for run in runs]
    kinds = {value == at for value, at in zip(chosen, thresholds, strict=True)}
    if len(set(thresholds)) == 1 or len(kinds) == 1:
        return ()
    tested = ", ".join(f"{run.spec.part} {at:g}" for run, at in zip(runs, thresholds, strict=True))
    return (f"tested at λ {tested}: some chosen on dev, some not",)


def _unfinished(runs: Sequence[Run]) -> tuple[str, ...]:
    """A note that names the runs whose training has not finished."""
    names = [run.spec.name for run in runs if run.unfinished]
    return (f"not finished, so these scores may change: {', '.join(names)}",) if names else ()


def _reason(runs: Sequence[Run]) -> str:
    """The reason why no run can be shown, if they share it; else empty."""
    reasons = {run.reason or _STATE_WORDS.get(run.state, "") for run in runs}
    return reasons.pop() if len(reasons) == 1 else ""


def _definition(runs: Sequence[Run]) -> EvaluationDefinition:
    """The default definition, with the split protocol of the runs."""
    protocols = [run.manifest["evaluation"]["split_protocol"] for run in runs]
    return EvaluationDefinition(split_protocol=protocols[0] if protocols else "clean")  # the plan fixes it for all


def summary_text(runs: Sequence[Run]) -> str:
    """Format mean, spread and interval of every task for a terminal."""
    done = [run for run in runs if run.state == "done"]
    if not done:
        return "no finished run to summarize"
    cells = [make_cell(runs, task) for task in read_sentences(done[0].folder.path, done[0].unfinished).counts]
    rows = []
    for cell in cells:
        f1, (low, high) = cell.scores["f1"], cell.interval or (0.0, 0.0)
        rows.append((cell.task, str(f1.n), mean_std(f1), f"{f1.min:.1f} - {f1.max:.1f}", f"{low:.1f} - {high:.1f}"))
    table = Grid("", ("task", "n", "F1 mean ± std", "min - max", "95 % interval"), tuple(rows)).text()
    basis = f"test, micro, percent · {cells[0].definition.describe()} · commit {', '.join(cells[0].commits)}"
    return "\n".join([table, basis, *_unfinished(done), *(f"left out: {name}" for name in cells[0].missing)])


def mean_std(summary: Summary) -> str:
    """Format `57.4 ± 1.5`, without a spread for one run."""
    return f"{summary.mean:.1f}" + ("" if summary.std is None else f" ± {summary.std:.1f}")
