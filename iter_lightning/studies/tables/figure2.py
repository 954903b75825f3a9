"""Figure 2: RE+ precision and recall over lambda; the lambda chosen on dev becomes the model's own.

`link_curves.json` of a run folder holds the curves of dev and test, made once from the exported model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iter_lightning.errors import ConfigError
from iter_lightning.json_files import CURVE, Shape, read_object
from iter_lightning.metrics import LINK_THRESHOLDS, EvaluationDefinition, best_threshold, link_curve
from iter_lightning.studies.runs.stored import commits_of, gaps, load_model, splits_of
from iter_lightning.studies.runs.survey import Run
from iter_lightning.studies.tables.published import corpus_title
from iter_lightning.studies.tables.render import Grid, Report, pyplot, write_report
from iter_lightning.training.run import RunFolder

CURVES: Shape = {f"{split}{'!' if not name else '.' + name}": kind for split in ("dev", "test")
                 for name, kind in CURVE.items()}  # fmt: skip
"""Layout of link_curves.json."""
_COLORS = {"precision": "#1b6ca8", "recall": "#c8553d"}


@dataclass(frozen=True)
class Curves:
    """The curves of one run."""

    run: Run
    points: dict[str, list[dict[str, Any]]]
    """dev and test -> a point a lambda, see `metrics.link_curve`."""
    chosen: float
    """The lambda with the best RE+ F1 on dev."""

    def at(self, split: str, threshold: float, score: str = "f1") -> float:
        """Return RE+ in percent at the point nearest to a lambda."""
        point = min(self.points[split], key=lambda p: abs(p["lambda"] - threshold))
        return 100 * float(point["RE+"][score])


Groups = Mapping[tuple[str, str], Sequence[Curves]]
"""(corpus, encoder) -> the curves of its runs."""


def write_figure2(runs: Sequence[Run], folder: Path, data_dir: Path, command: str) -> list[Path]:
    """Write `figure2.png`, `.md`, `.tex` and `.json`, and store each run's lambda in its exported model.

    Args:
        runs: Runs of any cells; each cell whose corpus has relations gets a panel.
        folder: Folder of the reports.
        data_dir: Folder of the corpora.
        command: The command that makes this report.

    Raises:
        ConfigError: No finished run has relations.
    """
    groups: dict[tuple[str, str], list[Curves]] = {}
    for run in runs:
        if run.state == "done" and not gaps(run.manifest) and (curves := curves_of(run, data_dir)) is not None:
            groups.setdefault((run.spec.corpus, run.spec.row), []).append(curves)
    if not groups:
        raise ConfigError("figure 2 needs finished runs on a corpus with relations; run table2 first")
    for curves in (c for group in groups.values() for c in group):
        store_threshold(curves.run.folder, curves.chosen)
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "figure2.png"
    draw(groups, picture)
    return [picture, *write_report(_report(groups, command), folder)]


def curves_of(run: Run, data_dir: Path) -> Curves | None:
    """Read a run's curves from its folder, or make them; None without relation types."""
    path = run.folder.path / "link_curves.json"
    points = read_object(path, "remove it; it is made again", CURVES)
    if not points:
        points = make_curves(run, data_dir)
        run.folder.write_json(path, points)
    return Curves(run, points, best_threshold(points["dev"])) if points["dev"] else None


def make_curves(run: Run, data_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """Predict dev and test once with the run's exported model."""
    splits = splits_of(run.folder, data_dir)
    model, _ = load_model(run.folder)
    definition = EvaluationDefinition(split_protocol=run.manifest["evaluation"]["split_protocol"])
    found = {split: model.predict(splits[split], link_threshold=LINK_THRESHOLDS[0]) for split in ("dev", "test")}
    return {split: link_curve(list(zip(splits[split], predicted, strict=True)), model.config.schema, definition)
            for split, predicted in found.items()}  # fmt: skip


def store_threshold(folder: RunFolder, threshold: float) -> None:
    """Set the lambda of the exported model, and record it in the manifest."""
    config = folder.model_config
    if config.get("link_threshold") != threshold:
        folder.write_json(folder.model / "config.json", {**config, "link_threshold": threshold})
    folder.update_manifest(link_threshold={"value": threshold, "chosen_on": "dev", "by": "RE+ F1"})


def draw(groups: Groups, path: Path) -> None:
    """Draw precision and recall over lambda, a panel a cell."""
    plt = pyplot()
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 4.0 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis, ((corpus, row), curves) in zip(axes.flat, groups.items(), strict=False):
        thresholds = [point["lambda"] for point in curves[0].points["test"]]
        for score, color in _COLORS.items():
            lines = np.array([[100 * p["RE+"][score] for p in c.points["test"]] for c in curves])
            axis.plot(thresholds, lines.T, color=color, alpha=0.3, linewidth=0.8)
            axis.plot(thresholds, lines.mean(axis=0), color=color, linewidth=2.2, label=score)
        for place, chosen in enumerate(sorted(c.chosen for c in curves)):
            axis.axvline(chosen, color="0.35", linewidth=0.9, linestyle="--", label="" if place else "λ chosen on dev")
        number = f"{len(curves)} run{'s' if len(curves) > 1 else ''}"
        title = f"{corpus_title(corpus)} · {row} · {number}"
        axis.set(xlabel="λ", ylabel="RE+ on test, %", xlim=(0, 1), title=title)
        axis.grid(alpha=0.25)
        axis.legend(frameon=False)
    figure.savefig(path, dpi=160)
    plt.close(figure)


def _report(groups: Groups, command: str) -> Report:
    columns = ("corpus", "encoder", "run", "λ", "dev F1 at 0.5", "dev F1 at λ", "test F1 at 0.5", "test F1 at λ",
               "test P at λ", "test R at λ", "commit")  # fmt: skip
    rows, data = [], []
    for (corpus, row), group in groups.items():
        for c in group:
            values = [c.at("dev", 0.5), c.at("dev", c.chosen), c.at("test", 0.5), c.at("test", c.chosen),
                      c.at("test", c.chosen, "precision"), c.at("test", c.chosen, "recall")]  # fmt: skip
            commit = ", ".join(commits_of([c.run.manifest]))
            rows.append((corpus, row, c.run.spec.part, f"{c.chosen:g}", *(f"{v:.1f}" for v in values), commit))
            data.append({"corpus": corpus, "row": row, "run": c.run.spec.name, "chosen": c.chosen, **c.points})
    intro = (
        "RE+ on the test split, micro, percent, over the link threshold λ of Eq. 6: a thin line for each run, a thick "
        "one for their mean. The dashed lines are each run's λ, chosen on dev by RE+ F1; it is stored in the exported "
        "model's config.json, which `predict`, `test` and `IterModel.from_pretrained` read. Predicted in float32; a "
        "run that was tested in mixed precision may score slightly differently in Table 2. The paper shows ACE05."
    )
    return Report("figure2", "Figure 2: RE+ precision and recall over λ", command, intro,
                  (Grid("λ of each run", columns, tuple(rows)),), (), {"runs": data}, "figure2.png")  # fmt: skip
