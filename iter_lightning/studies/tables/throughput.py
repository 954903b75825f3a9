"""Table 3 and Figure 3: how many sentences a second finished models read on this machine.

Measured from words to `Prediction`s, tokenization and batching included (the paper times the model call alone).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iter_lightning.errors import ConfigError
from iter_lightning.model.inference import InferenceOptions, prepare
from iter_lightning.studies.runs.stored import commits_of, gaps, load_model, splits_of
from iter_lightning.studies.runs.survey import Run
from iter_lightning.studies.tables.published import corpus_title, published
from iter_lightning.studies.tables.render import DASH, Grid, Report, pyplot, write_report
from iter_lightning.timing import Measured, measure, samples_of_length

if TYPE_CHECKING:
    from iter_lightning.model import IterModel

LENGTHS = (32, 64, 128, 256, 512)
"""Subwords of a sentence in Figure 3."""
PASSES = 5


def write_table3(
    runs: Sequence[Run], folder: Path, data_dir: Path, command: str, batch_sizes: Sequence[int] = (8, 64)
) -> list[Path]:
    """Write `table3.md`, `.tex` and `.json`: each cell's first finished run on its test split, beside the paper's.

    Raises:
        ConfigError: No finished run.
    """
    rows, data = [], []
    for run in _first_of_each_cell(runs):
        model, device, millions = _load(run)
        examples = splits_of(run.folder, data_dir)["test"]
        lengths = [sum(map(len, encoded.windows)) for encoded in model.aligner().encode(list(examples))]
        for size in batch_sizes:
            found = measure(
                partial(model.predict, examples, size), len(examples), round(np.mean(lengths)), size, PASSES
            )
            data.append({"corpus": run.spec.corpus, "row": run.spec.row, "device": device, **asdict(found)})
            rows.append((
                corpus_title(run.spec.corpus), run.spec.row, millions, f"{found.median:.0f}",
                f"{found.low:.0f} – {found.high:.0f}", str(size),
                f"{min(lengths)} / {max(lengths)} / {np.mean(lengths):.0f}", device,
                ", ".join(commits_of([run.manifest])),
            ))  # fmt: skip
    columns = ("corpus", "encoder", "parameters", "samples/s", "min – max", "batch", "subwords min / max / mean",
               "device", "commit")  # fmt: skip
    intro = (
        f"Samples a second on the test split, median of {PASSES} passes after one that is not counted. Ours is from "
        "words to predictions, with tokenization, sorting and batching. The paper times the model call alone, on "
        "other hardware, so its numbers are a reference and not comparable."
    )
    grids = (Grid("Measured here", columns, tuple(rows)), _paper_grid())
    return write_report(Report("table3", "Table 3: throughput", command, intro, grids, (), {"measured": data}), folder)


def write_figure3(
    runs: Sequence[Run], folder: Path, data_dir: Path, command: str, batch_size: int = 8
) -> list[Path]:  # fmt: skip
    """Write `figure3.png`, `.md`, `.tex` and `.json`: throughput over sequence length, a line for each finished cell.

    Sentences of a given length are test sentences of the corpus, strung together and cut.

    Raises:
        ConfigError: No finished run.
    """
    measured: dict[str, list[Measured]] = {}
    device, manifests = "", []
    for run in _first_of_each_cell(runs):
        model, device, millions = _load(run)
        label = f"{run.spec.row} on {corpus_title(run.spec.corpus)}, {millions}"
        examples = splits_of(run.folder, data_dir)["test"]
        manifests.append(run.manifest)
        for length in (n for n in LENGTHS if n <= model.max_subwords):
            cut = samples_of_length(model, examples, length, count=max(batch_size, 2048 // length))
            found = measure(partial(model.predict, cut, batch_size), len(cut), length, batch_size, PASSES)
            measured.setdefault(label, []).append(found)
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "figure3.png"
    draw(measured, device, picture)
    columns = ("model", "subwords", "samples/s", "min – max", "subwords/s", "samples a pass")
    rows = tuple(
        (label, str(p.subwords), f"{p.median:.1f}", f"{p.low:.1f} – {p.high:.1f}", f"{p.median * p.subwords:.0f}",
         str(p.samples))
        for label, points in measured.items() for p in points
    )  # fmt: skip
    intro = (
        f"Samples a second over sequence length, batches of {batch_size}, on {device}: median of {PASSES} passes "
        "(line), fastest and slowest (band), with tokenization. Samples are test sentences strung together and cut "
        f"to length. Runs at commit {', '.join(commits_of(manifests))}."
    )
    data = {"device": device, "measured": {label: [asdict(p) for p in points] for label, points in measured.items()}}
    report = Report("figure3", "Figure 3: throughput over sequence length", command, intro,
                    (Grid("", columns, rows),), (), data, "figure3.png")  # fmt: skip
    return [picture, *write_report(report, folder)]


def draw(measured: Mapping[str, Sequence[Measured]], device: str, path: Path) -> None:
    """Draw sentences a second over sequence length, a line a model."""
    plt = pyplot()
    from matplotlib.ticker import LogLocator

    figure, axis = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    for label, points in measured.items():
        lengths = [point.subwords for point in points]
        axis.plot(lengths, [point.median for point in points], marker="o", label=label)
        axis.fill_between(lengths, [p.low for p in points], [p.high for p in points], alpha=0.15)
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


def _load(run: Run) -> tuple[IterModel, str, str]:
    """The model, prepared for inference, the device, and the number of parameters."""
    model, device = load_model(run.folder)
    millions = f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M"
    prepare(model, InferenceOptions())  # counts before it: packed weights are not parameters
    return model, device, millions


def _first_of_each_cell(runs: Sequence[Run]) -> list[Run]:
    found: dict[tuple[str, str], Run] = {}
    for run in runs:
        if run.usable and not gaps(run.manifest):
            found.setdefault((run.spec.corpus, run.spec.row), run)
    if not found:
        raise ConfigError("throughput is measured on finished runs, and there are none; run table2 first")
    return list(found.values())


def _paper_grid() -> Grid:
    columns = ("corpus", "model", "parameters", "samples/s", "batch", "device", "tokens min / max / mean")
    rows = []
    for entry in published()["table3"]:
        tokens = entry.get("tokens") or {}
        where = " ".join(f"{entry[key]} {key}" for key in ("level", "context") if entry.get(key))
        rows.append((
            f"{corpus_title(entry['corpus'])} {where}".strip(), str(entry["model"]), str(entry["parameters"]),
            f"{entry['samples_per_second']:g}", str(entry.get("batch_size") or ""), str(entry.get("device") or ""),
            " / ".join(DASH if tokens.get(k) is None else str(tokens[k]) for k in ("min", "max", "avg")),
        ))  # fmt: skip
    return Grid("From the paper", columns, tuple(rows))
