"""`compare A B`: test whether two systems differ by more than the choice of test sentences explains.

A and B are runs with one seed or several, on one corpus or several. The folds of a corpus partition it, so their
sentences are pooled into one test (F1 from the summed counts of all folds: Forman and Scholz, 2010).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.io.atomic import write_atomically
from iter_lightning.metrics.functional import TASKS, EvaluationDefinition
from iter_lightning.studies.runs.counts import read_sentences
from iter_lightning.studies.tables.render import Grid
from iter_lightning.studies.tables.sides import (
    Folds,
    by_corpus,
    check_apart,
    check_same_corpora,
    check_same_sentences,
    find_runs,
    pooled,
)
from iter_lightning.studies.tables.statistics import (
    Summary,
    holm,
    micro_f1,
    paired_bootstrap,
    paired_permutation,
    summarize,
)

DEFAULT = EvaluationDefinition()
VERDICTS = ("no evidence of a difference", "A is better", "B is better")


@dataclass(frozen=True)
class Row:
    """One test: a corpus and a task. F1 in [0, 1]."""

    corpus: str
    task: str
    sentences: int
    folds: int
    unit: str
    """Unit of `sentences`: sentences or documents."""
    a: Summary
    """Micro F1 of A's runs."""
    b: Summary
    difference: float
    """Mean F1 of A minus mean F1 of B."""
    low: float
    """Of the bootstrap interval of the difference, with confidence 1 - alpha; not corrected."""
    high: float
    flips: float
    """Share of bootstrap resamples in which the better system is not ahead."""
    p: float
    corrected_p: float
    verdict: str
    notes: tuple[str, ...]
    """Split protocol and, for relations, λ; "differs" if the sides do not share them."""


