"""What a finished run leaves for W&B: analysis.json through the real command line, and what is logged of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iter_lightning.cli import main
from iter_lightning.metrics import LINK_THRESHOLDS, EvaluationDefinition
from iter_lightning.training import summary
from iter_lightning.training.run import RunFolder
from iter_lightning.training.summary import RunSummary, analyse, curve_rows, log_analysis, scalars, tables
from iter_lightning.types import Example, Schema
from tests.builders import tiny_model

LOW = "--model.link_threshold=0.1"
"""A model of a few steps is sure of few relations."""


class FakeLogger:
    """Takes what a `WandbLogger` would."""

    def __init__(self) -> None:
        self.experiment = self
        self.steps: dict[str, str] = {}
        self.rows: list[dict[str, float]] = []
        self.tables: dict[str, tuple[list[str], list[list[Any]]]] = {}
        self.metrics: dict[str, float] = {}

    def define_metric(self, name: str, step_metric: str = "") -> None:
        self.steps[name] = step_metric

    def log(self, row: dict[str, float]) -> None:
        self.rows.append(row)

    def log_table(self, key: str, columns: list[str], data: list[list[Any]]) -> None:
        assert all(len(row) == len(columns) for row in data)
        self.tables[key] = columns, data

    def log_metrics(self, metrics: dict[str, float]) -> None:
        self.metrics.update(metrics)


@pytest.mark.slow
def test_a_finished_run_is_analysed_and_w_and_b_has_it(
    arguments: list[str], corpus_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no netrc
    learning = [
        f"--model.{part}_group.{option}"
        for part in ("encoder", "head")
        for option in ("learning_rate=1e-2", "warmup_ratio=0")
    ]
    by_heart = [f"--data.dev={corpus_dir / 'train.json'}", "--model.dropout=0", "--trainer.max_epochs=16", *learning]
    assert main(["fit", *arguments, LOW, *by_heart, "--wandb.mode=offline"]) == 0
    import wandb

    wandb.finish()
    run = tmp_path / "run"
    found = json.loads((run / "analysis.json").read_text())
    (dev,) = json.loads((run / "results.json").read_text())["dev"]
    assert found["split"] == "dev"
    assert found["definition"] == dev["definition"]
    assert found["link_threshold"] == dev["link_threshold"] == 0.1
    assert dev["scores"]["RE"]["micro"]["tp"] > 0, "nothing to compare"
    (point,) = [p for p in found["link_curve"] if p["lambda"] == 0.1]
    for task in ("RE", "RE+"):
        assert point[task] == {name: dev["scores"][task]["micro"][name] for name in ("precision", "recall", "f1")}
    assert [p["lambda"] for p in found["link_curve"]] == list(LINK_THRESHOLDS)
    assert found["best_link_threshold"] in LINK_THRESHOLDS
    assert found["per_type"] == {task: scores["per_type"] for task, scores in dev["scores"].items()}
    for task in ("NER", "RE+"):
        matrix, types = found["confusion"][task], found["per_type"][task]
        assert matrix["rows"] == [*types, "spurious"]
        assert matrix["columns"] == [*types, "missed"]
        assert [sum(row) for row in matrix["counts"][:-1]] == [scores["support"] for scores in types.values()]
    assert found["throughput"].pop("device") == "cpu"
    assert found["throughput"].pop("batch_size") == 32
    assert all(value > 0 for value in found["throughput"].values())

    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name in ("lr/encoder", "lr/heads"):  # of an epoch's last of three steps, linear to zero
        assert [line[name] for line in lines] == pytest.approx([1e-2 * (48 - step) / 48 for step in range(2, 48, 3)])

    (offline,) = (run / "wandb").glob("offline-run-*")  # the run was still open
    logged = {path.name.split("_")[0] for path in (offline / "files/media/table/dev").iterdir()}
    assert logged == {"predictions", "per", "confusion"}
    (store,) = offline.glob("*.wandb")
    names = [*curve_rows(found)[0], *scalars(found), *tables(found), "lr/encoder", "lr/heads"]
    deadline = time.monotonic() + 20
    while missing := [name for name in names if name.encode() not in stored(store.read_bytes())]:
        assert time.monotonic() < deadline, missing  # a process of W&B's own writes the file
        time.sleep(0.2)


def stored(log: bytes, block: int = 32768, head: int = 7) -> bytes:
    """What a .wandb file holds: chunks of (checksum, length, kind, data), of which none goes over a block's border."""
    content, place = b"", head  # the file begins with a head of its own
    while place + head <= len(log):
        if block - place % block < head:  # too small for a chunk: filled up
            place += block - place % block
            continue
        length = int.from_bytes(log[place + 4 : place + 6], "little")
        content += log[place + head : place + head + length]
        place += head + length
    return content


