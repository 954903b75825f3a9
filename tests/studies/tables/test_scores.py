"""Reports: the same grids in Markdown, LaTeX and JSON; the paper beside ours; empty cells with their reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iter_lightning.studies.runs import obstacles
from iter_lightning.studies.runs.plan import load_plan, select
from iter_lightning.studies.runs.survey import Survey
from iter_lightning.studies.tables.scores import write_scores
from tests.studies.builders import manifest_of, write_run

pytestmark = pytest.mark.usefixtures("settings_are_whole")

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
COUNTS = [{"NER": (3, 1, 0), "RE": (1, 0, 1), "RE+": (1, 0, 1)}, {"NER": (2, 0, 2), "RE": (1, 1, 0), "RE+": (1, 1, 1)}]


def write(table: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, dict[str, object]]:
    """A table of which the CoNLL04 run of FLAN-T5 large is there, seed 1."""
    monkeypatch.setattr(obstacles, "hub_reachable", lambda: False)
    monkeypatch.setattr(obstacles, "corpus_obstacle", lambda name, *_: "LDC2006T06" if name == "ace05" else "")
    obstacles.encoder_obstacle.cache_clear()
    plan = load_plan(EXPERIMENTS / f"table{table}.yaml")
    spec = select(plan, ["conll04"] if table != 4 else ["ace05"], ["flan-t5-large"], [1])[0]
    write_run(tmp_path / "runs" / spec.name, manifest_of(spec), COUNTS)
    paths = write_scores(plan, Survey(tmp_path / "runs", tmp_path).runs(select(plan)), tmp_path / "reports", "make it")
    assert [path.name for path in paths] == [f"table{table}.{suffix}" for suffix in ("md", "tex", "json")]
    text, tex, data = (path.read_text() for path in paths)
    return text, tex, json.loads(data)


def test_table_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, tex, data = write(2, tmp_path, monkeypatch)
    row = next(line for line in text.splitlines() if line.startswith("| FT5 (large) |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "1"
    assert cells[5] == "76.9 (89.8)"  # NER of CoNLL04: 5 tp, 1 fp, 2 fn
    assert cells[6] == "57.1 (75.2)"
    assert cells[2].endswith("(91.5)")
    assert "LDC2006T06" in text
    assert "hf download microsoft/deberta-v3-large" in text
    assert "57.1" in next(line for line in text.splitlines() if line.startswith("| CoNLL04 | FT5 (large) | RE+"))
    assert "conll04/seed2 ... seed5" in text
    assert "| TANL |" in text
    assert r"57.1 (75.2)" in tex
    assert tex.count(r"\begin{tabular}") == text.count("\n## ")
    cells_found = data["cells"]
    assert isinstance(cells_found, list)
    scored = [c for c in cells_found if c["scores"]]
    assert {(c["corpus"], c["task"]) for c in scored} == {("conll04", "NER"), ("conll04", "RE+")}
    assert all(c["commits"] == ["0123456"] and c["runs"] and c["definition"]["gold"] == "corpus" for c in scored)
    assert all(c["empty"] for c in cells_found if not c["scores"])
    assert {(c["corpus"], c["definition"]["symmetric"]) for c in cells_found if c["task"] == "RE+"} >= {
        ("ace05", "once"), ("ace05", "twice"), ("scierc", "twice"), ("conll04", "once"),
    }  # fmt: skip


def test_table_6_has_precision_recall_and_both_weightings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, _, _ = write(6, tmp_path, monkeypatch)
    assert "## ACE05 (*)" in text
    assert "## SciERC (*)" in text
    row = next(line for line in text.split("## CoNLL04")[1].splitlines() if line.startswith("| FT5 (large) |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:5] == ["83.3 (89.5 ± 0.4)", "71.4 (90.1 ± 0.8)", "76.9 (89.8 ± 0.5)"]
    assert len(cells) == 2 + 9


@pytest.mark.parametrize("table", [4, 7])
def test_tables_4_and_7(table: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, _, _ = write(table, tmp_path, monkeypatch)
    assert "(70.5" in text  # ACE05 RE+ of FLAN-T5 large
    assert "57.1" in text
    assert ("| T5 (large) | 175.51 |" in text) == (table == 4)
