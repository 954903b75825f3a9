"""What has become of runs: found by configuration, not by name; obstacles with their remedy; complete manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iter_lightning.studies.runs import obstacles
from iter_lightning.studies.runs.plan import RunSpec, load_plan, select
from iter_lightning.studies.runs.survey import Survey, best_of, by_reason
from iter_lightning.studies.tables.cells import make_cell
from tests.studies.builders import manifest_of, write_plan, write_run

pytestmark = pytest.mark.usefixtures("settings_are_whole")

COUNTS = [{"NER": (1, 0, 0), "RE": (1, 0, 1), "RE+": (0, 1, 1)}]


@pytest.fixture
def specs(tmp_path: Path) -> list[RunSpec]:
    return select(load_plan(write_plan(tmp_path / "experiments", encoder=str(tmp_path))), encoders=["own"])


@pytest.fixture(autouse=True)
def _corpora_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstacles, "corpus_obstacle", lambda *_: "")


def states(specs: list[RunSpec], tmp_path: Path) -> list[str]:
    return [run.state for run in Survey(tmp_path / "runs", tmp_path / "data").runs(specs)]


def test_states(specs: list[RunSpec], tmp_path: Path) -> None:
    assert states(specs, tmp_path) == ["new"] * 4
    folders = [tmp_path / "runs" / spec.name for spec in specs]
    write_run(folders[0], manifest_of(specs[0]), COUNTS)
    write_run(folders[1], manifest_of(specs[1], status="running"))
    write_run(folders[2], manifest_of(specs[2]))
    assert states(specs, tmp_path) == ["done", "started", "trained", "new"]
    # results of a version that kept no counts of sentences: tested again
    (folders[0] / "test_sentences.jsonl").unlink()
    assert states(specs, tmp_path)[0] == "trained"


def test_scores_of_an_unfinished_run_count_only_where_allowed(specs: list[RunSpec], tmp_path: Path) -> None:
    folder = tmp_path / "runs" / specs[0].name
    run = write_run(folder, manifest_of(specs[0], status="running", best=None, seconds=None), COUNTS)
    run.add_results("test", run.read_results()["test"], unfinished=True)
    assert states(specs, tmp_path)[0] == "started"
    allowed = Survey(tmp_path / "runs", tmp_path / "data").runs(specs[:1], allow_unfinished=True)
    assert [(run.state, run.unfinished) for run in allowed] == [("done", True)]
    cell = make_cell(allowed, "NER")
    assert cell.scores
    assert cell.notes == (f"not finished, so these scores may change: {specs[0].name}",)
    run.update_manifest(**manifest_of(specs[0]))  # finished since: the scores are those of an earlier model
    assert states(specs, tmp_path)[0] == "trained"


def test_a_run_counts_wherever_it_lies(specs: list[RunSpec], tmp_path: Path) -> None:
    manifest = manifest_of(specs[0])
    manifest["config"]["experiment"] = "called/otherwise"
    write_run(tmp_path / "runs" / "called" / "otherwise", manifest, COUNTS)
    found = Survey(tmp_path / "runs", tmp_path).runs(specs)
    assert [run.state for run in found] == ["done", "new", "new", "new"]
    assert found[0].folder.path == tmp_path / "runs" / "called" / "otherwise"


@pytest.mark.parametrize(("key", "value"), [("seed_everything", 9), ("trainer", {"max_epochs": 3, "precision": "16"})])
def test_folder_with_another_configuration_blocks(key: str, value: Any, specs: list[RunSpec], tmp_path: Path) -> None:
    manifest = manifest_of(specs[0])
    manifest["config"][key] = value
    write_run(tmp_path / "runs" / specs[0].name, manifest, COUNTS)
    run = Survey(tmp_path / "runs", tmp_path).runs(specs)[0]
    assert run.state == "blocked"
    assert "holds a run of another configuration" in run.reason
    assert ("seed" if key == "seed_everything" else "trainer.precision") in run.reason or "9" in run.reason


def test_transfer_is_another_run(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path / "experiments", encoder=str(tmp_path)))
    plain, started = select(plan, ["conll04"], ["own"], [1])[0], select(plan, encoders=["own+folds"])[0]
    write_run(tmp_path / "runs" / plain.name, manifest_of(plain), COUNTS)
    assert states([plain, started], tmp_path) == ["done", "new"]
    manifest = manifest_of(started)
    manifest["origin"]["init_sha256"] = "i"
    write_run(tmp_path / "runs" / started.name, manifest, COUNTS)
    assert states([plain, started], tmp_path) == ["done", "done"]


def test_a_damaged_manifest_hides_no_other_run(specs: list[RunSpec], tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "b" / "good", manifest_of(specs[0]), COUNTS)
    (tmp_path / "runs" / "a" / "bad").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "bad" / "manifest.json").write_text("{")
    assert states(specs, tmp_path)[0] == "done"


def test_best_of_has_the_highest_dev_f1(specs: list[RunSpec], tmp_path: Path) -> None:
    for spec, f1 in zip(specs, (0.4, 0.6, 0.5), strict=False):
        changes = {"best": {"epoch": 1, "dev/f1": f1}}
        write_run(tmp_path / "runs" / spec.name, manifest_of(spec, **changes), COUNTS)
    found = Survey(tmp_path / "runs", tmp_path).runs(specs)
    best = best_of(found)
    assert best is not None
    assert best.spec.seed == 2
    assert best_of(found[3:]) is None


def test_reasons_are_told_once() -> None:
    pairs = [("a/seed1", "why"), ("a/seed2", "why"), ("b/fold0", "why"), ("c/seed1", "else")]
    assert by_reason(pairs) == ["why: a/seed1 ... seed2, b/fold0", "else: c/seed1"]
