"""Format scores as a text table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iter_lightning.metrics.functional import EvaluationDefinition

_PERCENT = {"P": "precision", "R": "recall", "F1": "f1"}
_NUMBERS = ("tp", "fp", "fn")
_NARROWEST = 6


def format_table(
    reports: Mapping[str, Mapping[str, Any]], definition: EvaluationDefinition, per_type: bool = False
) -> str:
    """Format micro-averaged precision, recall, and F1 in percent, with one row per split and task.

    Args:
        reports: Map from split to the nested scores of `ExtractionMetric.report`.
        definition: Definition of all scores. It is printed below the table.
        per_type: Whether to add a row for each type.

    Returns:
        A table with aligned columns.

    Example:
        >>> from iter_lightning.metrics.functional import Counts, scores
        >>> report = {"NER": scores({"Peop": Counts(tp=3, fp=1, fn=0)})}
        >>> print(format_table({"test": report}, EvaluationDefinition()).splitlines()[1].rstrip())
        test   NER    75.0  100.0   85.7      3      1      0
    """
    rows = [["split", "task", *_PERCENT, *_NUMBERS]]
    for split, tasks in reports.items():
        for task, scores in tasks.items():
            rows.append([split, task, *_cells(scores["micro"])])
            if per_type:
                rows.extend([split, f"  {name}", *_cells(values)] for name, values in scores["per_type"].items())
    widths = [max(_NARROWEST, *map(len, column)) for column in zip(*rows, strict=True)]
    widths[1] = max(len(row[1]) for row in rows)
    lines = [
        " ".join(f"{cell:{'<' if place < 2 else '>'}{widths[place]}}" for place, cell in enumerate(row)) for row in rows
    ]
    return "\n".join([*lines, f"micro, percent · {definition.describe()}"])


def _cells(scores: Mapping[str, Any]) -> list[str]:
    return [f"{100 * scores[key]:.1f}" for key in _PERCENT.values()] + [str(scores[key]) for key in _NUMBERS]
