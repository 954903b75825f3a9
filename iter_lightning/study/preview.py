"""A picture of the dashboard, drawn from local run folders: a preview of what W&B shows of the same runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.study.dashboard import COLUMNS, INSTALL, Definition, Panel
from iter_lightning.training.run import RunFolder
from iter_lightning.training.summary import curve_rows, scalars, tables

MOST_RUNS = 10
"""As many as W&B shows in a panel."""
_STYLES = ("-", "--", ":")
_WIDTH, _HEIGHT = 4.8, 3.4
"""Of a panel, in inches."""
_NUMBERED = 16
"""Types up to which the cells of a confusion have room for numbers."""


@dataclass(frozen=True)
class LocalRun:
    """What one run folder has to show."""

    name: str
    epochs: list[dict[str, Any]]
    """Lines of metrics.jsonl."""
    curve: list[dict[str, float]]
    """A row a lambda; empty without an analysis."""
    values: dict[str, float]
    """Single values."""
    tables: dict[str, tuple[list[str], list[list[Any]]]]
    """Name -> columns and rows."""

    def line(self, x: str, y: str) -> tuple[list[float], list[float]]:
        """The points of a metric that have both."""
        points = [(row[x], row[y]) for row in [*self.epochs, *self.curve] if x in row and y in row]
        return [point[0] for point in points], [point[1] for point in points]


def local_runs(folder: Path) -> list[LocalRun]:
    """The runs anywhere under a folder, in the order of their paths.

    Raises:
        ConfigError: there is none, or a file is damaged.
    """
    runs = []
    for metrics in sorted(folder.rglob("metrics.jsonl")):
        run = RunFolder(metrics.parent)
        epochs, analysis = run.read_metrics(), run.analysis
        try:
            shown = (curve_rows(analysis), scalars(analysis), tables(analysis)) if analysis else ([], {}, {})
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(f"{run.analysis_file} is damaged ({reason}); remove it to go on without it") from error
        runs.append(LocalRun(str(run.path.relative_to(folder)), epochs, *shown))
    if not runs:
        raise ConfigError(f"no run in {folder}: no metrics.jsonl anywhere in it")
    return runs


def draw(definition: Definition, folder: Path, file: Path) -> None:
    """Draw the definition's panels from the runs under `folder`, one axes a panel.

    Lines and bars show all runs, at most `MOST_RUNS`; types, tables and confusions the first that has them. Panels of
    which run folders hold nothing (W&B's own comparer, a table that is only logged) are left out.

    Raises:
        ConfigError: no run, or matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(INSTALL) from error
    found = local_runs(folder)
    runs = found[:MOST_RUNS]
    shown = [(section.name, [p for p in section.panels if _has_data(p, runs)]) for section in definition.sections]
    shown = [(name, panels) for name, panels in shown if panels]
    rows = [-(-len(panels) // COLUMNS) for _, panels in shown]
    high = [row * max(_height(p, runs) for p in panels) + 0.4 for row, (_, panels) in zip(rows, shown, strict=True)]
    heights = [0.4 + 0.22 * -(-len(runs) // COLUMNS), *high]
    figure = Figure(figsize=(COLUMNS * _WIDTH, sum(heights)), layout="constrained")
    head, *parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _legend(head, runs, len(found))
    for part, (name, panels), row in zip(parts, shown, rows, strict=True):
        part.suptitle(name, x=0.01, ha="left", fontsize=13, fontweight="bold")
        axes = part.subplots(row, COLUMNS, squeeze=False).ravel()
        for panel, ax in zip(panels, axes, strict=False):
            ax.set_title(panel.title, fontsize=10)
            _DRAW[panel.kind](ax, panel, runs)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, facecolor="white", format="png")


def _has_data(panel: Panel, runs: Sequence[LocalRun]) -> bool:
    if panel.kind == "lines":
        return any(_points(run, panel, y)[1] for run in runs for y in panel.y)
    if panel.kind == "bars":
        return any(y in run.values for run in runs for y in panel.y)
    return any(panel.table in run.tables for run in runs)


def _height(panel: Panel, runs: Sequence[LocalRun]) -> float:
    """Inches that a panel needs for as many types as it shows."""
    if panel.kind in ("lines", "bars"):
        return _HEIGHT
    rows = len(_first(panel, runs)[2])
    return max(_HEIGHT, 0.9 + (0.22 * rows**0.5 if panel.kind == "confusion" else 0.15 * rows))


def _points(run: LocalRun, panel: Panel, y: str) -> tuple[list[float], list[float]]:
    """A line of the panel; what W&B has by step, a run folder has by epoch."""
    return run.line(panel.x, y) if run.line(panel.x, y)[0] else run.line("epoch", y)


def _legend(head: Any, runs: Sequence[LocalRun], found: int) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=f"C{i}", linewidth=3, label=run.name) for i, run in enumerate(runs)]
    more = f" (the first {len(runs)} of {found} runs)" if found > len(runs) else ""
    head.legend(handles=lines, loc="upper left", ncols=COLUMNS, fontsize=10, frameon=False, title=f"Runs{more}",
                alignment="left", title_fontproperties={"weight": "bold", "size": 13})  # fmt: skip


def _lines(ax: Any, panel: Panel, runs: Sequence[LocalRun]) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    for i, run in enumerate(runs):
        for y, style in zip(panel.y, _STYLES, strict=False):
            ax.plot(*_points(run, panel, y), color=f"C{i}", linestyle=style, linewidth=1.6, marker=".", markersize=4)
    by_epoch = not any(run.line(panel.x, y)[0] for run in runs for y in panel.y) or panel.x == "epoch"
    if by_epoch:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if panel.log_y:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("epoch" if by_epoch else panel.x_label)
    ax.set_ylabel(panel.y_label)
    ax.grid(alpha=0.3)
    if len(panel.y) > 1:
        for y, style in zip(panel.y, _STYLES, strict=False):
            ax.plot([], [], color="0.3", linestyle=style, label=y)
        ax.legend(fontsize=8)


def _bars(ax: Any, panel: Panel, runs: Sequence[LocalRun]) -> None:
    for i, run in enumerate(runs):
        for y in panel.y:
            if y in run.values:
                bar = ax.barh(run.name, run.values[y], color=f"C{i}")
                ax.bar_label(bar, fmt="{:,.3g}" if run.values[y] < 10 else "{:,.0f}", padding=3, fontsize=8)
    ax.set_ylim(max(3.5, len(runs) - 0.5), -0.5)  # a lone bar is no wall
    ax.margins(x=0.15)
    ax.set_xlabel(panel.x_label)
    ax.tick_params(axis="y", labelsize=8)


def _first(panel: Panel, runs: Sequence[LocalRun]) -> tuple[LocalRun, list[str], list[list[Any]]]:
    run = next(run for run in runs if panel.table in run.tables)
    return run, *run.tables[panel.table]


def _types(ax: Any, panel: Panel, runs: Sequence[LocalRun]) -> None:
    run, columns, rows = _first(panel, runs)
    tasks = list(dict.fromkeys(row[columns.index("task")] for row in rows))
    for row in rows:
        values = dict(zip(columns, row, strict=True))
        ax.barh(values["label"], values["f1"], color=f"C{tasks.index(values['task'])}", alpha=0.75)
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel(panel.x_label)
    ax.set_title(f"{panel.title} · {run.name}", fontsize=10)
    ax.tick_params(axis="y", labelsize=7)
    ax.margins(y=0.01)


def _confusion(ax: Any, panel: Panel, runs: Sequence[LocalRun]) -> None:
    run, _, cells = _first(panel, runs)
    rows, columns = (list(dict.fromkeys(cell[i] for cell in cells)) for i in (0, 1))
    counts = [[cells[len(columns) * r + c][2] for c in range(len(columns))] for r in range(len(rows))]
    shares = [[count / max(1, sum(line)) for count in line] for line in counts]
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    size = max(4, min(8, 200 // len(rows)))
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    ax.set_yticks(range(len(rows)), rows, fontsize=size)
    ax.set_xlabel(panel.x_label)
    ax.set_ylabel(panel.y_label)
    ax.set_title(f"{panel.title} · {run.name}", fontsize=10)
    if len(rows) <= _NUMBERED:
        for r, line in enumerate(counts):
            for c, count in enumerate(line):
                if count:
                    ax.text(c, r, count, ha="center", va="center", fontsize=size,
                            color="white" if shares[r][c] > 0.6 else "black")  # fmt: skip


def _table(ax: Any, panel: Panel, runs: Sequence[LocalRun]) -> None:
    run, columns, rows = _first(panel, runs)
    shown = [i for i, name in enumerate(columns) if name != "label"]  # which is the task and the type
    lines = [[row[i] for i in shown] for row in [columns, *rows]]
    cells = [[f"{value:.2f}" if isinstance(value, float) else str(value) for value in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    ax.text(
        0, 1, "\n".join(text), family="monospace", fontsize=min(8.0, 540 / len(text[0])), va="top",
        transform=ax.transAxes, in_layout=False,
    )  # fmt: skip
    ax.set_title(f"{panel.title} · {run.name}", fontsize=10)
    ax.set_axis_off()


_DRAW: dict[str, Callable[[Any, Panel, Sequence[LocalRun]], None]] = {
    "lines": _lines, "bars": _bars, "types": _types, "confusion": _confusion, "table": _table,
}  # fmt: skip
