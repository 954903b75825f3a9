"""Figure 2: RE+ precision and recall over lambda, the lambda chosen on dev, and that lambda put into the model.

link_curves.json of a run folder holds the curves of dev and test, made once from the exported model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.json_files import CURVE, Shape, read_object
from iter_lightning.metrics import LINK_THRESHOLDS, EvaluationDefinition, best_threshold, link_curve
from iter_lightning.studies.runs.survey import Run, commits_of, gaps, load_model, splits_of
from iter_lightning.studies.tables.render import Grid, Report, write_report
from iter_lightning.training.run import RunFolder

CURVES: Shape = {f"{split}{'!' if not name else '.' + name}": kind for split in ("dev", "test")
                 for name, kind in CURVE.items()}  # fmt: skip
"""What link_curves.json holds."""


@dataclass(frozen=True)
class Curves:
    """One run's curves."""

    run: Run
    points: dict[str, list[dict[str, Any]]]
    """dev and test -> a point a lambda, as `metrics.link_curve` gives them."""
    chosen: float
    """The lambda of the best RE+ F1 on dev."""

    def at(self, split: str, threshold: float, score: str = "f1") -> float:
        """RE+ in percent at the curve's point nearest to a lambda."""
        point = min(self.points[split], key=lambda p: abs(p["lambda"] - threshold))
        return 100 * float(point["RE+"][score])


def write_figure2(runs: Sequence[Run], folder: Path, data_dir: Path, store: bool = True) -> list[Path]:
    """Write `figure2.png`, `.md`, `.tex` and `.json` from the finished runs, and put each run's lambda into its model.

    Args:
        runs: of any cells; a panel is drawn for each cell whose corpus has relations.
        folder: of the reports.
        data_dir: of the corpora.
        store: whether the exported models get the lambda chosen on dev, which `predict` and `test` then use.

    Raises:
        ConfigError: no finished run has relations.
    """
    groups: dict[tuple[str, str], list[Curves]] = {}
    for run in runs:
        if run.state == "done" and not gaps(run.folder.manifest):
            curves = curves_of(run, data_dir)
            if curves is not None:
                groups.setdefault((run.spec.corpus, run.spec.row), []).append(curves)
    if not groups:
        raise ConfigError("figure 2 needs finished runs on a corpus with relations; there are none: run table2 first")
    if store:
        for curves in (c for group in groups.values() for c in group):
            store_threshold(curves.run.folder, curves.chosen)
    from iter_lightning.studies.tables.figures import draw_link_curves

    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "figure2.png"
    draw_link_curves(groups, picture)
    return [picture, *write_report(_report(groups), folder)]


def curves_of(run: Run, data_dir: Path) -> Curves | None:
    """A run's curves, from its folder or made now; None without relation types."""
    path = run.folder.path / "link_curves.json"
    points = read_object(path, "remove it; it is made again", CURVES)
    if not points:
        points = make_curves(run.folder, data_dir)
        run.folder.write_json(path, points)
    return Curves(run, points, best_threshold(points["dev"])) if points["dev"] else None


def make_curves(folder: RunFolder, data_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """Predict dev and test once with the run's exported model."""
    splits = splits_of(folder, data_dir)
    model, _ = load_model(folder)
    protocol = folder.manifest["evaluation"]["split_protocol"]
    schema, definition = model.config.schema, EvaluationDefinition(split_protocol=protocol)
    found = {split: model.predict(splits[split], link_threshold=LINK_THRESHOLDS[0]) for split in ("dev", "test")}
    return {split: link_curve(list(zip(splits[split], predicted, strict=True)), schema, definition)
            for split, predicted in found.items()}  # fmt: skip


def store_threshold(folder: RunFolder, threshold: float) -> None:
    """Make a lambda the exported model's own, and say so in the manifest."""
    config = folder.model_config
    if config.get("link_threshold") != threshold:
        folder.write_json(folder.model / "config.json", {**config, "link_threshold": threshold})
    folder.update_manifest(link_threshold={"value": threshold, "chosen_on": "dev", "by": "RE+ F1"})


def _report(groups: dict[tuple[str, str], list[Curves]]) -> Report:
    columns = ("corpus", "encoder", "run", "λ", "dev F1 at 0.5", "dev F1 at λ", "test F1 at 0.5", "test F1 at λ",
               "test P at λ", "test R at λ", "commit")  # fmt: skip
    rows = []
    for (corpus, row), group in groups.items():
        for c in group:
            values = [c.at("dev", 0.5), c.at("dev", c.chosen), c.at("test", 0.5), c.at("test", c.chosen),
                      c.at("test", c.chosen, "precision"), c.at("test", c.chosen, "recall")]  # fmt: skip
            commit = ", ".join(commits_of([c.run.folder]))
            rows.append((corpus, row, c.run.spec.part, f"{c.chosen:g}", *(f"{v:.1f}" for v in values), commit))
    intro = (
        "RE+ on the test split, micro, percent, over the link threshold λ of Eq. 6: a thin line a run, a thick one "
        "their mean. The dashed lines are each run's λ, chosen on dev by RE+ F1; it is stored in the exported model's "
        "config.json, which `predict`, `test` and `IterModel.from_pretrained` read. Predicted in float32; a run "
        "that was tested in mixed precision may score a little otherwise in Table 2. The paper draws this for ACE05."
    )
    data = {"runs": [{"corpus": corpus, "row": row, "run": c.run.spec.name, "chosen": c.chosen, **c.points}
                     for (corpus, row), group in groups.items() for c in group]}  # fmt: skip
    return Report("figure2", "Figure 2: RE+ precision and recall over λ", "python -m iter_lightning reproduce figure2",
                  intro, (Grid("λ of each run", columns, tuple(rows)),), (), data, "figure2.png")  # fmt: skip
