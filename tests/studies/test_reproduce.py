"""The real command: a small table from nothing, killed on the way, with its figures; `seeds` of one experiment."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from iter_lightning.cli import main
from iter_lightning.model import IterModel
from iter_lightning.studies.tables import throughput
from tests.studies.builders import heard

pytestmark = pytest.mark.slow
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory, encoder_dir: Path, corpus_dir: Path) -> Path:
    """A plan of one cell on a corpus of one's own."""
    folder = tmp_path_factory.mktemp("experiments")
    files = ", ".join(f"{split}: {corpus_dir / split}.json" for split in ("train", "dev", "test"))
    (folder / "mine.yaml").write_text(
        f"experiment: mine\ndata: {{class_path: Custom, init_args: {{{files}}}}}\nmodel:\n  encoder: {encoder_dir}\n"
        "  encoder_group: {learning_rate: 1.0e-3}\n  head_group: {learning_rate: 1.0e-3}\n"
        "trainer: {max_epochs: 3, accelerator: cpu}\n"
    )
    (folder / "table2.yaml").write_text(
        "table: 2\ntitle: mine\nseeds: [1, 2]\ncorpora:\n  mine: {config: mine.yaml}\n"
        "rows:\n  - {key: tiny, label: Tiny, configs: {mine: mine.yaml}}\n"
    )
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs and reports of all tests here go: what one makes, the next finds."""
    return tmp_path_factory.mktemp("study")


@pytest.fixture
def arguments(experiments: Path, place: Path) -> list[str]:
    return ["--experiments", str(experiments), "--runs", str(place / "runs"), "--reports", str(place / "reports"),
            "--wandb-mode", "disabled"]  # fmt: skip


def test_a_table_killed_on_the_way(arguments: list[str], place: Path) -> None:
    """kill -9 of the runner ends its run, too; the same command finishes both, and none is trained twice."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "iter_lightning", "reproduce", "table2", *arguments, "--jobs", "2"]
    killed = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    metrics = place / "runs" / "mine" / "seed1" / "metrics.jsonl"
    deadline = time.monotonic() + 400
    while not (metrics.exists() and metrics.read_text()) and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    said, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said
    manifests = [place / "runs" / "mine" / f"seed{seed}" / "manifest.json" for seed in (1, 2)]
    assert json.loads(manifests[0].read_text())["status"] == "running"

    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "continue  mine/seed1" in done.stderr
    assert "2/2 finished" in done.stderr
    assert [json.loads(path.read_text())["status"] for path in manifests] == ["finished"] * 2
    assert len(json.loads(manifests[0].read_text())["attempts"]) == 2
    text = (place / "reports" / "table2.md").read_text()
    cells = json.loads((place / "reports" / "table2.json").read_text())["cells"]
    assert {cell["task"]: cell["scores"]["f1"]["n"] for cell in cells} == {"NER": 2, "RE+": 2}
    assert "| Tiny | 2 |" in text

    before = [path.stat().st_mtime_ns for path in manifests]
    with heard() as said:
        assert main(["reproduce", "table2", *arguments]) == 0
    assert "2 runs: 2 finished, 0 to do" in "\n".join(said)
    assert [path.stat().st_mtime_ns for path in manifests] == before


def test_lambda_is_chosen_on_dev_stored_and_used(arguments: list[str], place: Path) -> None:
    run = place / "runs" / "mine" / "seed1"
    assert main(["reproduce", "figure2", *arguments]) == 0
    curves = json.loads((run / "link_curves.json").read_text())
    assert [point["lambda"] for point in curves["dev"]] == [point["lambda"] for point in curves["test"]]
    for point in curves["dev"]:  # a model of three tiny epochs links nothing: give its curve a top
        point["RE+"]["f1"] = 0.9 if point["lambda"] == 0.3 else 0.1
    (run / "link_curves.json").write_text(json.dumps(curves))

    assert main(["reproduce", "figure2", *arguments]) == 0
    assert (place / "reports" / "figure2.png").read_bytes().startswith(PNG)
    chosen = {r["run"]: r["chosen"] for r in json.loads((place / "reports" / "figure2.json").read_text())["runs"]}
    assert chosen == {"mine/seed1": 0.3, "mine/seed2": 0.5}
    assert IterModel.from_pretrained(run / "model").config.link_threshold == 0.3
    assert json.loads((run / "manifest.json").read_text())["link_threshold"]["chosen_on"] == "dev"
    results = json.loads((run / "results.json").read_text())
    assert {entry["link_threshold"] for entry in results["test"]} == {0.5}  # scores are what they were
    assert main(["test", f"--config={run / 'config.yaml'}", f"--run_dir={run}"]) == 0
    results = json.loads((run / "results.json").read_text())
    assert {entry["link_threshold"] for entry in results["test"]} == {0.3}


