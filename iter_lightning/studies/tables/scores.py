"""Tables 2, 4, 6 and 7: the cells of a plan beside the paper's values, with a reason for every empty cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase

from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.metrics.functional import Symmetric
from iter_lightning.studies.runs.plan import Column, Row, TablePlan
from iter_lightning.studies.runs.survey import Run
from iter_lightning.studies.tables.cells import PUBLISHED_GOLD, PUBLISHED_MATCH, Cell, make_cell, mean_std
from iter_lightning.studies.tables.published import SHORT, corpus_title, published, published_scores
from iter_lightning.studies.tables.render import Grid, Report, write_report


def write_scores(plan: TablePlan, runs: Sequence[Run], folder: Path, command: str) -> list[Path]:
    """Write `tableN.md`, `.tex` and `.json` of a plan from the runs that exist.

    Args:
        plan: Rows and columns.
        runs: All runs of the plan, whatever their state.
        folder: Folder of the reports.
        command: The command that makes these runs and this report, with its options.
    """
    cells = [
        _cell(plan, row, corpus, column, task, symmetric, runs)
        for row in plan.rows
        for corpus, column in plan.columns_of(row).items()
        for task, symmetric in _tasks(plan, column)
    ]
    report = _report(plan, cells, command)
    if plan.table == 4:
        report = replace(report, grids=(*report.grids, _throughput(plan, runs)))
    return write_report(report, folder)


def _report(plan: TablePlan, cells: Sequence[Cell], command: str) -> Report:
    """The report of a plan's cells: an overview, every cell in detail, and why cells are empty."""
    letters = _letters(cells)
    grids = [*_overview(plan, cells, letters), *_details(plan, cells)]
    if plan.table == 2:
        grids.append(_other_systems(plan))
    notes = [f"{letter}: {reason}" for reason, letter in letters.items()]
    notes += [f"left out of {cell.row} on {cell.corpus}: {name}" for cell in _once(cells) for name in cell.missing]
    notes += [f"{cell.row} on {cell.corpus}: {note}" for cell in _once(cells) for note in cell.notes]
    notes += _disagreements(plan.table)
    names = ", ".join(SHORT[name] for name in plan.scores)
    intro = (
        f"{names}, micro, percent, on the test split: mean ± sample standard deviation over n runs (seeds, or folds of "
        "ADE); in brackets the paper's value. Letters stand for the reasons why cells are empty, listed below. "
        f"Our definition, unless a cell says otherwise: {EvaluationDefinition().describe()}; (*): symmetric "
        'relations count twice. "As published" scores the same predictions by the definition of the published numbers '
        f"(gold: {PUBLISHED_GOLD}, match: {PUBLISHED_MATCH}). The interval is a 95 % percentile bootstrap of the "
        "mean F1 over test sentences."
    )
    data = {"table": plan.table, "cells": [cell.to_dict() for cell in cells]}
    return Report(
        f"table{plan.table}", f"Table {plan.table}: {plan.title}", command, intro, tuple(grids), tuple(notes), data
    )


def _tasks(plan: TablePlan, column: Column) -> list[tuple[str, Symmetric]]:
    """(task, symmetric) of a column."""
    tasks = [task for task in plan.tasks if column.tasks is None or task in column.tasks]
    once: list[tuple[str, Symmetric]] = [(task, "once") for task in tasks]
    return once + [(task, "twice") for task in tasks if column.both_symmetric and task != "NER"]


def _cell(
    plan: TablePlan, row: Row, corpus: str, column: Column, task: str, symmetric: Symmetric, runs: Sequence[Run]
) -> Cell:  # fmt: skip
    paper = published_scores(plan.table, corpus, row.key, task, symmetric)
    mine = [run for run in runs if (run.spec.corpus, run.spec.row) == (corpus, row.key)]
    return make_cell(mine, task, symmetric, paper)


def _letters(cells: Sequence[Cell]) -> dict[str, str]:
    """Reason -> letter, in the order of the cells."""
    reasons = list(dict.fromkeys(cell.empty for cell in cells if cell.empty))
    return {reason: ascii_lowercase[i] if i < 26 else str(i) for i, reason in enumerate(reasons)}


def _overview(plan: TablePlan, cells: Sequence[Cell], letters: Mapping[str, str]) -> list[Grid]:
    """Rows of encoders; Table 6 has a grid for each corpus and weighting, the others have one."""
    by_key = {(c.row, c.corpus, c.task, c.definition.symmetric): c for c in cells}
    columns = [(corpus, task, symmetric) for corpus, column in plan.corpora.items()
               for task, symmetric in _tasks(plan, column)]  # fmt: skip
    if plan.table == 6:
        blocks = list(dict.fromkeys((corpus, symmetric) for corpus, _, symmetric in columns))
        groups = [
            [c for c in columns if (c[0], c[2]) == block or (c[0] == block[0] and c[1] == "NER")] for block in blocks
        ]
    else:
        blocks, groups = [("", "once")], [columns]
    grids = []
    for (corpus, symmetric), group in zip(blocks, groups, strict=True):
        header = ["encoder", "n"]
        for name, task, weighting in group:
            what = f"{'' if corpus else corpus_title(name) + ' '}{task}{' (*)' if weighting == 'twice' else ''}"
            header += [f"{what} {SHORT[score]}" for score in plan.scores] if len(plan.scores) > 1 else [what]
        rows = []
        for row in plan.rows:
            mine = [by_key.get((row.key, *column)) for column in group]
            if any(cell is not None for cell in mine):
                shown = [_shown(cell, score, letters) for cell in mine for score in plan.scores]
                rows.append((row.label, _counts([cell for cell in mine if cell is not None]), *shown))
        caption = f"{corpus_title(corpus)}{' (*)' if symmetric == 'twice' else ''}" if corpus else "Overview"
        grids.append(Grid(caption, tuple(header), tuple(rows)))
    return grids


