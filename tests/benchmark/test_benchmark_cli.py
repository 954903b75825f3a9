from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.benchmark.agreement import flips
from iter_lightning.benchmark.memory import peak_of_prediction, predict_once, resident_peak
from iter_lightning.benchmark.report import markdown
from iter_lightning.benchmark.results import Entry, read_entries
from iter_lightning.benchmark.subjects import SubjectSpec
from iter_lightning.benchmark.targets import TARGETS
from iter_lightning.benchmark.training import train_twice
from iter_lightning.cli import main
from iter_lightning.errors import ConfigError
from iter_lightning.model.inference import InferenceOptions
from iter_lightning.types import Entity, Prediction
from tests.builders import tiny_config

SMALL = ["--passes", "2", "--sentences", "12", "--batch-sizes", "4", "--batch", "2"]


def run(*arguments: str) -> int:
    return main(["benchmark", *arguments])


def test_speed_of_a_trained_model(model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "reports" / "speed"
    options = [*SMALL, "--output", str(output), "--token-budgets", "128", "--data", str(tmp_path)]
    assert run("speed", "--model", str(model_dir), *options) == 0
    entries = read_entries(output.with_suffix(".json"))
    assert [(e.settings["batch_size"], e.settings["token_budget"]) for e in entries] == [(4, None), (None, 128)]
    for entry in entries:
        assert sum(entry.values["shares"].values()) == pytest.approx(1)
        assert len(entry.values["seconds"]["ours"]) == len(entry.values["seconds"]["floor"]) == 2
        assert entry.values["ratio"] > 0
        assert entry.values["sentences"] == 12
        assert "density" not in entry.values
        assert entry.machine["threads"] >= 1
        assert entry.command == (
            "python -m iter_lightning benchmark speed --model runs/mine/seed1 --passes 2 --sentences 12 "
            "--batch-sizes 4 --batch 2 --token-budgets 128 --data data"
        )
    text = output.with_suffix(".md").read_text()
    assert "x floor" in text
    assert entries[0].values["kernels"].startswith("torch ")
    assert text.count(f"\n   {entries[0].values['kernels']}\n") == 1
    assert entries[0].command in text
    for written in (text, output.with_suffix(".json").read_text()):
        assert str(tmp_path) not in written
        assert str(model_dir.parent) not in written
    assert "x floor" in capsys.readouterr().out


def test_agreement_counts_what_one_side_alone_finds(model_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "report"
    arguments = ["agreement", "--model", str(model_dir), "--sentences", "6", "--output", str(output)]
    assert run(*arguments, "--precision", "fp32", "int8") == 0
    exact, rough = (entry.values for entry in read_entries(output.with_suffix(".json")))
    assert exact["flips"] == {"entities": 0, "relations": 0}
    assert exact["plain"] == exact["scores"] == rough["plain"]
    assert ": fp32, " in exact["kernels"]
    assert ": int8" in rough["kernels"]
    assert "## Agreement" in output.with_suffix(".md").read_text(encoding="utf-8")
    one = Prediction((Entity(0, 1, "A"), Entity(1, 2, "A")), (), (0.9, 0.9), ())
    other = Prediction((Entity(0, 1, "A"), Entity(1, 2, "B")), (), (0.8, 0.9), ())
    assert flips([one, one], [one, other]) == {"entities": 2, "relations": 0}
    assert run("agreement", "--encoder", "nowhere", "--output", str(output)) == 2


def test_the_hosts_work(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iter_lightning.benchmark.host.POOL", 24)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # without Ray, whose start takes its time
    assert run("host", "--model", str(model_dir), "--passes", "1", "--output", str(tmp_path / "report")) == 0
    (found,) = read_entries(tmp_path / "report.json")
    assert len(found.values["seconds"]) == 4
    assert found.values["bytes"] > 0
    assert "| – | – |" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_stream(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iter_lightning.model.pipeline.POOL", 24)
    assert run("stream", "--model", str(model_dir), *SMALL, "--output", str(tmp_path / "report")) == 0
    (found,) = read_entries(tmp_path / "report.json")
    assert len(found.values["seconds"]["ours"]) == 8
    assert found.values["sentences"] == 24
    assert found.values["peak_share"] > 0
    assert "## A stream" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_later_run_adds_and_replaces(model_dir: Path, tmp_path: Path) -> None:
    options = ["--model", str(model_dir), *SMALL, "--output", str(tmp_path / "t"), "--no-packing"]
    assert run("speed", *options) == 0
    assert run("speed", *options) == 0
    assert len(read_entries(tmp_path / "t.json")) == 1
    assert run("speed", *options, "--batch-sizes", "3") == 0
    assert [e.settings["batch_size"] for e in read_entries(tmp_path / "t.json")] == [4, 3]
    (tmp_path / "t.md").unlink()
    assert run("--render", "--output", str(tmp_path / "t")) == 0
    assert (tmp_path / "t.md").read_text().count("padded |") >= 2


def test_every_section_of_an_untrained_encoder(
    encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works: list[dict[str, Any]] = []

    def peak(work: dict[str, Any]) -> dict[str, float]:
        works.append(json.loads(json.dumps(work)))
        return {"imports": 1.0, "loaded": 2.0, "peak": 3.0}

    monkeypatch.setattr("iter_lightning.benchmark.memory.peak", peak)
    monkeypatch.setattr("iter_lightning.benchmark.training.peak", peak)
    monkeypatch.setattr("iter_lightning.benchmark.inference.LENGTH_PASS", 1200)
    options = [
        *SMALL, "--output", str(tmp_path / "t"), "--lengths", "32", "600", "--entities", "3", "--subwords", "64",
    ]  # fmt: skip
    assert run("all", "--encoder", str(encoder_dir), "--pair-width", "40", *options) == 0
    found: dict[str, list[Entry]] = {}
    for entry in read_entries(tmp_path / "t.json"):
        found.setdefault(entry.section, []).append(entry)
    assert list(found) == ["speed", "lengths", "entities", "omega", "training", "memory"]
    for section in ("speed", "lengths", "entities", "omega"):
        for entry in found[section]:
            density = entry.values["density"]
            assert density["found"]["spans"] == pytest.approx(density["wanted"]["spans"], rel=0.2)
    assert [e.settings["subwords"] for e in found["lengths"]] == [32, 600]
    assert all(e.values["microseconds_a_subword"] > 0 for e in found["lengths"])
    assert [e.settings["omega"] for e in found["omega"]] == [1, 3]
    assert [e.values["memory"]["peak"] for e in found["entities"]] == [3.0]
    steps = [e for e in found["training"] if e.settings["what"] == "time"]
    assert [len(e.values["seconds"]["ours"]) for e in steps] == [8] * len(steps)
    assert len(found["training"]) - len(steps) == 4
    assert [e.settings["heap"] for e in found["memory"]] == ["returned", "default"]
    assert [work["what"] for work in works] == ["predict"] + ["train"] * 4 + ["predict"] * 2
    for work in (works[0], works[1], works[-1]):  # what a process of its own would do
        assert {"predict": predict_once, "train": train_twice}[work["what"]](work) > 50
    text = (tmp_path / "t.md").read_text()
    assert str(encoder_dir.parent) not in text
    for title in ("Speed", "Where the time goes", "Length", "Entities", "Omega", "A training step", "Commands"):
        assert f"## {title}" in text


@pytest.mark.parametrize(("arguments", "said"), [
    (["speed", "--architecture", "t5-tiny"], "no architecture 't5-tiny': one of minilm, t5-small"),
    (["speed", "--model", "nowhere"], "no ITER model in nowhere"),
    (["speed", "--passes", "0"], "passes must be at least 1, found 0"),
    (["speed", "--batch-sizes", "8", "0"], "batch_sizes must be at least 1 each, found 0"),
    (["speed", "--batch-sizes"], "nothing to measure at: give batch_sizes or token_budgets"),
    (["fast"], "no section 'fast': one of speed, lengths, entities, omega, training, memory, agreement, host, stream"),
    (["--render"], "nothing to render"),
])  # fmt: skip
def test_errors(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert run(*arguments, "--output", str(tmp_path / "t")) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{}", "[", '{"version": 1, "entries": [{"a": 1}]}', '{"version": 0}'])
def test_a_file_of_something_else_is_left_alone(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    (tmp_path / "t.json").write_text(content)
    assert run("speed", "--output", str(tmp_path / "t")) == 2
    assert "move it away" in capsys.readouterr().err
    assert (tmp_path / "t.json").read_text() == content


def entry(section: str, settings: dict[str, Any], values: dict[str, Any], **subject: Any) -> Entry:
    who = {"label": "conll04/seed1", "kind": "model", "corpus": "conll04", "split": "test", "fold": None,
           "sentences": 288, "encoder": "bert 6 x 384", "left_width": None, "pair_width": None, **subject}  # fmt: skip
    machine = {"cpu": "X", "cores": 2, "threads": 2, "memory_gib": 8, "gpu": None, "device": "cpu", "system": "Linux",
               "cpu_capability": "AVX2", "python": "3.11", "commit": "0123456789", "commit_clean": True,
               "versions": {"torch": "2", "transformers": "5"}}  # fmt: skip
    return Entry(section, who, settings, values, "python -m iter_lightning benchmark", machine)


def test_targets_take_the_entries_they_are_about() -> None:
    plain = {"precision": "fp32", "packing": None, "compile": False}
    entries = [
        entry("memory", {**plain, "batch_size": 64, "heap": "default"}, {"peak": 650.0, "imports": 1.0, "loaded": 2.0}),
        entry("memory", {**plain, "batch_size": 8, "heap": "default"}, {"peak": 1.0, "imports": 1.0, "loaded": 2.0}),
        entry("memory", {**plain, "batch_size": 64, "heap": "returned"}, {"peak": 3.0, "imports": 1.0, "loaded": 2.0},
              sentences=10),
    ]  # fmt: skip
    target = next(t for t in TARGETS if t.what.startswith("peak memory"))
    found = target.find(entries)
    assert target.measured(found) == "650 MiB (freed buffers default)"
    assert target.met(found) is True
    assert [t.met(t.find(entries)) for t in TARGETS if t is not target] == [None] * (len(TARGETS) - 1)
    text = markdown(entries, "throughput")
    assert (
        "| peak memory, batch 64 | 1,055 MiB |  |  |  |  | ≤ 700 MiB | 650 MiB (freed buffers default) | yes |" in text
    )
    assert "not measured" in text


def test_targets_of_a_gpu_take_the_best_rate_in_bfloat16() -> None:
    def on_gpu(section: str, seconds: list[float], precision: str = "bf16", device: str = "cuda") -> Entry:
        values = {"sentences": 288, "seconds": {"ours": seconds}, "peak_share": 0.12 / seconds[0]}
        made = entry(section, {"precision": precision}, values, label="t5-large, random weights")
        return replace(made, machine={**made.machine, "device": device, "gpu": "NVIDIA H100"})

    entries = [
        on_gpu("speed", [2.0]),
        on_gpu("stream", [1.0]),
        on_gpu("speed", [0.1], "fp16"),
        on_gpu("speed", [0.1], device="cpu"),
    ]
    rate, share = (t for t in TARGETS if t.what.startswith("T5-large"))
    assert rate.measured(rate.find(entries)) == "288 (NVIDIA H100)"
    assert rate.verdict(rate.find(entries)) == "no"
    assert share.measured(share.find(entries)) == "12 % (NVIDIA H100)"


@pytest.mark.slow
def test_peak_of_a_fresh_process(model_dir: Path) -> None:
    ballast = bytearray(600 * 2**20)  # of the parent, which a child's `ru_maxrss` would start from
    found = peak_of_prediction(SubjectSpec("model", str(model_dir), sentences=4), InferenceOptions(), 2)
    assert len(ballast) / 2**20 < resident_peak()
    assert 50 < found["imports"] <= found["loaded"] <= found["peak"] < 600 + found["imports"]


@pytest.mark.slow
def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(ConfigError, match="memory is measured failed: no ITER model in nowhere"):
        peak_of_prediction(SubjectSpec("model", "nowhere"), InferenceOptions(), 2)


@pytest.mark.parametrize("family", ["t5", "deberta_v3", "modernbert", "roberta"])
def test_random_architectures(family: str, encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**tiny_config(family).to_dict(), "vocab_size": 400, "pad_token_id": 0}
    monkeypatch.setattr("iter_lightning.benchmark.architectures.architectures", lambda: {"tiny": config})
    monkeypatch.setattr("iter_lightning.benchmark.subjects.TOKENIZER", str(encoder_dir))
    options = ["--architecture", "tiny", *SMALL, "--passes", "1", "--lengths", "600", "--output", str(tmp_path / "t")]
    assert run("speed", "lengths", *options) == 0
    speed, length = read_entries(tmp_path / "t.json")
    assert (speed.values["floor_attention"] == "eager") == (family == "deberta_v3")
    assert (length.values["attention_seconds"] is None) == (family == "deberta_v3")
    assert speed.values["flops"]["encoder"] > 0
    assert speed.values["density"]["found"]["spans"] == pytest.approx(speed.values["density"]["wanted"]["spans"], 0.2)
