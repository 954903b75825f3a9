"""Grids and reports as Markdown, LaTeX, text and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iter_lightning.studies.tables.render import Grid, Report, write_report

GRID = Grid("G_1", ("a", "b|c"), (("1 %", "2|3"), ("λ ± 1", "")))


REPORT = Report("x", "A & B", "make x", "intro", (GRID,), ("n",), {"k": 1})


def test_markdown_and_latex_escape() -> None:
    text = REPORT.markdown()
    assert "| 1 % | 2\\|3 |" in text
    assert text.startswith("# A & B\n\n```\nmake x\n```\n")
    tex = REPORT.latex()
    assert r"1 \% & 2|3 \\" in tex
    assert r"$\lambda$ $\pm$ 1 &  \\" in tex
    assert r"\caption{A \& B. G\_1.}" in tex


def test_rows_of_another_width_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a row of 1 cells under 2 columns"):
        Grid("g", ("a", "b"), (("1",),))
    paths = write_report(REPORT, tmp_path)
    assert json.loads(paths[2].read_text()) == {"title": "A & B", "command": "make x", "k": 1}
