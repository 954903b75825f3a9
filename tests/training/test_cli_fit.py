"""The real command line: fit, continue, validate, test, predict; what a run folder holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from iter_lightning.cli import main
from iter_lightning.corpora.spert import read_spert
from iter_lightning.model import IterModel
from iter_lightning.training.datamodules import Custom
from iter_lightning.training.run import RunFolder, differences
from tests.builders import SCHEMA

pytestmark = pytest.mark.usefixtures("without_analysis")


def losses(run: Path) -> list[float]:
    return [json.loads(line)["train/loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_fit_test_predict(
    arguments: list[str], corpus_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["fit", *arguments]) == 0
    assert "dev    NER" in capsys.readouterr().out
    # pinned: a refactor that changes what is computed shows here
    assert losses(run) == pytest.approx([401.9822, 370.2775, 349.2428], rel=1e-3)
    assert IterModel.from_pretrained(run / "model").config.self_links is False  # as in the training data
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["data"]["splits"]["train"]["sentences"] == 24
    assert set(manifest["data"]["files"]) == {"train.json", "dev.json", "test.json"}
    assert manifest["evaluation"]["gold"] == "corpus"
    assert manifest["origin"]["splits"].keys() == {"train", "dev", "test"}
    assert {"seed", "device", "versions", "commit", "tokenizer_sha256", "encoder"} <= set(manifest)
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_epochs"] == 3
    assert not (run / "checkpoints").exists()
    assert {p.name for p in (run / "model").iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}

    assert main(["test", *arguments]) == 0
    results = json.loads((run / "results.json").read_text())
    assert len(results["test"]) == 8
    assert len({json.dumps(entry["definition"]) for entry in results["test"]}) == 8
    assert set(results["test"][0]["scores"]) == {"NER", "RE", "RE+"}
    assert results["test"][0]["scores"]["NER"]["per_type"]
    assert {entry["link_threshold"] for entry in results["test"]} == {0.5}
    assert "test   RE+" in capsys.readouterr().out
    sentences = [json.loads(line) for line in (run / "test_sentences.jsonl").read_text().splitlines()]
    for i, entry in enumerate(results["test"]):  # sentences add up to the scores, under each definition
        for task, found in entry["scores"].items():
            total = [sum(column) for column in zip(*(s["counts"][task][i] for s in sentences), strict=True)]
            assert total == [found["micro"][name] for name in ("tp", "fp", "fn")]
    by_test = (run / "predictions.jsonl").read_text()

    assert main(["validate", *arguments]) == 0
    assert main(["predict", *arguments]) == 0
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert (run / "predictions.jsonl").read_text() == by_test
    test_examples = read_spert(corpus_dir / "test.json")
    assert [tuple(line["tokens"]) for line in lines] == [e.words for e in test_examples]  # the corpus's order
    assert {"tokens", "entities", "relations"} <= set(lines[0])


def test_fit_with_self_links_trains_the_pairs_of_an_entity_with_itself(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Custom, "self_links", property(lambda data: True))
    assert main(["fit", *arguments, "--data.language=de"]) == 0
    assert losses(tmp_path / "run") == pytest.approx([433.2070, 397.0782, 373.3382], rel=1e-3)
    config = IterModel.from_pretrained(tmp_path / "run" / "model").config
    assert (config.self_links, config.language) == (True, "de")


def test_the_run_folders_configuration_runs_on_its_own(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`test --config RUN/config.yaml` needs none of the files that the experiment extended."""
    (tmp_path / "base.yaml").write_text("model: {dropout: 0.2}\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nexperiment: mine\n")
    assert main(["fit", f"--config={tmp_path / 'mine.yaml'}", *arguments, "--trainer.max_epochs=1"]) == 0
    for name in ("base.yaml", "mine.yaml"):
        (tmp_path / name).unlink()
    run = tmp_path / "run"
    assert main(["test", f"--config={run / 'config.yaml'}", f"--run_dir={run}"]) == 0
    assert "test   RE+" in capsys.readouterr().out


def test_exported_model_predicts(trained: list[str], corpus_dir: Path, tmp_path: Path) -> None:
    model = IterModel.from_pretrained(tmp_path / "run" / "model")
    examples = read_spert(corpus_dir / "test.json")
    predictions = model.predict(examples)
    assert len(predictions) == len(examples)
    for example, prediction in zip(examples, predictions, strict=True):
        assert all(e.end <= len(example.words) for e in prediction.entities)
        assert all(0 <= s <= 1 for s in (*prediction.entity_scores, *prediction.relation_scores))


@pytest.mark.parametrize("more", [[], ["--experiment=other"]])  # the name of an experiment is not part of a run
def test_a_finished_run_is_never_run_again(
    more: list[str], trained: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}
    assert main(["fit", *trained, *more]) == 0
    assert "finished" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")} == before