def _shown(cell: Cell | None, score: str, letters: Mapping[str, str]) -> str:
    """`57.4 ± 1.5 (75.2)`, with a letter instead of an empty cell's score; nothing if the table has no such cell."""
    if cell is None:
        return ""
    paper = cell.paper.get(score)
    published_text = "" if paper is None else f" ({_value(paper)})"
    return (mean_std(cell.scores[score]) if cell.scores else f"[{letters[cell.empty]}]") + published_text


def _counts(cells: Sequence[Cell]) -> str:
    numbers = sorted({cell.scores["f1"].n for cell in cells if cell.scores})
    return " / ".join(map(str, numbers)) or "0"


def _details(plan: TablePlan, cells: Sequence[Cell]) -> list[Grid]:
    """Every cell that has scores, with everything its figure depends on."""
    columns = ("corpus", "encoder", "task", "F1", "min – max", "95 % interval", "as published", "paper", "difference",
               "n", "epochs", "λ", "definition", "commit")  # fmt: skip
    labels = {row.key: row.label for row in plan.rows}
    rows = []
    for cell in cells:
        if not cell.scores or cell.interval is None or cell.as_published is None:
            continue
        f1 = cell.scores["f1"]
        rows.append((
            corpus_title(cell.corpus), labels[cell.row], cell.task, mean_std(f1), f"{f1.min:.1f} – {f1.max:.1f}",
            f"{cell.interval[0]:.1f} – {cell.interval[1]:.1f}", mean_std(cell.as_published),
            _value(cell.paper["f1"]) if "f1" in cell.paper else "not in the paper",
            "" if cell.difference is None else f"{cell.difference:+.1f}", str(f1.n), _range(cell.epochs),
            _range(cell.link_thresholds), _definition_text(cell.definition), ", ".join(cell.commits),
        ))  # fmt: skip
    return [Grid("Every cell that has runs", columns, tuple(rows))] if rows else []


def _other_systems(plan: TablePlan) -> Grid:
    """The other systems of Table 2."""
    columns = [(corpus, task, symmetric) for corpus, column in plan.corpora.items()
               for task, symmetric in _tasks(plan, column)]  # fmt: skip
    header = ["system", "parameters"]
    header += [f"{corpus_title(c)} {t}{' (*)' if s == 'twice' else ''}" for c, t, s in columns]
    rows = []
    for entry in published()["table2"]["rows"]:
        if not entry["ours"]:
            found = [published_scores(2, c, entry["key"], t, s) for c, t, s in columns]
            shown = [f"{scores['f1'][0]:g}" if scores else "" for scores in found]
            rows.append((entry["label"], str(entry["parameters"]), *shown))
    return Grid("Other systems, as the paper prints them", tuple(header), tuple(rows))


def _throughput(plan: TablePlan, runs: Sequence[Run]) -> Grid:
    """Table 4's last column: the paper's throughput, and that of each row's first finished run (analysis.json)."""
    rows = []
    for row in plan.rows:
        found = [run.folder.analysis for run in runs if run.spec.row == row.key and run.state == "done"]
        ours = next((analysis["throughput"] for analysis in found if analysis), None)
        paper = published()["table4"].get(row.key, {}).get("samples_per_second")
        rows.append((
            row.label, "" if paper is None else f"{paper:g}",
            "" if ours is None else f"{ours['sentences_per_second']:.1f}",
            "" if ours is None else ours.get("device", ""),
        ))  # fmt: skip
    columns = ("encoder", "paper, samples/s (H100, batch 8)", "ours on dev, sentences/s", "device")
    return Grid("Throughput", columns, tuple(rows))


def _disagreements(table: int) -> list[str]:
    found = [
        text for text in published()["disagreements"] if f"Table {table}" in text or f"table {table}" in text.lower()
    ]
    return [f"the paper disagrees with itself: {text}" for text in found]


def _once(cells: Sequence[Cell]) -> list[Cell]:
    """One cell for each group of runs that has scores."""
    return list({(cell.row, cell.corpus): cell for cell in cells if cell.scores}.values())


def _definition_text(definition: EvaluationDefinition) -> str:
    return " · ".join(definition.to_dict().values())


def _range(values: Sequence[float]) -> str:
    texts = [f"{value:g}" for value in values]
    return texts[0] if len(texts) == 1 else f"{texts[0]} – {texts[-1]}" if texts else ""


def _value(pair: Sequence[float | None]) -> str:
    mean, std = pair[0], pair[1]
    return f"{mean:.1f}" if std is None else f"{mean:.1f} ± {std:.1f}"
