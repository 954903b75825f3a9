"""The dashboard's definition, the W&B objects made of it, and the picture; no key, no network."""

from __future__ import annotations

import builtins
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.metrics import LINK_THRESHOLDS
from iter_lightning.study import dashboard
from iter_lightning.study.dashboard import KINDS, Panel, build, load_definition, main, specifications
from iter_lightning.study.preview import MOST_RUNS, local_runs
from iter_lightning.training.summary import curve_rows, scalars, tables

pytest.importorskip("wandb_workspaces")
pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no netrc


def scores(f1: float, support: int) -> dict[str, float]:
    return {"precision": f1, "recall": f1, "f1": f1, "tp": support // 2, "fp": 1, "fn": 1, "support": support}


def analysis(types: int = 3) -> dict[str, Any]:
    names = [f"Type_{i}" for i in range(types)]
    counts = [[7 if i == j else (i + j) % 3 for j in range(types + 1)] for i in range(types + 1)]
    matrix = {"rows": [*names, "spurious"], "columns": [*names, "missed"], "counts": counts}
    point = {"precision": 0.5, "recall": 0.4, "f1": 0.44}
    return {
        "link_curve": [{"lambda": threshold, "RE": point, "RE+": point} for threshold in LINK_THRESHOLDS],
        "best_link_threshold": 0.45,
        "per_type": {task: {name: scores(0.5, 10) for name in names} for task in ("NER", "RE", "RE+")},
        "confusion": {"NER": matrix, "RE+": matrix},
        "throughput": {"sentences_per_second": 50.0, "words_per_second": 1200.0},
    }


def write_run(folder: Path, epochs: int = 3, types: int = 3, analysed: bool = True) -> None:
    folder.mkdir(parents=True)
    losses = {f"train/{name}loss": 10.0 for name in ("", "left_", "span_", "link_")}
    dev = {f"dev/{task}_f1": 0.3 for task in ("ner", "re", "re_plus")}
    lines = [{"epoch": e, "lr/encoder": 1e-4, "lr/heads": 1e-3, **losses, **dev} for e in range(epochs)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if analysed:
        (folder / "analysis.json").write_text(json.dumps(analysis(types)))


def test_every_panel_shows_what_runs_log(tmp_path: Path) -> None:
    """Names in dashboard.yaml are names of metrics.jsonl, of the analysis, or of `PredictionTable`."""
    write_run(tmp_path / "run")
    (line, *_) = [json.loads(text) for text in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    found = analysis()
    logged = {*line, *curve_rows(found)[0], *scalars(found), "trainer/global_step"}
    known = {*tables(found), "dev/predictions"}
    for section in load_definition().sections:
        for panel in section.panels:
            assert set(panel.y) <= logged
            assert panel.kind != "lines" or panel.x in logged
            assert not panel.table or panel.table in known
    assert {panel.kind for section in load_definition().sections for panel in section.panels} == set(KINDS)


def test_dry_run_prints_all_panels(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--dry-run", "--project", "mine"])
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"workspace", "report"}
    for what in printed.values():
        text = json.dumps(what, ensure_ascii=False)
        for section in load_definition().sections:
            assert section.name in text
            for panel in section.panels:
                for name in (*panel.y, panel.table):
                    assert name in text, f"{panel.title}: {name}"
                if panel.kind not in ("table", "comparer"):  # W&B gives those no title
                    assert panel.title in text
        assert "Run Comparer" in text
        assert "wandb/confusion_matrix/v1" in text


def test_workspace_and_report_are_what_the_definition_says() -> None:
    definition = load_definition()
    workspace, report = build(definition, "me", "mine")
    assert (workspace.entity, workspace.project, workspace.name) == ("me", "mine", definition.title)
    assert [(s.name, len(s.panels)) for s in workspace.sections] == [
        (section.name, len(section.panels)) for section in definition.sections
    ]
    spec = specifications(workspace, report)["workspace"]["section"]
    (runs,) = spec["runSets"]
    assert [(key["section"], key["name"]) for key in runs["grouping"]] == [("run", "group"), ("run", "jobType")]
    grids = [block for block in report.blocks if type(block).__name__ == "PanelGrid"]
    assert [len(grid.panels) for grid in grids] == [len(section.panels) for section in definition.sections]
    for grid in grids:
        places = [(panel.layout.x, panel.layout.y) for panel in grid.panels]
        assert len(set(places)) == len(places)
        assert all(panel.layout.x + panel.layout.w <= 24 for panel in grid.panels)
        assert grid.runsets[0].groupby == ["Group", "JobType"]


def test_a_panel_is_checked() -> None:
    with pytest.raises(ConfigError, match="kind 'pie' is none of lines, bars"):
        Panel("pie", "Scores")
    for kind, needs in (("lines", "y"), ("bars", "y"), ("types", "table"), ("confusion", "table"), ("table", "table")):
        with pytest.raises(ConfigError, match=f"kind {kind} needs {needs}"):
            Panel(kind, "Scores")


def test_both_are_saved_and_their_addresses_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = []

    def save(built: Any) -> None:
        saved.append(type(built).__name__)

    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(dashboard, "save", save)
    for name in ("Workspace", "Report"):
        library = dashboard._library("workspaces" if name == "Workspace" else "reports.v2")
        monkeypatch.setattr(getattr(library, name), "url", property(lambda self: f"https://wandb/{self.project}"))
    main(["--entity", "me", "--project", "mine"])
    assert saved == ["Report", "Workspace"]
    assert capsys.readouterr().out == "https://wandb/mine\nhttps://wandb/mine\n"


def test_what_w_and_b_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def save(built: Any) -> None:
        raise wandb.errors.CommError("permission denied")

    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(dashboard, "save", save)
    with pytest.raises(ConfigError, match="W&B: permission denied"):
        main(["--entity", "me"])


def test_without_a_key_it_says_how_to_log_in() -> None:
    with pytest.raises(ConfigError, match=r"wandb login.*WANDB_API_KEY.*--dry-run"):
        main([])


@pytest.mark.parametrize("host", ["api.wandb.ai", "api.forge.coreweave.com"])
def test_a_key_that_wandb_login_keeps_is_found(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text(f"machine {host}\n  login user\n  password {'a' * 40}\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setattr(dashboard, "create", lambda *_: ["created"])
    main([])


@pytest.mark.parametrize(
    ("missing", "call"), [("wandb_workspaces", ["--dry-run"]), ("matplotlib", ["--picture=x.png"])]
)
def test_what_is_not_installed_is_told(missing: str, call: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def importing(name: str, *args: Any, **options: Any) -> Any:
        if name.split(".")[0] == missing:
            raise ImportError(name)
        return real(name, *args, **options)

    def import_module(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(builtins, "__import__", importing)
    monkeypatch.setattr(dashboard, "import_module", import_module)
    with pytest.raises(ConfigError, match=r"pip install 'iter-lightning\[dashboard\]'"):
        main(call)


# the picture ---------------------------------------------------------------------------------------------------------


def size(png: Path) -> tuple[int, int]:
    content = png.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_the_picture_is_drawn_from_run_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ade/fold0", "ade/fold1", "conll04/seed1"):
        write_run(tmp_path / "runs" / name, analysed=name != "ade/fold1")
    assert [run.name for run in local_runs(tmp_path / "runs")] == ["ade/fold0", "ade/fold1", "conll04/seed1"]
    png = tmp_path / "docs" / "dashboard.png"
    main(["--picture", str(png), "--runs", str(tmp_path / "runs")])
    assert capsys.readouterr().out.strip() == str(png)
    width, height = size(png)
    assert 1200 < width < 2000
    assert 1500 < height < 3500
    assert png.stat().st_size > 50_000


def test_runs_that_are_not_finished_or_have_many_types_are_drawn(tmp_path: Path) -> None:
    write_run(tmp_path / "early" / "run", analysed=False)
    main(["--picture", str(tmp_path / "early.png"), "--runs", str(tmp_path / "early")])
    write_run(tmp_path / "wide" / "run", types=20)
    for number in range(MOST_RUNS):
        write_run(tmp_path / "wide" / f"seed{number}", epochs=1)
    main(["--picture", str(tmp_path / "wide.png"), "--runs", str(tmp_path / "wide")])
    assert size(tmp_path / "early.png")[1] < size(tmp_path / "wide.png")[1]


def test_no_run_and_a_damaged_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run in .*: no metrics.jsonl anywhere in it"):
        main(["--picture", str(tmp_path / "x.png"), "--runs", str(tmp_path)])
    write_run(tmp_path / "run")
    (tmp_path / "run" / "analysis.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run/.* is damaged"):
        main(["--picture", str(tmp_path / "x.png"), "--runs", str(tmp_path)])
    assert not (tmp_path / "x.png").exists()
