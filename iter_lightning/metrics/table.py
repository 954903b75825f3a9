"""Scores as an aligned text table."""

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
    """Precision, recall and F1 in percent, micro, a row for each split and task; the definition stands beneath.

    Args:
        reports: split -> the nested scores of `functional.report`.
        definition: what all of them mean.
        per_type: adds a row a type.
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
