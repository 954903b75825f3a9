"""Figures 2 and 3 (matplotlib, extra `study`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iter_lightning.errors import ConfigError
from iter_lightning.study.runs import corpus_title

if TYPE_CHECKING:
    from iter_lightning.study.link_threshold import Curves
    from iter_lightning.timing import Measured

PRECISION, RECALL = "#1b6ca8", "#c8553d"
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#4a4a4a")
MARKERS = ("^", "v", "x", "o", "s", "D")


def draw_link_curves(groups: Mapping[tuple[str, str], Sequence[Curves]], path: Path) -> None:
    """Precision and recall over lambda, a panel a cell; see `link_threshold.write_figure2`."""
    plt = _pyplot()
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 4.0 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis, ((corpus, row), curves) in zip(axes.flat, groups.items(), strict=False):
        thresholds = [point["lambda"] for point in curves[0].points["test"]]
        for score, colour in (("precision", PRECISION), ("recall", RECALL)):
            lines = np.array([[100 * p["RE+"][score] for p in c.points["test"]] for c in curves])
            axis.plot(thresholds, lines.T, color=colour, alpha=0.3, linewidth=0.8)
            axis.plot(thresholds, lines.mean(axis=0), color=colour, linewidth=2.2, label=score)
        for place, chosen in enumerate(sorted(c.chosen for c in curves)):
            axis.axvline(chosen, color="0.35", linewidth=0.9, linestyle="--", label="" if place else "λ chosen on dev")
        axis.set(
            xlabel="λ", ylabel="RE+ on test, %", xlim=(0, 1), title=f"{corpus_title(corpus)} · {row} · {_runs(curves)}"
        )
        axis.grid(alpha=0.25)
        axis.legend(frameon=False)
    figure.savefig(path, dpi=160)
    plt.close(figure)


def draw_throughput(measured: Mapping[str, Sequence[Measured]], device: str, path: Path) -> None:
    """Sentences a second over sequence length, a line a model; see `throughput.write_throughput`."""
    plt = _pyplot()
    from matplotlib.ticker import LogLocator

    figure, axis = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    for place, (label, points) in enumerate(measured.items()):
        lengths = [point.subwords for point in points]
        axis.plot(lengths, [point.median for point in points], marker=MARKERS[place % len(MARKERS)],
                  color=COLOURS[place % len(COLOURS)], label=label)  # fmt: skip
        axis.fill_between(lengths, [p.low for p in points], [p.high for p in points],
                          color=COLOURS[place % len(COLOURS)], alpha=0.15)  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="sequence length, subwords", ylabel="samples per second",
             title=f"Throughput on {device}")  # fmt: skip
    ticks = sorted({point.subwords for points in measured.values() for point in points})
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=160)
    plt.close(figure)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("figures need matplotlib: pip install 'iter-lightning[study]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _runs(curves: Sequence[Any]) -> str:
    return f"{len(curves)} run{'s' if len(curves) > 1 else ''}"
