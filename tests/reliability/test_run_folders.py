"""Run folders with damaged files: every reader reports the file and what to do, in one line."""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.apps.export.facts import read_results
from iter_lightning.json_files import MANIFEST, read_object
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.studies.runs.counts import read_sentences
from iter_lightning.studies.runs.stored import commits_of, gaps
from iter_lightning.studies.sweeps.journal import Journal
from iter_lightning.studies.sweeps.sweep import result_of
from iter_lightning.training.run import RunFolder, identity
from tests.reliability.campaign import Campaign
from tests.reliability.test_configuration import WRONG, changed, places
from tests.studies.builders import write_run

pytestmark = pytest.mark.reliability

SPLIT = {"sentences": 2, "entities": 2, "relations": 1, "sha256": "abc"}
RECORD = {
    "status": "finished", "seed": 1, "encoder": "e", "tokenizer_sha256": "t", "started": "2026", "device": "cpu",
    "config": {
        "data": {"class_path": "Synthetic", "init_args": {"fold": 1}}, "model": {"encoder": "e"},
        "trainer": {"max_epochs": 1},
    },
    "platform": "Linux", "python": "3.11", "versions": {"iter-lightning": "0.1.0"}, "commit": "0123",
    "commit_clean": True, "evaluation": EvaluationDefinition().to_dict(), "origin": {"encoder_sha256": "e"},
    "data": {"title": "a", "files": {}, "splits": {"train": SPLIT, "test": SPLIT}}, "seconds": 6.0, "epochs": 1,
    "best": {"epoch": 0, "dev/f1": 0.5}, "attempts": [{}],
}  # fmt: skip
ANALYSIS = {
    "split": "dev", "definition": EvaluationDefinition().to_dict(), "link_threshold": 0.5,
    "link_curve": [{"lambda": 0.5, **{task: {"precision": 1.0, "recall": 1.0, "f1": 1.0} for task in ("RE", "RE+")}}],
    "best_link_threshold": 0.5,
    "per_type": {"NER": {"Per": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}}},
    "confusion": {"NER": {"rows": ["Per"], "columns": ["Per"], "counts": [[1]]}},
    "throughput": {"sentences_per_second": 1.0, "words_per_second": 2.0, "device": "cpu", "batch_size": 1},
}  # fmt: skip
RAW = {
    "empty": b"", "utf16": json.dumps(RECORD).encode("utf-16"), "latin1": b'{"title": "\xe9"}', "list": b"[]",
    "null": b"null", "number": b"5", "text": b'"x"', "deep": b'{"a": ' + b"[" * 100_000, "cut": b'{"status": "fin',
    "long number": b'{"seconds": ' + b"9" * 5000 + b"}", "binary": bytes(range(256)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.raiseExceptions = False  # Lightning's handler keeps the stream of the test that imported it first


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished and tested run."""
    folder = write_run(tmp_path / "run", json.loads(json.dumps(RECORD)), [{"NER": [1, 0, 0]}, {"NER": [0, 1, 1]}])
    results = {split: entries[:1] if split == "dev" else entries for split, entries in folder.read_results().items()}
    for entry in [entry for entries in results.values() for entry in entries]:
        entry["scores"] = {
            task: {"micro": {**s["micro"], "precision": 0.5, "recall": 0.5}, "macro": {"f1": 0.5}, "per_type": {}}
            for task, s in entry["scores"].items()
        }
    folder.write_json(folder.results_file, results)
    folder.write_json(folder.analysis_file, ANALYSIS)
    folder.metrics_file.write_text('{"epoch": 0, "seconds": 1.0, "dev/f1": 0.5}\n')
    folder.write_json(folder.model / "config.json", {"model_type": "iter", "schema": {"entity_types": ["Per"]}})
    return folder


def read_all(run: RunFolder) -> None:
    """All that studies and exports read of a run."""
    manifest = run.manifest
    if not manifest:
        return
    identity(manifest.get("config") or {})
    gaps(manifest)
    commits_of([manifest])
    run.read_metrics()
    _ = run.analysis, run.model_config, run.finished
    read_results(run.results_file)
    read_sentences(run.path)


READERS: dict[str, Callable[[RunFolder], Any]] = {
    "manifest.json": lambda run: run.manifest, "results.json": RunFolder.read_results,
    "metrics.jsonl": RunFolder.read_metrics, "analysis.json": lambda run: run.analysis,
    "model/config.json": lambda run: run.model_config,
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_damaged_file_is_named(name: str, run: RunFolder, campaign: Campaign) -> None:
    assert campaign.tries(read_all, run) is None
    for content in RAW.values():
        if name == "metrics.jsonl" and not content:
            continue
        (run.path / name).write_bytes(content)
        assert name in campaign.raises(READERS[name], run)
    (run.path / name).unlink()
    (run.path / name).mkdir()
    assert name in campaign.raises(READERS[name], run)


@pytest.mark.parametrize("name", READERS)
def test_file_cut_or_flipped_anywhere(name: str, run: RunFolder, campaign: Campaign) -> None:
    path, rng = run.path / name, random.Random(name)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:length])
        campaign.tries(read_all, run)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(bytes(damaged))
        campaign.tries(read_all, run)


@pytest.mark.parametrize("name", ["manifest.json", "results.json", "analysis.json"])
def test_wrong_values_anywhere(name: str, run: RunFolder, campaign: Campaign) -> None:
    whole = json.loads((run.path / name).read_text())
    if name == "results.json":
        whole = {split: entries[:1] for split, entries in whole.items()}
    for place in places(whole):
        for value in WRONG:
            (run.path / name).write_text(json.dumps(changed(whole, place, value)))
            campaign.tries(read_all, run)
            campaign.tries(read_object, run.manifest_file, "remedy", MANIFEST)
            result_of(run)


def test_journal_of_a_sweep(campaign: Campaign, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [
        {"event": "sweep", "facade": "hpo"}, {"event": "asked", "number": 1, "values": {}, "budget": None},
        {"event": "told", "number": 1, "status": "finished", "dev_f1": 0.5, "seconds": 1.0, "reason": ""},
    ]  # fmt: skip
    path = tmp_path / "trials.jsonl"
    for place in places(events):
        for value in WRONG:
            lines = changed(events, place, value)
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            campaign.tries(Journal, path)
    for content in RAW.values():
        path.write_bytes(content + b"\n")
        campaign.tries(Journal, path)


def test_commands_on_damaged_run_folders(run: RunFolder, campaign: Campaign, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run.path, other)
    for name in ("manifest.json", "results.json", "test_sentences.jsonl"):
        whole = (run.path / name).read_bytes()
        for kind in ("utf16", "list", "cut", "deep", "empty"):
            (run.path / name).write_bytes(RAW[kind])
            campaign.survives(["compare", str(run.path), str(other)])
        (run.path / name).write_bytes(whole)


def test_fit_and_test_on_damaged_run_folders(
    campaign: Campaign, encoder_dir: Path, corpus_dir: Path, tmp_path: Path
) -> None:
    arguments = [
        "--data=Custom", *(f"--data.{split}={corpus_dir / split}.json" for split in ("train", "dev", "test")),
        f"--model.encoder={encoder_dir}", f"--run_dir={tmp_path / 'run'}", "--wandb.mode=disabled",
        "--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    assert campaign.run(["fit", *arguments], limit_s=300).status == 0
    run = RunFolder(tmp_path / "run")
    for name, kinds in (("manifest.json", ("utf16", "cut", "number")), ("model/config.json", ("cut", "list"))):
        whole = (run.path / name).read_bytes()
        for kind in kinds:
            (run.path / name).write_bytes(RAW[kind])
            campaign.refused(["test", *arguments], name)
        (run.path / name).write_bytes(whole)
    config = json.loads((run.model / "config.json").read_text())
    run.write_json(run.model / "config.json", {key: value for key, value in config.items() if key != "schema"})
    campaign.refused(["test", *arguments], "config.json is damaged (schema is missing)")
    run.write_json(run.model / "config.json", config)
    run.results_file.write_bytes(RAW["utf16"])
    campaign.refused(["validate", *arguments], "results.json is damaged")


def test_damaged_encoder_is_refused_before_anything_is_written(
    campaign: Campaign, encoder_dir: Path, corpus_dir: Path, tmp_path: Path
) -> None:
    encoder = tmp_path / "encoder"
    arguments = ["--data=Custom", f"--data.train={corpus_dir / 'train.json'}", f"--model.encoder={encoder}",
                 f"--run_dir={tmp_path / 'run'}", "--wandb.mode=disabled", "--trainer.accelerator=cpu"]  # fmt: skip
    for name in ("config.json", "model.safetensors"):
        shutil.rmtree(encoder, ignore_errors=True)
        shutil.copytree(encoder_dir, encoder)
        whole = (encoder / name).read_bytes()
        for length in (0, 7, len(whole) // 2):
            (encoder / name).write_bytes(whole[:length])
            campaign.refused(["fit", *arguments])
            assert not (tmp_path / "run").exists()
