"""Scores as an aligned text table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iter_lightning.metrics.functional import EvaluationDefinition


def format_table(
    reports: Mapping[str, Mapping[str, Any]], definition: EvaluationDefinition, per_type: bool = False
) -> str:
    """Precision, recall and F1 in percent, micro, a row for each split and task; the definition stands beneath.

    Args:
        reports: split -> the nested scores of `functional.report`.
        definition: what all of them mean.
        per_type: adds a row a type.
    """
    rows: list[tuple[str, str, Mapping[str, Any]]] = []
    for split, tasks in reports.items():
        for task, scores in tasks.items():
            rows.append((split, task, scores["micro"]))
            if per_type:
                rows.extend((split, f"  {name}", values) for name, values in scores["per_type"].items())
    width = max([len(name) for _, name, _ in rows] + [4])
    lines = [f"{'split':<6} {'task':<{width}} {'P':>6} {'R':>6} {'F1':>6} {'tp':>6} {'fp':>6} {'fn':>6}"]
    for split, name, scores in rows:
        percent = " ".join(f"{100 * scores[key]:6.1f}" for key in ("precision", "recall", "f1"))
        numbers = " ".join(f"{scores[key]:6d}" for key in ("tp", "fp", "fn"))
        lines.append(f"{split:<6} {name:<{width}} {percent} {numbers}")
    return "\n".join([*lines, f"micro, percent · {definition.describe()}"])
