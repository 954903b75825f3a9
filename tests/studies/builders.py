"""Run folders as a training would leave them, without one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.studies.runs.plan import RunSpec
from iter_lightning.training.run import RunFolder

DEFINITIONS = [
    EvaluationDefinition(gold, match, symmetric)
    for gold, match, symmetric in product(("corpus", "encoded"), ("position", "surface"), ("once", "twice"))
]


@contextmanager
def heard() -> Iterator[list[str]]:
    """The messages that studies log."""
    said: list[str] = []
    logger, handler = logging.getLogger("iter_lightning.studies"), logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def manifest_of(spec: RunSpec, **changes: Any) -> dict[str, Any]:
    """A complete manifest of a finished run."""
    split = {"sentences": 2, "entities": 2, "relations": 1, "sha256": "abc"}
    return {
        "status": "finished", "config": deepcopy(spec.settings), "seed": spec.seed, "encoder": "tiny",
        "tokenizer_sha256": "t", "started": "2026-01-01T00:00:00+00:00", "device": "cpu", "platform": "Linux",
        "python": "3.11",
        "versions": {"iter-lightning": "0.1.0", "torch": "2"}, "commit": "0123456789", "commit_clean": True,
        "evaluation": EvaluationDefinition().to_dict(),
        "data": {"title": spec.corpus, "files": {}, "splits": dict.fromkeys(("train", "dev", "test"), split)},
        "origin": {"splits": {}, "tokenizer_sha256": "t", "encoder_sha256": "e"}, "seconds": 61.0, "epochs": 3,
        "best": {"epoch": 2, "dev/f1": 0.5}, **changes,
    }  # fmt: skip


def write_run(
    folder: Path, manifest: Mapping[str, Any], sentences: Sequence[Mapping[str, Sequence[int]]] = (),
    link_threshold: float = 0.5,
) -> RunFolder:  # fmt: skip
    """A run folder; with `sentences` (task -> [tp, fp, fn], the same under every definition) a tested one."""
    run = RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run.write_json(run.manifest_file, manifest)
    run.model.mkdir(exist_ok=True)
    (run.model / "model.safetensors").write_text(str(folder))
    if not sentences:
        return run
    manifest["data"]["splits"]["test"] = {**manifest["data"]["splits"]["test"], "sentences": len(sentences)}
    run.write_json(run.manifest_file, manifest)
    lines = [
        {"id": str(i), "sha256": f"s{i}", "counts": {task: [list(counts)] * 8 for task, counts in sentence.items()}}
        for i, sentence in enumerate(sentences)
    ]
    run.sentences_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    totals = {task: [sum(column) for column in zip(*(s[task] for s in sentences), strict=True)]
              for task in sentences[0]}  # fmt: skip
    scores = {task: {"micro": {**dict(zip(("tp", "fp", "fn"), total, strict=True)), "f1": f1(*total)}}
              for task, total in totals.items()}  # fmt: skip
    test = [{"definition": d.to_dict(), "link_threshold": link_threshold, "scores": scores} for d in DEFINITIONS]
    run.write_json(run.results_file, {"dev": test[:1], "test": test})
    return run


def f1(tp: int, fp: int, fn: int) -> float:
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


PLAN = """
table: 2
title: a plan
seeds: [1, 2]
corpora:
  conll04: {config: mine.yaml}
  ade: {config: folds.yaml, folds: 2, seeds: [1], tasks: [NER]}
rows:
  - {key: own, label: Its own encoder, configs: {conll04: mine.yaml, ade: folds.yaml}}
  - {key: other, label: Another encoder, encoder: other/encoder, corpora: [conll04]}
  - {key: own+folds, label: Transfer, configs: {conll04: mine.yaml}, init_from: start.yaml, seeds: [1]}
"""


def write_plan(folder: Path, text: str = PLAN, encoder: str = "tiny/encoder", **settings: Any) -> Path:
    """A plan with the experiments it names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text("trainer: {max_epochs: 3}\nmodel: {dropout: 3.0e-1}\n")
    for name, data in (("mine", "CoNLL04"), ("folds", "ADE"), ("start", "Synthetic")):
        (folder / f"{name}.yaml").write_text(
            f"extends: base.yaml\nexperiment: {name}\ndata: {{class_path: {data}, init_args: {{batch_size: 4}}}}\n"
            f"model: {{encoder: {encoder}}}\n"
        )
    (folder / "table2.yaml").write_text(text)
    return folder / "table2.yaml"
