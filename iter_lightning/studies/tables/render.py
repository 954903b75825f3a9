"""A report as Markdown, LaTeX and JSON: the same grids, so that none can disagree with another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iter_lightning.files import write_atomically


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Raises:
        ValueError: a row of another width than the header.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.caption}: a row of {len(row)} cells under {len(self.columns)} columns: {row}")


@dataclass(frozen=True)
class Report:
    """What is written of a table or figure."""

    name: str
    """File name without suffix."""
    title: str
    command: str
    """What makes it again."""
    intro: str
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]
    data: Any
    """Plain values, for JSON."""
    picture: str | None = None
    """File name of a figure beside the report."""


def write_report(report: Report, folder: Path, suffixes: Sequence[str] = (".md", ".tex", ".json")) -> list[Path]:
    """Write the files of a report; each appears whole or not at all."""
    texts = {
        ".md": markdown(report),
        ".tex": latex(report),
        ".json": json.dumps({"title": report.title, "command": report.command, **report.data}, indent=1,
                            ensure_ascii=False) + "\n",
    }  # fmt: skip
    paths = [folder / f"{report.name}{suffix}" for suffix in suffixes]
    for path in paths:
        write_atomically(path, texts[path.suffix])
    return paths


def markdown(report: Report) -> str:
    """GitHub's Markdown."""
    parts = [f"# {report.title}", f"```\n{report.command}\n```", report.intro]
    if report.picture:
        parts.append(f"![{report.title}]({report.picture})")
    for grid in report.grids:
        header = [_row(grid.columns), _row(["---"] * len(grid.columns))]
        parts.append("\n".join([*([f"## {grid.caption}\n"] if grid.caption else []), *header,
                                *(_row([cell.replace("|", "\\|") for cell in row]) for row in grid.rows)]))  # fmt: skip
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in report.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def latex(report: Report) -> str:
    """A `table` environment a grid (packages booktabs and graphicx)."""
    parts = [f"% {report.title}\n% {report.command}"]
    for grid in report.grids:
        lines = [
            r"\begin{table*}[t]", r"\centering\resizebox{\textwidth}{!}{%",
            r"\begin{tabular}{" + "l" * len(grid.columns) + "}", r"\toprule",
            " & ".join(map(_escaped, grid.columns)) + r" \\", r"\midrule",
            *(" & ".join(map(_escaped, row)) + r" \\" for row in grid.rows), r"\bottomrule", r"\end{tabular}}",
            rf"\caption{{{_escaped(f'{report.title}. {grid.caption}'.rstrip('. '))}.}}", r"\end{table*}",
        ]  # fmt: skip
        parts.append("\n".join(lines))
    parts.append("\n".join(f"% {note}" for note in report.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "·": r"$\cdot$", "−": "$-$", "–": "--",
    "λ": r"$\lambda$", "ω": r"$\omega$", "×": r"$\times$", "ψ": r"$\psi$", "†": r"\dag{}",
}  # fmt: skip


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
