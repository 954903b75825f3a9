"""The dashboard's definition and the W&B objects made of it; no key, no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.metrics import LINK_THRESHOLDS
from iter_lightning.studies import dashboard
from iter_lightning.studies.dashboard import build, load_definition, main
from iter_lightning.training.summary import curve_rows, scalars, tables

pytest.importorskip("wandb_workspaces")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no netrc


@pytest.fixture
def logged() -> set[str]:
    """Names of everything that a run logs: metrics.jsonl, its analysis, `PredictionTable`."""
    score = {"precision": 0.5, "recall": 0.4, "f1": 0.44}
    matrix = {"rows": ["A", "spurious"], "columns": ["A", "missed"], "counts": [[7, 1], [1, 0]]}
    per_type = {"A": {**score, "tp": 5, "fp": 1, "fn": 1, "support": 10}}
    analysis = {
        "link_curve": [{"lambda": threshold, "RE": score, "RE+": score} for threshold in LINK_THRESHOLDS],
        "best_link_threshold": 0.45,
        "per_type": dict.fromkeys(("NER", "RE", "RE+"), per_type),
        "confusion": {"NER": matrix, "RE+": matrix},
        "throughput": {"sentences_per_second": 50.0, "words_per_second": 1200.0},
    }
    losses = [f"train/{name}loss" for name in ("", "left_", "span_", "link_")]
    epoch = ["epoch", "trainer/global_step", "lr/encoder", "lr/heads", "dev/ner_f1", "dev/re_f1", "dev/re_plus_f1"]
    return {*epoch, *losses, *curve_rows(analysis)[0], *scalars(analysis), *tables(analysis), "dev/predictions"}


def test_panels_show_only_what_runs_log(logged: set[str]) -> None:
    for section in load_definition().sections:
        for panel in section.panels:
            assert {*panel.y, *([panel.x] if panel.kind == "lines" else [])} <= logged
            assert not panel.table or panel.table in logged
            assert panel.y or panel.table or panel.kind == "comparer"


def test_dry_run_prints_the_definition_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--dry-run", "--project", "mine"])
    printed = json.loads(capsys.readouterr().out)
    assert [section["name"] for section in printed["sections"]] == [s.name for s in load_definition().sections]
    assert printed["sections"][0]["panels"][0]["y"] == ["dev/ner_f1"]


def test_build_definition_gives_workspace_and_report() -> None:
    definition = load_definition()
    workspace, report = build(definition, "me", "mine")
    assert (workspace.entity, workspace.project, workspace.name) == ("me", "mine", definition.title)
    assert [(s.name, len(s.panels)) for s in workspace.sections] == [
        (section.name, len(section.panels)) for section in definition.sections
    ]
    assert [metric.name for metric in workspace.runset_settings.groupby] == definition.group_by
    grids = [block for block in report.blocks if type(block).__name__ == "PanelGrid"]
    assert [len(grid.panels) for grid in grids] == [len(section.panels) for section in definition.sections]
    for grid in grids:
        places = [(panel.layout.x, panel.layout.y) for panel in grid.panels]
        assert len(set(places)) == len(places)
        assert all(panel.layout.x + panel.layout.w <= 24 for panel in grid.panels)
        assert grid.runsets[0].groupby == ["Group", "JobType"]


def test_main_with_a_key_saves_both_and_prints_their_addresses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = []
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(dashboard, "save", lambda built: saved.append(type(built).__name__))
    for module, name in (("workspaces", "Workspace"), ("reports.v2", "Report")):
        cls = getattr(dashboard._library(module), name)
        monkeypatch.setattr(cls, "url", property(lambda self: f"https://wandb/{self.project}"))
    main(["--entity", "me", "--project", "mine"])
    assert saved == ["Report", "Workspace"]
    assert capsys.readouterr().out == "https://wandb/mine\nhttps://wandb/mine\n"


def test_main_refused_by_wandb_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def save(built: Any) -> None:
        raise wandb.errors.CommError("permission denied")

    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(dashboard, "save", save)
    with pytest.raises(ConfigError, match="W&B: permission denied"):
        main(["--entity", "me"])


def test_main_without_a_key_says_how_to_log_in() -> None:
    with pytest.raises(ConfigError, match=r"wandb login.*WANDB_API_KEY.*--dry-run"):
        main([])


@pytest.mark.parametrize("host", ["api.wandb.ai", "api.forge.coreweave.com"])
def test_main_finds_the_key_that_wandb_login_keeps(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text(f"machine {host}\n  login user\n  password {'a' * 40}\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setattr(dashboard, "create", lambda *_: ["created"])
    main([])


def test_main_without_wandb_workspaces_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(dashboard, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'iter-lightning\[dashboard\]'"):
        main(["--dry-run"])