@dataclass(frozen=True)
class Comparison:
    """All tests of one `compare`, corrected for their number."""

    a: tuple[str, ...]
    """Run folders."""
    b: tuple[str, ...]
    definition: EvaluationDefinition
    """Evaluation definition; the split protocol is the runs' own."""
    resamples: int
    seed: int
    alpha: float
    rows: tuple[Row, ...]
    unfinished: tuple[str, ...] = ()
    """Run folders whose training had not finished when they were tested."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        definition = {name: value for name, value in self.definition.to_dict().items() if name != "split_protocol"}
        return {**asdict(self), "definition": definition}


def compare_runs(
    a: Sequence[Path], b: Sequence[Path], task: str | None = None,
    definition: EvaluationDefinition = DEFAULT, resamples: int = 10_000, seed: int = 0, alpha: float = 0.05,
    allow_unfinished: bool = False,
) -> Comparison:  # fmt: skip
    """Compare two systems, each a list of run folders, on every corpus and task.

    Args:
        a: Runs of one system.
        b: Runs of the other, on the same test sentences; their number may differ.
        task: NER, RE, RE+ or all; by default RE+ if the corpus has relations, else NER.
        definition: An evaluation definition; the split protocol is the runs' own.
        resamples: Resamples of the permutation test and of the bootstrap.
        seed: Seed of both.
        alpha: The family-wise error; the intervals have confidence 1 - alpha.
        allow_unfinished: Whether to accept runs whose training has not finished.

    Returns:
        A test for each corpus and task, corrected for their number.

    Raises:
        ConfigError: A run that is not tested, not finished, or damaged; a run on both sides; different sentences;
            options out of range.
    """
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha must be between 0 and 1, found {alpha}")
    if resamples < 1 or seed < 0:
        raise ConfigError(f"expected at least 1 resample and a seed of at least 0, found {resamples} and {seed}")
    check_apart(a, b)
    read_a, read_b = ([read_sentences(path, allow_unfinished) for path in side] for side in (a, b))
    sides = by_corpus(read_a), by_corpus(read_b)
    check_same_corpora(*sides)
    rows = []
    for corpus, a_folds in sides[0].items():
        b_folds = sides[1][corpus]
        check_same_sentences(a_folds, b_folds)
        there = list(next(iter(a_folds.values()))[0].counts)
        for one in {None: there[-1:], "all": there}.get(task, [str(task)]):
            rows.append(_test(corpus, one, (a_folds, b_folds), definition, (resamples, seed, alpha)))
    unfinished = tuple(str(run.folder) for run in (*read_a, *read_b) if run.unfinished)
    return Comparison(
        tuple(map(str, a)), tuple(map(str, b)), definition, resamples, seed, alpha, _with_verdicts(rows, alpha),
        unfinished,
    )  # fmt: skip


def _test(
    corpus: str, task: str, sides: tuple[Folds, Folds], definition: EvaluationDefinition,
    options: tuple[int, int, float],
) -> Row:  # fmt: skip
    """One test, not yet corrected; `options` are resamples, seed, alpha."""
    resamples, seed, alpha = options
    a, b = (pooled(folds, task, definition) for folds in sides)
    difference, p = paired_permutation(a, b, resamples, seed)
    low, high, flips = paired_bootstrap(a, b, 1 - alpha, resamples, seed)
    return Row(
        corpus=corpus, task=task, sentences=a.shape[1], folds=len(sides[0]),
        unit=next(iter(sides[0].values()))[0].unit, a=summarize(micro_f1(a)),
        b=summarize(micro_f1(b)), difference=difference, low=low, high=high, flips=flips, p=p, corrected_p=p,
        verdict=VERDICTS[0], notes=_notes(*sides, links=task != "NER"),
    )  # fmt: skip


def _notes(a: Folds, b: Folds, links: bool) -> tuple[str, ...]:
    """Split protocol and λ of the runs; of each side if they differ."""
    sides = [[run for runs in folds.values() for run in runs] for folds in (a, b)]
    values: dict[str, list[set[str]]] = {
        "split protocol": [{run.definitions[0].split_protocol for run in side} for side in sides]
    }
    if links:
        values["link threshold λ"] = [{f"{run.link_threshold:g}" for run in side} for side in sides]
    of_a, of_b = ({name: ", ".join(sorted(pair[i])) for name, pair in values.items()} for i in (0, 1))
    return tuple(
        f"{name}: {of_a[name]}" if of_a[name] == of_b[name] else f"{name} differs: A {of_a[name]}, B {of_b[name]}"
        for name in values
    )


def _with_verdicts(rows: Sequence[Row], alpha: float) -> tuple[Row, ...]:
    result = []
    for row, corrected in zip(rows, holm([row.p for row in rows]), strict=True):
        evidence = corrected <= alpha
        verdict = VERDICTS[(1 if row.difference > 0 else 2) if evidence else 0]
        result.append(replace(row, corrected_p=corrected, verdict=verdict))
    return tuple(result)


def render(found: Comparison) -> str:
    """Format the comparison as text: a line a test, then the meaning of the numbers."""
    interval = f"{100 * (1 - found.alpha):g} % interval"
    columns = ("corpus", "task", "A F1", "B F1", "A - B", interval, "p", "p corrected", "verdict")
    rows = [(
        row.corpus, row.task, _score(row.a), _score(row.b), _points(row.difference),
        f"{_points(row.low)} to {_points(row.high)}", f"{row.p:.4f}", f"{row.corrected_p:.4f}", row.verdict,
    ) for row in found.rows]  # fmt: skip
    table = Grid("", columns, tuple(rows)).text()
    return "\n".join([f"A: {', '.join(found.a)}", f"B: {', '.join(found.b)}", "", table, "", *_legend(found)])


def _legend(found: Comparison) -> list[str]:
    shown = " · ".join(f"{name}: {found.definition.to_dict()[name]}" for name in ("gold", "match", "symmetric"))
    tests = len(found.rows)
    lines = [f"F1: micro, percent, mean over runs (± their sample standard deviation) · {shown}"]
    for row in found.rows:
        folds = f" of {row.folds} folds, pooled" if row.folds > 1 else ""
        sides = " · ".join((f"{row.sentences:,} {row.unit}{folds}", f"runs: A {row.a.n}, B {row.b.n}", *row.notes))
        lines.append(f"{row.corpus} {row.task}: {sides}")
    lines += [
        f"p: two-sided, {found.resamples:,} permutations of sentences between A and B; corrected for {tests} "
        f"test{'s' if tests > 1 else ''} (Holm); evidence if that is at most {found.alpha:g}",
        f"interval: of A - B in points, {found.resamples:,} bootstrap resamples of sentences; not corrected; "
        f"seed {found.seed}",
        "both describe other sentences, not other seeds; ± is how far seeds move a score",
    ]
    if any(min(row.a.n, row.b.n) == 1 for row in found.rows):
        lines.append("a side has one run: the difference holds for these models, another seed may reverse it")
    if found.unfinished:
        lines.append(f"not finished when tested, so these scores may change: {', '.join(found.unfinished)}")
    return lines


def _score(summary: Summary) -> str:
    return f"{100 * summary.mean:.1f}" + (f" ± {100 * summary.std:.1f}" if summary.std is not None else "")


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def main(arguments: list[str]) -> None:
    """Compare two systems on the same test sentences: a paired test and an interval, corrected for their number."""
    parser = argparse.ArgumentParser(prog="python -m iter_lightning compare", description=main.__doc__)
    for name in ("a", "b"):
        parser.add_argument(
            name, metavar=name.upper(), help="a run folder, a folder of run folders, or several with commas between"
        )
    parser.add_argument("--task", choices=[*TASKS, "all"], help="default: RE+ if the corpus has relations, else NER")
    parser.add_argument("--gold", choices=["corpus", "encoded"], default=DEFAULT.gold, help="default: %(default)s")
    parser.add_argument("--match", choices=["position", "surface"], default=DEFAULT.match, help="default: %(default)s")
    parser.add_argument(
        "--symmetric", choices=["once", "twice"], default=DEFAULT.symmetric, help="default: %(default)s"
    )
    parser.add_argument("--resamples", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resamples; default: %(default)s")
    parser.add_argument("--alpha", type=float, default=0.05, help="chance of any false alarm; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the comparison as JSON")
    parser.add_argument("--allow-unfinished", action="store_true", help="accept unfinished runs, with a note")
    options = parser.parse_args(arguments)
    definition = EvaluationDefinition(gold=options.gold, match=options.match, symmetric=options.symmetric)
    found = compare_runs(
        find_runs(options.a), find_runs(options.b), options.task,
        definition, options.resamples, options.seed, options.alpha, options.allow_unfinished,
    )  # fmt: skip
    print(render(found))
    if options.json:
        write_atomically(options.json, json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n")
