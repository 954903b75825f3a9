"""Cells: what their figures are, and when there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from iter_lightning.studies.runs import obstacles
from iter_lightning.studies.runs.plan import load_plan, select
from iter_lightning.studies.runs.survey import Run, Survey
from iter_lightning.studies.tables.cells import make_cell, summary_text
from tests.studies.builders import f1, manifest_of, write_plan, write_run

pytestmark = pytest.mark.usefixtures("settings_are_whole")

SENTENCES = {
    1: [{"NER": (3, 1, 0), "RE": (1, 0, 1), "RE+": (1, 0, 1)}, {"NER": (2, 0, 2), "RE": (1, 1, 0), "RE+": (0, 2, 1)}],
    2: [{"NER": (3, 0, 0), "RE": (2, 0, 0), "RE+": (2, 0, 0)}, {"NER": (4, 1, 0), "RE": (0, 1, 1), "RE+": (0, 1, 1)}],
}


@pytest.fixture
def survey_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Run]]:
    """Survey two finished seeds of one cell; their folders may be changed in between."""
    monkeypatch.setattr(obstacles, "corpus_obstacle", lambda *_: "")
    specs = select(load_plan(write_plan(tmp_path / "x", encoder=str(tmp_path))), ["conll04"], ["own"])
    for spec in specs:
        write_run(tmp_path / "runs" / spec.name, manifest_of(spec), SENTENCES[spec.seed], link_threshold=0.4)
    return lambda: Survey(tmp_path / "runs", tmp_path).runs(specs)


@pytest.fixture
def runs(survey_again: Callable[[], list[Run]]) -> list[Run]:
    return survey_again()


def test_scores_are_those_of_the_runs(runs: list[Run]) -> None:
    cell = make_cell(runs, "RE+", paper={"f1": [60.0, 1.0]})
    values = [100 * f1(*(sum(column) for column in zip(*(s["RE+"] for s in SENTENCES[seed]), strict=True)))
              for seed in (1, 2)]  # fmt: skip
    summary = cell.scores["f1"]
    assert summary.n == 2
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.std == pytest.approx(np.std(values, ddof=1))
    assert (summary.min, summary.max) == pytest.approx((min(values), max(values)))
    assert cell.scores["precision"].mean == pytest.approx(100 * (1 / 3 + 2 / 3) / 2)
    assert cell.scores["recall"].mean == pytest.approx(100 * (1 / 3 + 2 / 3) / 2)
    assert cell.difference == pytest.approx(np.mean(values) - 60)
    assert cell.interval is not None
    assert cell.interval[0] <= summary.mean <= cell.interval[1]
    assert cell.as_published is not None
    assert cell.commits == ("0123456",)
    assert cell.link_thresholds == (0.4,)
    assert cell.definition.describe() == "gold: corpus · match: position · symmetric: once · split_protocol: clean"
    assert cell.to_dict()["scores"]["f1"]["n"] == 2


def test_run_with_an_incomplete_manifest_is_left_out(survey_again: Callable[[], list[Run]]) -> None:
    first, second = (run.folder for run in survey_again())
    first.write_json(first.manifest_file, {key: value for key, value in first.manifest.items() if key != "device"})
    cell = make_cell(survey_again(), "NER")
    assert cell.scores["f1"].n == 1
    assert cell.missing == ("the manifest lacks device: mine/seed1",)
    second.update_manifest(platform="")
    cell = make_cell(survey_again(), "NER")
    assert not cell.scores
    assert cell.empty == "the manifest lacks device: mine/seed1; the manifest lacks platform: mine/seed2"


def test_empty_cells_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = select(load_plan(write_plan(tmp_path / "x", encoder=str(tmp_path))), ["ade"], ["own"])
    assert "prepare ade" in make_cell(Survey(tmp_path / "runs", tmp_path).runs(specs), "NER").empty
    monkeypatch.setattr(obstacles, "corpus_obstacle", lambda *_: "")
    assert make_cell(Survey(tmp_path / "runs", tmp_path).runs(specs), "NER").empty == "not run yet"
    write_run(tmp_path / "runs" / specs[0].name, manifest_of(specs[0], status="running"))
    cell = make_cell(Survey(tmp_path / "runs", tmp_path).runs(specs), "NER")
    assert cell.empty == "not finished: folds/fold0; not run yet: folds/fold1"


def test_summary_text_has_a_line_for_each_task(runs: list[Run]) -> None:
    header, *lines = summary_text(runs).splitlines()
    assert header.split() == ["task", "n", "F1", "mean", "±", "std", "min", "-", "max", "95", "%", "interval"]
    assert [line.split()[0] for line in lines[:3]] == ["NER", "RE", "RE+"]
    assert "commit 0123456" in lines[3]
    assert summary_text([]) == "no finished run to summarize"


def test_runs_on_different_data_have_no_mean(survey_again: Callable[[], list[Run]]) -> None:
    folder = survey_again()[1].folder
    data = folder.manifest["data"]
    data["splits"]["train"]["sha256"] = "another"
    folder.update_manifest(data=data)
    cell = make_cell(survey_again(), "NER")
    assert not cell.scores
    assert cell.empty == "made on different data, so that they have no common mean: mine/seed1 against mine/seed2"


def test_runs_tested_at_a_chosen_and_a_given_lambda_are_noted(survey_again: Callable[[], list[Run]]) -> None:
    first, second = (run.folder for run in survey_again())
    first.update_manifest(link_threshold={"value": 0.4, "chosen_on": "dev"})
    assert make_cell(survey_again(), "NER").notes == ()  # one lambda for all, however it was chosen
    write_run(second.path, second.manifest, SENTENCES[2], link_threshold=0.5)
    assert make_cell(survey_again(), "NER").notes == ("tested at λ seed1 0.4, seed2 0.5: some chosen on dev, some not",)


def test_a_test_of_a_part_is_refused(runs: list[Run]) -> None:
    lines = runs[0].folder.sentences_file.read_text().splitlines(keepends=True)
    runs[0].folder.sentences_file.write_text(lines[0])
    cell = make_cell(runs, "NER")
    assert cell.scores["f1"].n == 1
    assert "run `test` again: mine/seed1" in cell.missing[0]
