"""Tables of text as Markdown, LaTeX and plain text, and reports of them as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.io.atomic import write_atomically

DASH = "–"


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Raises:
        ValueError: A row of another width than the header.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.caption}: a row of {len(row)} cells under {len(self.columns)} columns: {row}")

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def latex(self, caption: str) -> str:
        """Return a LaTeX `table*` environment (packages booktabs and graphicx)."""
        header, *rows = (" & ".join(map(_latex, line)) + r" \\" for line in (self.columns, *self.rows))
        return "\n".join([
            r"\begin{table*}[t]", r"\centering\resizebox{\textwidth}{!}{%",
            r"\begin{tabular}{" + "l" * len(self.columns) + "}", r"\toprule", header, r"\midrule", *rows,
            r"\bottomrule", r"\end{tabular}}", rf"\caption{{{_latex(caption)}.}}", r"\end{table*}",
        ])  # fmt: skip

    def text(self) -> str:
        """Return the table in columns for a terminal."""
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )


@dataclass(frozen=True)
class Report:
    """What is written about a table, figure or sweep."""

    name: str
    """File name without suffix."""
    title: str
    command: str
    """The command that makes the report again."""
    intro: str
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]
    data: Mapping[str, Any]
    """Plain values, for JSON."""
    picture: str | None = None
    """File name of a figure beside the report."""

    def markdown(self) -> str:
        """Return the report in GitHub's Markdown."""
        parts = [f"# {self.title}", f"```\n{self.command}\n```", self.intro]
        if self.picture:
            parts.append(f"![{self.title}]({self.picture})")
        parts += [f"## {grid.caption}\n\n{grid.markdown()}" if grid.caption else grid.markdown() for grid in self.grids]
        parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(part for part in parts if part) + "\n"

    def latex(self) -> str:
        """Return the grids in LaTeX; title, command and notes are comments."""
        parts = [f"% {self.title}\n% {self.command}"]
        parts += [grid.latex(f"{self.title}. {grid.caption}".rstrip(". ")) for grid in self.grids]
        parts.append("\n".join(f"% {note}" for note in self.notes))
        return "\n\n".join(part for part in parts if part) + "\n"


def write_report(report: Report, folder: Path, suffixes: Sequence[str] = (".md", ".tex", ".json")) -> list[Path]:
    """Write the files of a report atomically.

    Returns:
        Their paths.
    """
    data = {"title": report.title, "command": report.command, **report.data}
    content = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    texts = {".md": report.markdown(), ".tex": report.latex(), ".json": content}
    paths = [folder / f"{report.name}{suffix}" for suffix in suffixes]
    for path in paths:
        write_atomically(path, texts[path.suffix])
    return paths


def pyplot() -> Any:
    """Import matplotlib for drawing to files.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("figures need matplotlib: pip install 'iter-lightning[study]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "·": r"$\cdot$", "−": "$-$", "–": "--",
    "λ": r"$\lambda$", "ω": r"$\omega$", "×": r"$\times$", "ψ": r"$\psi$", "†": r"\dag{}",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
