"""`dashboard`: a W&B workspace and report of a project, built from `dashboard.yaml` beside this file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.resources import files
from typing import Any, Literal

import yaml

from iter_lightning.errors import ConfigError
from iter_lightning.studies.definitions import NO_OTHER_KEYS, validated

Kind = Literal["lines", "bars", "types", "confusion", "table", "comparer"]
COLUMNS = 3
"""Panels in a row."""
_GRID, _PANEL_HEIGHT = 24, 8
"""A report's width and a panel's height in its own units."""
INSTALL = "the dashboard needs wandb-workspaces: pip install 'iter-lightning[dashboard]'"


@dataclass(frozen=True)
class Panel:
    """One chart."""

    __pydantic_config__ = NO_OTHER_KEYS

    kind: Kind
    title: str
    x: str = "epoch"
    """Metric of the x axis of `lines`."""
    y: Sequence[str] = ()
    """Metrics of `lines` and `bars`."""
    table: str = ""
    """Logged table of `types`, `confusion` and `table`."""
    x_label: str = ""
    y_label: str = ""
    log_y: bool = False


@dataclass(frozen=True)
class Section:
    """Panels under one heading."""

    __pydantic_config__ = NO_OTHER_KEYS

    name: str
    text: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Definition:
    """The content of dashboard.yaml."""

    __pydantic_config__ = NO_OTHER_KEYS

    title: str
    text: str
    group_by: Sequence[str]
    """W&B's names of the keys by which runs are grouped, the outer one first."""
    columns: Sequence[str]
    """Columns pinned in the table of runs."""
    sections: Sequence[Section]


def load_definition() -> Definition:
    """Read dashboard.yaml."""
    content = yaml.safe_load(files("iter_lightning.studies").joinpath("dashboard.yaml").read_text(encoding="utf-8"))
    return validated(Definition, content, "dashboard.yaml")


def main(arguments: list[str]) -> None:
    """Create the W&B workspace and report, or print their definition.

    Raises:
        ConfigError: No key, wandb-workspaces is not installed, or W&B refuses.
    """
    parser = argparse.ArgumentParser(
        prog="python -m iter_lightning dashboard",
        description="Create a project's saved W&B workspace and report; each call makes new ones.",
    )
    parser.add_argument("--project", default="iter_lightning", help="W&B project (default: %(default)s)")
    parser.add_argument("--entity", help="W&B user or team (default: the key's own)")
    parser.add_argument("--dry-run", action="store_true", help="print the definition as JSON; needs no key or network")
    options = parser.parse_args(arguments)
    definition = load_definition()
    if options.dry_run:
        build(definition, options.entity or "ENTITY", options.project)  # reports what wandb-workspaces refuses
        print(json.dumps(asdict(definition), indent=1, ensure_ascii=False))
    else:
        _require_key()
        for url in create(definition, options.entity, options.project):
            print(url)


def build(definition: Definition, entity: str, project: str) -> tuple[Any, Any]:
    """Build the `Workspace` and the `Report` without saving them; needs no server.

    Raises:
        ConfigError: wandb-workspaces is not installed.
    """
    ws, wr = _library("workspaces"), _library("reports.v2")
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=definition.title,
        sections=[
            ws.Section(
                name=section.name,
                panels=[_wandb_panel(wr, panel) for panel in section.panels],
                is_open=True,
                layout_settings=ws.SectionLayoutSettings(columns=COLUMNS, rows=-(-len(section.panels) // COLUMNS)),
            )
            for section in definition.sections
        ],
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Metric(name) for name in definition.group_by], pinned_columns=list(definition.columns)
        ),
    )
    blocks: list[Any] = [wr.MarkdownBlock(text=definition.text)]
    for section in definition.sections:
        panels = [_wandb_panel(wr, panel, place) for place, panel in enumerate(section.panels)]
        runs = wr.Runset(groupby=list(definition.group_by))  # no project: the report's own
        blocks += [wr.H2(text=section.name), wr.MarkdownBlock(text=section.text),
                   wr.PanelGrid(runsets=[runs], panels=panels)]  # fmt: skip
    report = wr.Report(entity=entity, project=project, title=definition.title, blocks=blocks, width="fluid")
    return workspace, report


def _library(name: str) -> Any:
    """Import a module of wandb-workspaces, which is not typed."""
    try:
        return import_module(f"wandb_workspaces.{name}")
    except ImportError as error:
        raise ConfigError(INSTALL) from error


def _wandb_panel(wr: Any, panel: Panel, place: int = 0) -> Any:
    """A panel of `wr`, the module of wandb-workspaces' reports, at its place in a report's grid."""
    width = _GRID // COLUMNS
    row, column = divmod(place, COLUMNS)
    layout = wr.Layout(x=column * width, y=row * _PANEL_HEIGHT, w=width, h=_PANEL_HEIGHT)
    if panel.kind == "lines":
        return wr.LinePlot(
            title=panel.title, x=panel.x, y=list(panel.y), title_x=panel.x_label, title_y=panel.y_label,
            log_y=panel.log_y or None, layout=layout,
        )  # fmt: skip
    if panel.kind == "bars":
        return wr.BarPlot(title=panel.title, metrics=list(panel.y), title_x=panel.x_label, layout=layout)
    if panel.kind == "table":
        return wr.WeavePanelSummaryTable(table_name=panel.table, layout=layout)
    if panel.kind == "comparer":
        return wr.RunComparer(diff_only="split", layout=layout)
    chart, fields = {
        "types": ("wandb/bar/v0", {"label": "label", "value": "f1"}),
        "confusion": (
            "wandb/confusion_matrix/v1", {"Actual": "gold", "Predicted": "predicted", "nPredictions": "count"}
        ),
    }[panel.kind]  # fmt: skip
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": panel.table}}, chart_name=chart, chart_fields=fields,
        chart_strings={"title": panel.title}, layout=layout,
    )  # fmt: skip


def create(definition: Definition, entity: str | None, project: str) -> tuple[str, str]:
    """Save both in W&B and return their addresses.

    Raises:
        ConfigError: W&B refuses, or cannot be reached.
    """
    import wandb

    try:
        workspace, report = build(definition, entity or str(wandb.Api().default_entity), project)
        save(report)  # first, since it makes a project that does not exist
        save(workspace)
        return workspace.url, report.url
    except wandb.errors.Error as error:
        raise ConfigError(f"W&B: {error}") from error


def save(built: Any) -> None:
    """Send a workspace or a report to W&B."""
    built.save()


def _require_key() -> None:
    from iter_lightning.training.wandb import wandb_key

    if not wandb_key():
        raise ConfigError("no W&B key: run `wandb login`, or set WANDB_API_KEY; --dry-run needs none")