def test_throughput(arguments: list[str], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "LENGTHS", (16, 32))  # this model links nearly everything in longer ones
    monkeypatch.setattr(throughput, "PASSES", 2)
    assert main(["reproduce", "table3", "figure3", *arguments]) == 0
    assert (place / "reports" / "figure3.png").read_bytes().startswith(PNG)
    (points,) = json.loads((place / "reports" / "figure3.json").read_text())["measured"].values()
    assert [point["subwords"] for point in points] == [16, 32]
    assert all(0 < p["low"] <= p["median"] <= p["high"] for p in points)
    assert "ITER + T5 (small)" in (place / "reports" / "table3.md").read_text()
    rows = json.loads((place / "reports" / "table3.json").read_text())["measured"]
    assert [row["batch_size"] for row in rows] == [8, 64]


def test_seeds_of_one_experiment(experiments: Path, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--config", str(experiments / "mine.yaml"), "--runs", str(place / "runs"), "--wandb-mode", "disabled"]
    with heard() as said:
        assert main(["seeds", *options, "--seeds", "1", "2"]) == 0
        assert "2 runs: 2 finished, 0 to do" in "\n".join(said)  # Table 2's runs are this experiment's
        assert "RE+" in capfd.readouterr().out
        assert main(["seeds", *options, "--seeds", "1", "9", "--set", "model.max_subwords=9999"]) == 2
    assert "FAILED mine-" in "\n".join(said)
    assert "2 of 2 runs are not finished" in capfd.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `cluster` is missing")
def test_seeds_on_a_ray_cluster(experiments: Path, place: Path) -> None:
    """Two runs at a time on a local Ray of two workers end as local processes do."""
    options = ["--config", str(experiments / "mine.yaml"), "--runs", str(place / "ray"), "--wandb-mode", "disabled"]
    try:
        with heard() as said:
            assert main(["seeds", *options, "--seeds", "1", "3", "--jobs", "2", "--launcher", "ray"]) == 0
    finally:
        if (ray := sys.modules.get("ray")) is not None:
            ray.shutdown()
    assert "2/2 finished" in "\n".join(said)
    here, there = (
        load_file(place / name / "mine" / "seed1" / "model" / "model.safetensors") for name in ("runs", "ray")
    )
    assert all((here[k] == there[k]).all() for k in here)


def test_compare_of_two_seeds(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = place / "runs" / "mine"
    assert main(["compare", str(runs / "seed1"), str(runs / "seed2")]) == 0
    assert "no evidence of a difference" in capfd.readouterr().out


def test_report_names_the_seeds_and_settings_that_made_it(arguments: list[str], place: Path) -> None:
    given = ["--seeds", "7", "8", "--set", "trainer.max_epochs=1", "experiment=a b"]
    arguments = [*arguments, "--reports", str(place / "given")]
    assert main(["reproduce", "table2", *arguments, *given, "--report-only"]) == 0
    command = "python -m iter_lightning reproduce table2 --seeds 7 8 --set trainer.max_epochs=1 'experiment=a b'"
    assert f"```\n{command}\n```" in (place / "given" / "table2.md").read_text()
    assert json.loads((place / "given" / "table2.json").read_text())["command"] == command


def test_what_is_asked_for_must_be_there(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "table2", *arguments, "--corpora", "conll04"]) == 2
    assert "table2.yaml has no conll04; it has mine" in capfd.readouterr().err
    assert main(["reproduce", "table2", *arguments, "--jobs", "0", "--seeds", "3"]) == 2
    assert "jobs must be at least 1" in capfd.readouterr().err
    # of several targets each gives what it can
    assert main(["reproduce", "table5", "table4", "table2", *arguments, "--report-only"]) == 2
    captured = capfd.readouterr()
    assert "table5: the configuration" in captured.err
    assert "table4.yaml cannot be read" in captured.err
    assert "written: " in captured.out
    with pytest.raises(SystemExit):
        main(["reproduce", "table9"])
    with pytest.raises(SystemExit):
        main(["seeds", "--config", "x.yaml", "--set", "nonsense"])
