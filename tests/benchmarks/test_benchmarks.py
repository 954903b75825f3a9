"""The verb `benchmark` from the command line to the report; most run with a tiny model on the CPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import benchmarks.sections
from benchmarks.report import MARKER, Entry, read_entries
from iter_lightning.cli import main
from tests.builders import tiny_config

ROOT = Path(__file__).parents[2]
SMALL = ["--passes", "1", "--sentences", "4", "--batch-sizes", "2", "--batch", "2"]


@pytest.fixture(autouse=True)
def small_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.sections, "SUBWORDS_A_PASS", 128)
    monkeypatch.setattr(benchmarks.sections, "FLOP_SENTENCES", 2)
    monkeypatch.setattr("iter_lightning.model.pipeline.POOL", 12)


def run(output: Path, *arguments: str) -> list[Entry]:
    assert main(["benchmark", *arguments, *SMALL, "--output", str(output)]) == 0
    return read_entries(output.with_suffix(".json"))


def test_speed_of_a_trained_model_is_compared_with_the_best_floor(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = run(tmp_path / "t", "speed", "--model", str(model_dir), "--token-budgets", "64", "--data", str(tmp_path))
    batchings = [(e.settings["batch_size"], e.settings["token_budget"]) for e in entries]
    assert batchings == [(2, None), (None, 64)]
    assert len({json.dumps(e.values["floor"]) for e in entries}) == 1
    for entry in entries:
        assert sum(entry.values["shares"].values()) == pytest.approx(1)
        assert min(entry.values["shares"][stage] for stage in ("tokenize", "encoder", "left", "span")) > 0
        assert len(entry.values["seconds"]["ours"]) == len(entry.values["seconds"]["floor"]) == 1
        assert (entry.values["sentences"], entry.subject["label"]) == (4, "mine/seed1")
        assert all(entry.values["flops"].values())
    assert entries[0].command == (
        "python -m iter_lightning benchmark speed --model mine/seed1 --token-budgets 64 --data data --passes 1 "
        "--sentences 4 --batch-sizes 2 --batch 2"
    )
    page = (tmp_path / "t.md").read_text()
    assert entries[0].values["kernels"].startswith("torch ")
    for text in (page, (tmp_path / "t.json").read_text()):
        assert str(tmp_path) not in text
        assert str(model_dir.parent) not in text
    assert "x floor" in page
    assert "x floor" in capsys.readouterr().out


def test_other_sections_of_an_untrained_encoder_measure_something(encoder_dir: Path, tmp_path: Path) -> None:
    arguments = ["lengths", "training", "stream", "agreement", "--encoder", str(encoder_dir), "--pair-width", "40"]
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in run(tmp_path / "t", *arguments, "--lengths", "32", "--entities", "3", "--precision", "fp32", "bf16"):
        found.setdefault(entry.section, []).append(entry.settings | entry.values)
    assert [(v["subwords"] > 0, v["entities"], v["precision"]) for v in found["lengths"]] == [
        (True, 3, "fp32"), (True, 3, "bf16")]  # fmt: skip
    assert [v["precision"] for v in found["training"]] == ["fp32", "bf16"]
    assert [(v["from"], v["sentences"]) for v in found["stream"]] == [("text", 12), ("words", 12)] * 2
    exact, rough = found["agreement"]
    assert exact["flips"] == {"entities": 0, "relations": 0}
    assert exact["plain"] == exact["scores"] == rough["plain"]
    assert (tmp_path / "t.md").read_text().count("\n## ") == 5


@pytest.mark.parametrize("what", ["predict", "train"])
def test_peak_is_above_what_was_loaded(what: str, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.run import _parser

    options = _parser().parse_args(SMALL)
    work = {"what": what, "batch_size": 2, "precision": "fp32", "compile": False, "packing": None}
    found = benchmarks.sections.peak(options, "model", str(model_dir), work)
    assert 50 < found["imports"] <= found["loaded"] <= found["peak"]


@pytest.mark.slow
def test_memory_of_fresh_processes_leaves_out_what_the_parent_holds(model_dir: Path, tmp_path: Path) -> None:
    ballast = bytearray(600 * 2**20)
    for entry in run(tmp_path / "t", "memory", "--model", str(model_dir)):
        assert entry.values["peak"] < 600 + entry.values["imports"] < len(ballast)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("family", ["roberta", *(pytest.param(name, marks=SLOW) for name in ("t5", "deberta_v3"))])
def test_speed_of_a_random_architecture_is_measured(
    family: str, encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**tiny_config(family).to_dict(), "vocab_size": 400, "pad_token_id": 0}
    monkeypatch.setattr("benchmarks.subjects.ARCHITECTURES", {"tiny": config})
    monkeypatch.setattr("benchmarks.subjects.TOKENIZER", str(encoder_dir))
    entry, made = run(tmp_path / "t", "speed", "lengths", "--architecture", "tiny", "--lengths", "600")
    assert entry.values["flops"]["encoder"] > 0
    wanted = entry.values["density"]["wanted"]["spans"]
    assert entry.values["density"]["found"]["spans"] == pytest.approx(wanted, rel=0.2)
    assert made.values["longest"] > 512  # the position table has grown


def test_a_later_run_replaces_adds_and_keeps_what_stands_above_the_marker(model_dir: Path, tmp_path: Path) -> None:
    arguments = ["speed", "--model", str(model_dir), "--no-packing"]
    assert len(run(tmp_path / "t", *arguments)) == 1
    page = tmp_path / "t.md"
    page.write_text(page.read_text().replace("# Throughput and memory", "# Targets by hand"))
    assert len(run(tmp_path / "t", *arguments, "--precision", "fp32", "bf16")) == 2
    assert main(["benchmark", "--render", "--output", str(tmp_path / "t")]) == 0
    above, below = page.read_text().split(MARKER)
    assert above.startswith("# Targets by hand")
    assert below.count("padded |") == 2


@pytest.mark.parametrize(("arguments", "message"), [
    (["--model", "nowhere"], "nowhere"),
    (["--passes", "0"], "expected a number of at least 1, found '0'"),
    (["--batch-sizes"], "there is nothing to measure"),
    (["fast"], "invalid choice: 'fast'"),
    (["--render"], "there is nothing to render"),
    (["lengths", "--lengths", "4096"], "subwords, not 4096: choose shorter --lengths"),
])  # fmt: skip
def test_bad_arguments_are_refused_in_one_line(
    arguments: list[str], message: str, encoder_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--model" not in arguments:
        arguments = [*arguments, "--encoder", str(encoder_dir)]
    try:
        status: object = main(["benchmark", *arguments, "--output", str(tmp_path / "t")])
    except SystemExit as stopped:  # argparse's
        status = stopped.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{}", "[", '{"version": 2, "entries": [{"a": 1}]}', '{"version": 0}'])
def test_a_file_of_something_else_is_left_alone(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.json").write_text(content)
    assert main(["benchmark", "--output", str(tmp_path / "t")]) == 2
    assert "move" in capsys.readouterr().err
    assert (tmp_path / "t.json").read_text() == content


def test_the_verb_in_a_checkout_shows_the_help_and_outside_says_where_to_find_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "iter_lightning", "benchmark", "--help"]
    inside = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (inside.returncode, inside.stdout[:6]) == (0, "usage:")
    shutil.copytree(ROOT / "iter_lightning", tmp_path / "iter_lightning")
    outside = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert outside.returncode == 2
    assert "benchmark runs from a source checkout only" in outside.stderr
    assert outside.stderr.count("\n") == 1
