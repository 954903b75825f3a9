"""Table 3 and Figure 3: how many sentences a second finished models read, on this machine.

Measured from words to `Prediction`s, tokenisation and batching included (the paper times the model call alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iter_lightning.errors import ConfigError
from iter_lightning.model.inference import InferenceOptions, prepare
from iter_lightning.study.published import published
from iter_lightning.study.render import Grid, Report, write_report
from iter_lightning.study.runs import Run, commits_of, corpus_title, gaps, load_model, splits_of
from iter_lightning.timing import Measured, measure, samples_of_length
from iter_lightning.types import Example

if TYPE_CHECKING:
    from iter_lightning.model import IterModel

LENGTHS = (32, 64, 128, 256, 512)
"""Subwords of a sentence in Figure 3."""
PASSES = 5


def write_table3(runs: Sequence[Run], folder: Path, data_dir: Path, batch_sizes: Sequence[int] = (8, 64)) -> list[Path]:
    """Write `table3.md`, `.tex` and `.json`: each cell's first finished run on its test split, beside the paper's.

    Raises:
        ConfigError: no finished run.
    """
    rows, data = [], []
    for run in _one_a_cell(runs):
        model, device = load_model(run.folder)
        millions = _millions(model)
        prepare(model, InferenceOptions())  # after which weights are no parameters
        examples = splits_of(run.folder, data_dir)["test"]
        lengths = _lengths(model, examples)
        for size in batch_sizes:
            found = measure(
                partial(model.predict, examples, size), len(examples), round(np.mean(lengths)), size, PASSES
            )
            data.append({"corpus": run.spec.corpus, "row": run.spec.row, "device": device, **asdict(found)})
            rows.append((
                corpus_title(run.spec.corpus), run.spec.row, f"{millions} M", f"{found.median:.0f}",
                f"{found.low:.0f} – {found.high:.0f}", str(size),
                f"{min(lengths)} / {max(lengths)} / {np.mean(lengths):.0f}", device,
                ", ".join(commits_of([run.folder])),
            ))  # fmt: skip
    columns = ("corpus", "encoder", "parameters", "samples/s", "min – max", "batch", "subwords min / max / mean",
               "device", "commit")  # fmt: skip
    intro = (
        f"Samples a second on the test split, median of {PASSES} passes after one that is not counted. Ours is from "
        "words to predictions, tokenisation, sorting and batching included; the paper times the model call alone, on "
        "other hardware, so that its numbers stand here for reference and not for comparison."
    )
    grids = (Grid("Measured here", columns, tuple(rows)), _paper_grid())
    report = Report("table3", "Table 3: throughput", "python -m iter_lightning reproduce table3", intro, grids, (),
                    {"measured": data})  # fmt: skip
    return write_report(report, folder)


def write_figure3(runs: Sequence[Run], folder: Path, data_dir: Path, batch_size: int = 8) -> list[Path]:
    """Write `figure3.png`, `.md`, `.tex` and `.json`: throughput over sequence length, a line a finished cell.

    Sentences of a length are made of the corpus's test sentences, strung together and cut.

    Raises:
        ConfigError: no finished run.
    """
    from iter_lightning.study.figures import draw_throughput

    measured: dict[str, list[Measured]] = {}
    device, commits = "", []
    for run in _one_a_cell(runs):
        model, device = load_model(run.folder)
        millions = _millions(model)
        prepare(model, InferenceOptions())  # after which weights are no parameters
        label = f"{run.spec.row} on {corpus_title(run.spec.corpus)}, {millions} M"
        examples = splits_of(run.folder, data_dir)["test"]
        commits += commits_of([run.folder])
        for length in (n for n in LENGTHS if n <= model.max_subwords):
            cut = samples_of_length(model, examples, length, count=max(batch_size, 2048 // length))
            found = measure(partial(model.predict, cut, batch_size), len(cut), length, batch_size, PASSES)
            measured.setdefault(label, []).append(found)
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "figure3.png"
    draw_throughput(measured, device, picture)
    columns = ("model", "subwords", "samples/s", "min – max", "subwords/s", "samples a pass")
    rows = tuple(
        (label, str(p.subwords), f"{p.median:.1f}", f"{p.low:.1f} – {p.high:.1f}", f"{p.median * p.subwords:.0f}",
         str(p.samples))
        for label, points in measured.items() for p in points
    )  # fmt: skip
    intro = (
        f"Samples a second over sequence length, batches of {batch_size}, on {device}: median of {PASSES} passes "
        "(line), fastest and slowest (band), tokenisation included. Samples are test sentences strung together and cut "
        f"to length. Runs at commit {', '.join(sorted(set(commits)))}."
    )
    data = {"device": device, "measured": {label: [asdict(p) for p in points] for label, points in measured.items()}}
    report = Report(
        "figure3", "Figure 3: throughput over sequence length", "python -m iter_lightning reproduce figure3", intro,
        (Grid("", columns, rows),), (), data, "figure3.png",
    )  # fmt: skip
    return [picture, *write_report(report, folder)]


def _length(encoded: Any) -> int:
    return sum(len(window) for window in encoded.windows)


def _lengths(model: IterModel, examples: Sequence[Example]) -> list[int]:
    return [_length(encoded) for encoded in model.aligner().encode(list(examples))]


def _one_a_cell(runs: Sequence[Run]) -> list[Run]:
    """The first finished run of each cell."""
    found: dict[tuple[str, str], Run] = {}
    for run in runs:
        if run.state in ("done", "trained") and not gaps(run.folder.manifest):
            found.setdefault((run.spec.corpus, run.spec.row), run)
    if not found:
        raise ConfigError("throughput is measured on finished runs; there are none: run table2 first")
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
            " / ".join("–" if tokens.get(k) is None else str(tokens[k]) for k in ("min", "max", "avg")),
        ))  # fmt: skip
    return Grid("The paper's", columns, tuple(rows))


def _millions(model: IterModel) -> str:
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}"
