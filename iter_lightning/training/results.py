"""Callbacks that write the results of `test` and `predict` into the run folder.

results.json           test: one entry per evaluation definition, with its link threshold
test_sentences.jsonl   one line per test sentence: counts under every definition, for intervals and paired tests
predictions.jsonl      predictions with scores, in the layout of SpERT's JSON
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from iter_lightning.io.atomic import write_atomically
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.metrics.functional import count_entities, count_relations, micro
from iter_lightning.training.manifest import digest
from iter_lightning.training.module import IterModule
from iter_lightning.training.run import RunFolder
from iter_lightning.types import Example, Prediction, Schema

TestRow = tuple[int, Example, Example, Prediction]
"""Index in the split, gold of the corpus, gold that survived encoding, prediction."""


class TestResults(Callback):
    """Writes the results of `test`, in corpus order."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.unfinished = False
        """Whether the run had not finished when its model was loaded."""
        self._rows: list[TestRow] = []

    def on_test_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Collect the rows; a split fits into memory, because the data module keeps it there."""
        self._rows.extend(outputs["rows"])

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the files on the first rank; results.json comes last, so that it implies the other files."""
        assert isinstance(pl_module, IterModule)
        rows = sorted(gather_rows(self._rows), key=lambda row: row[0])
        self._rows = []
        if trainer.is_global_zero:
            definitions = [metric.definition for metric in pl_module.test_metrics]
            lines = [json.dumps(sentence_counts(row, pl_module.schema, definitions)) + "\n" for row in rows]
            write_atomically(self.run.sentences_file, "".join(lines))
            write_predictions(self.run, [(gold, prediction) for _, gold, _, prediction in rows])
            self.run.add_results("test", pl_module.test_results, self.unfinished)


class PredictionFile(Callback):
    """Writes predictions.jsonl after `predict`."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.pairs: list[tuple[Example, Prediction]] = []
        """All examples with their predictions; empty before the end, and on all ranks except the first."""
        self._rows: list[tuple[int, Example, Prediction]] = []

    def on_predict_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Collect the rows; a split fits into memory, because the data module keeps it there."""
        self._rows.extend(outputs)

    def on_predict_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the file on the first rank."""
        rows = gather_rows(self._rows)
        if trainer.is_global_zero:
            self.pairs = [(example, prediction) for _, example, prediction in sorted(rows, key=lambda row: row[0])]
            write_predictions(self.run, self.pairs)


def sentence_counts(row: TestRow, schema: Schema, definitions: Sequence[EvaluationDefinition]) -> dict[str, Any]:
    """Return a line of test_sentences.jsonl: `counts[task][i]` is [tp, fp, fn] under `definitions[i]`."""
    _, corpus_gold, encoded_gold, prediction = row
    counts: dict[str, list[list[int]]] = {}
    for definition in definitions:
        gold = corpus_gold if definition.gold == "corpus" else encoded_gold
        counts.setdefault("NER", []).append(list(micro(count_entities(gold, prediction, definition))))
        if schema.relation_types:
            for task in ("RE", "RE+"):
                found = count_relations(gold, prediction, schema, definition, strict=task == "RE+")
                counts.setdefault(task, []).append(list(micro(found)))
    return {"id": corpus_gold.id, "sha256": digest([corpus_gold])[:16], "counts": counts}


def write_predictions(run: RunFolder, pairs: Sequence[tuple[Example, Prediction]]) -> None:
    """Write predictions.jsonl atomically."""
    lines = [json.dumps(as_record(*pair), ensure_ascii=False) + "\n" for pair in pairs]
    write_atomically(run.predictions_file, "".join(lines))


def gather_rows(rows: list[Any]) -> list[Any]:
    """Return the rows of all ranks; every rank must call this."""
    if not torch.distributed.is_initialized():
        return rows
    parts: list[list[Any]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]


def as_record(example: Example, prediction: Prediction) -> dict[str, Any]:
    """Convert a prediction to the layout of SpERT's JSON, with scores."""
    index = {entity: i for i, entity in enumerate(prediction.entities)}
    return {
        "orig_id": example.id,
        "tokens": list(example.words),
        "entities": [
            {"type": e.type, "start": e.start, "end": e.end, "score": round(score, 4)}
            for e, score in zip(prediction.entities, prediction.entity_scores, strict=True)
        ],
        "relations": [
            {"type": r.type, "head": index[r.head], "tail": index[r.tail], "score": round(score, 4)}
            for r, score in zip(prediction.relations, prediction.relation_scores, strict=True)
        ],
    }