def test_two_processes_do_not_share_a_run_folder(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunFolder(tmp_path / "run").open():
        assert main(["fit", *arguments]) == 2
    assert "another process is training in" in capsys.readouterr().err
    assert main(["fit", *arguments, "--trainer.max_epochs=1"]) == 0


def test_another_configuration_is_refused(trained: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *trained, "--trainer.max_epochs=2", "--model.dropout=0.1"]) == 2
    said = capsys.readouterr().err
    assert "model.dropout: 0.3 there, 0.1 now" in said
    assert "trainer.max_epochs: 1 there, 2 now" in said


def process(arguments: list[str], verb: str = "fit", **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "iter_lightning", verb, *arguments], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        pytest.param([], id="plain"),
        pytest.param(
            ["--trainer.callbacks+=MovingAverage", "--data.mention_swap=0.5"],
            id="average and swap",
        ),
    ],
)
@pytest.mark.slow
def test_kill_9_resumes_bit_equal(more: list[str], arguments: list[str], tmp_path: Path) -> None:
    """Killed in the middle of an epoch, dropout on; the continued run has the very weights of an undisturbed one."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    more = [*arguments, "--trainer.max_epochs=6", *more]
    undisturbed = [*more, f"--run_dir={tmp_path / 'whole'}"]
    killed = process(more, env=env)
    deadline = time.monotonic() + 120
    metrics = tmp_path / "run" / "metrics.jsonl"
    while time.monotonic() < deadline and killed.poll() is None:
        if metrics.exists() and len(metrics.read_text().splitlines()) >= 2:
            killed.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    first = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert first["status"] == "running"
    continued = process(more, env=env)
    said, _ = continued.communicate(timeout=120)
    assert continued.returncode == 0, said
    assert "continuing the run" in said
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert len(manifest["attempts"]) == 2  # what each ran on; what the run is stays as it was written first
    assert {key: manifest[key] for key in first if key not in ("status", "attempts")} == {
        key: first[key] for key in first if key not in ("status", "attempts")
    }
    whole = process(undisturbed, env=env)
    assert whole.wait(timeout=120) == 0
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    a, b = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("run", "whole"))
    assert all((a[k] == b[k]).all() for k in a)


def test_mixed_precision_is_clipped_and_close_to_full(
    trained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds, clip = [], torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda p, bound: bounds.append(bound) or clip(p, bound))
    assert main(["fit", *trained, "--trainer.precision=bf16-mixed", f"--run_dir={tmp_path / 'mixed'}"]) == 0
    assert bounds == [1.0] * 3  # batches of 8 in 24 sentences
    assert losses(tmp_path / "mixed") != losses(tmp_path / "run")
    assert losses(tmp_path / "mixed") == pytest.approx(losses(tmp_path / "run"), rel=0.02)


@pytest.mark.slow
def test_the_moving_average_is_what_is_kept(arguments: list[str], encoder_dir: Path, tmp_path: Path) -> None:
    """With a slow average after one epoch the kept model is still near the start, where the plain one has left."""
    start = IterModel.from_encoder(str(encoder_dir), SCHEMA).encoder.state_dict()
    moved = {}
    for name, more in (("plain", []), ("average", ["--trainer.callbacks+=MovingAverage",
                                                   "--trainer.callbacks.decay=0.999"])):  # fmt: skip
        run = tmp_path / name
        assert main(["fit", *arguments, "--trainer.max_epochs=1", *more, f"--run_dir={run}"]) == 0
        kept = IterModel.from_pretrained(run / "model").encoder.state_dict()
        moved[name] = max(float((kept[k] - start[k]).abs().max()) for k in start if start[k].is_floating_point())
    assert 0 < 50 * moved["average"] < moved["plain"]


def test_wandb_offline_without_a_key(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no netrc
    options = [a for a in arguments if not a.startswith("--wandb")]
    assert main(["fit", *options, "--trainer.max_epochs=1"]) == 0
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    import wandb

    wandb.finish()


@pytest.mark.slow
def test_two_processes_train_and_evaluate(arguments: list[str], corpus_dir: Path, tmp_path: Path) -> None:
    """DDP on CPU: every dev sentence is counted once and every test sentence written once, in the corpus's order."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [*arguments, "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=1",
                 "--data.eval_batch_size=2"]  # fmt: skip
    found = process(arguments, env=env)
    said, _ = found.communicate(timeout=240)
    assert found.returncode == 0, said
    gold = json.loads((tmp_path / "run" / "results.json").read_text())["dev"][0]["scores"]["NER"]["micro"]["support"]
    assert gold == json.loads((tmp_path / "run" / "manifest.json").read_text())["data"]["splits"]["dev"]["entities"]
    found = process(arguments, "predict", env=env)
    said, _ = found.communicate(timeout=240)
    assert found.returncode == 0, said
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert [tuple(line["tokens"]) for line in lines] == [e.words for e in read_spert(corpus_dir / "test.json")]


def test_options_that_came_later_do_not_part_runs() -> None:
    assert not list(differences({"a": 1}, {"a": 1, "new": False, "newer": None}))
    assert list(differences({"a": 1}, {"a": 1, "new": True})) == ["new: None there, True now"]
    assert list(differences({"a": 1, "b": None}, {"a": 1, "b": 0})) == ["b: None there, 0 now"]