def test_what_goes_wrong_leaves_the_run_finished(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(summary, "analyse", fail)
    with pytest.warns(UserWarning, match="could not be analyzed: out of memory"):
        assert main(["fit", *arguments, "--trainer.max_epochs=1"]) == 0
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "finished"
    assert not (tmp_path / "run" / "analysis.json").exists()


@pytest.mark.parametrize(("interrupted", "first"), [(True, True), (False, False)])
def test_an_interrupted_run_and_other_ranks_analyse_nothing(interrupted: bool, first: bool, tmp_path: Path) -> None:
    trainer: Any = SimpleNamespace(interrupted=interrupted, is_global_zero=first)
    module: Any = None
    RunSummary(RunFolder(tmp_path)).on_fit_end(trainer, module)
    assert not list(tmp_path.iterdir())


def test_mixed_precision_is_analysed_as_it_was_scored(arguments: list[str], corpus_dir: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.json"  # a model of one epoch finds very many pairs in a sentence
    few.write_text(json.dumps(json.loads((corpus_dir / "dev.json").read_text())[:3]))
    options = [f"--data.dev={few}", LOW, "--trainer.precision=bf16-mixed", "--trainer.max_epochs=1"]
    assert main(["fit", *arguments, *options]) == 0
    found = json.loads((tmp_path / "run" / "analysis.json").read_text())
    (dev,) = json.loads((tmp_path / "run" / "results.json").read_text())["dev"]
    assert found["per_type"] == {task: scores["per_type"] for task, scores in dev["scores"].items()}


def test_without_relation_types_there_is_no_curve() -> None:
    model = tiny_model("bert", schema=Schema(("Loc", "Per")))
    found = analyse(model, [Example(("Ada", "lives", "in", "London"))] * 3, EvaluationDefinition(), batch_size=2)
    assert found["link_curve"] == []
    assert found["best_link_threshold"] is None
    assert set(found["per_type"]) == set(found["confusion"]) == {"NER"}
    logger: Any = FakeLogger()
    log_analysis(logger, found)
    assert logger.rows == []
    assert set(logger.tables) == {"dev/per_type", "dev/confusion_ner"}
    assert set(logger.metrics) == {"throughput/sentences_per_second", "throughput/words_per_second"}


def test_what_is_logged() -> None:
    scores = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "tp": 1, "fp": 1, "fn": 0, "support": 1}
    micro = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3}
    logger: Any = FakeLogger()
    log_analysis(logger, {
        "link_curve": [{"lambda": threshold, "RE": micro, "RE+": micro} for threshold in (0.4, 0.6)],
        "best_link_threshold": 0.4,
        "per_type": {"NER": {"Loc": scores}},
        "confusion": {"RE+": {"rows": ["Kin", "spurious"], "columns": ["Kin", "missed"], "counts": [[1, 2], [3, 0]]}},
        "throughput": {"sentences_per_second": 4.0, "words_per_second": 80.0, "device": "cpu", "batch_size": 32},
    })  # fmt: skip
    assert [row["link/threshold"] for row in logger.rows] == [0.4, 0.6]
    assert set(logger.rows[0]) == {
        "link/threshold", *(f"link/{task}_{name}" for task in ("re", "re_plus") for name in micro)
    }  # fmt: skip
    assert logger.steps.pop("link/threshold") == ""
    assert logger.steps == dict.fromkeys(logger.rows[0].keys() - {"link/threshold"}, "link/threshold")
    assert logger.tables == {
        "dev/per_type": (
            ["label", "task", "type", "precision", "recall", "f1", "support"],
            [["NER Loc", "NER", "Loc", 0.5, 1.0, 2 / 3, 1]],
        ),
        "dev/confusion_re_plus": (
            ["gold", "predicted", "count"],
            [["Kin", "Kin", 1], ["Kin", "missed", 2], ["spurious", "Kin", 3], ["spurious", "missed", 0]],
        ),
    }
    assert logger.metrics == {
        "throughput/sentences_per_second": 4.0, "throughput/words_per_second": 80.0, "link/best_threshold": 0.4,
    }  # fmt: skip
