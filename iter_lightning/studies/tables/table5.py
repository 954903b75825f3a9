"""Table 5: the hyperparameters of the experiments and of finished sweeps, beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iter_lightning.json_files import read_object
from iter_lightning.studies.tables.published import corpus_title, published
from iter_lightning.studies.tables.render import DASH, Grid, Report, write_report
from iter_lightning.training.extends import lookup, merged

GROUPS = {"encoder": "encoder_group", "heads": "head_group"}
"""The two halves of the paper's table -> options of the model."""
SETTINGS = ("learning_rate", "schedule", "warmup_ratio", "weight_decay")


def write_table5(folder: Path, experiments: Path, runs_dir: Path, command: str) -> list[Path]:
    """Write `table5.md`, `.tex` and `.json`.

    Args:
        folder: Folder of the reports.
        experiments: Folder of the experiments' YAML files.
        runs_dir: Finished sweeps are in `sweeps/NAME` below it.
        command: The command that makes this report.
    """
    kinds = [f"{half} {what}" for half in GROUPS for what in ("LR", "schedule", "warm-up", "decay")]
    columns = ("corpus", "source", *kinds, "batch", "activation")
    rows, differing, data = [], [], {}
    for corpus, paper in published()["table5"].items():
        ours = hyperparameters(merged(experiments / f"{corpus}.yaml"))
        data[corpus] = {"paper": paper, "ours": ours}
        rows.append((corpus_title(corpus), "paper", *_shown(paper)))
        rows.append((corpus_title(corpus), f"{corpus}.yaml", *_shown(ours)))
        differing += [f"{corpus_title(corpus)}: {line}" for line in differences(paper, ours)]
    for path in sorted(runs_dir.glob("sweeps/*/report.json")):
        data[f"sweep {path.parent.name}"] = read_object(path, "remove it; `sweep` writes it again")
        incumbent = path.parent / "incumbent.yaml"
        if incumbent.exists():
            rows.append((path.parent.name, "sweep", *_shown(hyperparameters(merged(incumbent)))))
    notes = differing or ["the experiments' settings are those of Table 5"]
    intro = (
        "LR: peak learning rate of AdamW; warm-up in shares of all steps. Rows of source `sweep` are the best trials "
        "of `python -m iter_lightning sweep` on dev; each sweep has a report of its own."
    )
    report = Report("table5", "Table 5: hyperparameters", command, intro, (Grid("", columns, tuple(rows)),),
                    tuple(notes), {"settings": data})  # fmt: skip
    return write_report(report, folder)


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of Table 5 from an experiment's configuration."""
    halves = {half: {key: _number(value) for key in SETTINGS
                     if (value := lookup(config, f"model.{option}.{key}")) is not None}
              for half, option in GROUPS.items()}  # fmt: skip
    return {**halves, "batch_size": lookup(config, "data.init_args.batch_size"),
            "activation": lookup(config, "model.activation")}  # fmt: skip


def _shown(values: Mapping[str, Any]) -> list[str]:
    cells = []
    for half in GROUPS:
        found = values[half]
        cells += [f"{found['learning_rate']:g}" if "learning_rate" in found else DASH, str(found.get("schedule", DASH)),
                  f"{100 * found['warmup_ratio']:g} %" if "warmup_ratio" in found else DASH,
                  f"{found['weight_decay']:g}" if "weight_decay" in found else DASH]  # fmt: skip
    return [*cells, str(values.get("batch_size")), str(values.get("activation"))]


def differences(paper: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return a line for each value of an experiment that differs from what the paper prints."""
    pairs = [(f"{half} {key}", paper[half].get(key), ours[half].get(key)) for half in GROUPS for key in SETTINGS]
    pairs += [(key, paper.get(key), ours.get(key)) for key in ("batch_size", "activation")]
    return [f"{name} is {mine}, the paper's is {theirs}" for name, theirs, mine in pairs
            if _plain(theirs) != _plain(mine)]  # fmt: skip


def _plain(value: Any) -> str:
    """A value for comparison; the paper's `linear with warmup` is our `linear` with a warm-up ratio."""
    return str(value).lower().removesuffix(" with warmup")


def _number(value: Any) -> Any:
    """A number; PyYAML reads 1e-4 as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
