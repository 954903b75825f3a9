"""Section `agreement`: what a trained model finds in each precision, against what it finds in plain float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from iter_lightning.benchmark.shapes import Measurement, Plan, kernels_of, options_of
from iter_lightning.benchmark.subjects import Subject
from iter_lightning.errors import ConfigError
from iter_lightning.metrics import ExtractionMetric
from iter_lightning.model.inference import prepare
from iter_lightning.types import Example, Prediction, Schema

BATCH = 32


def agreement(subject: Subject, plan: Plan) -> Iterator[Measurement]:
    """F1 on the subject's sentences, and how many entities and relations are found by one side alone.

    Raises:
        ConfigError: the heads are not trained.
    """
    if not subject.trained:
        raise ConfigError("agreement compares what trained models find: give --model")
    plain = deepcopy(subject.model)
    plain.packing = False
    expected = plain.predict(subject.examples, BATCH)
    before = scores(expected, subject.examples, plain.config.schema)
    for options in plan.options:
        found = prepare(deepcopy(subject.model), options).predict(subject.examples, BATCH)
        now = scores(found, subject.examples, plain.config.schema)
        yield options_of(options), {
            "kernels": kernels_of(options, subject.model),
            "plain": before, "scores": now, "entities": sum(len(p.entities) for p in expected),
            "relations": sum(len(p.relations) for p in expected), "flips": flips(found, expected),
        }  # fmt: skip


def scores(predictions: Sequence[Prediction], examples: Sequence[Example], schema: Schema) -> dict[str, float]:
    """Micro F1 of NER and RE+, in percent, under the default definition."""
    metric = ExtractionMetric(schema)
    metric.update(predictions, examples)
    values = metric.compute()
    return {task: 100 * float(values[f"{key}_f1"]) for task, key in (("NER", "ner"), ("RE+", "re_plus"))}


def flips(found: Sequence[Prediction], expected: Sequence[Prediction]) -> dict[str, int]:
    """Entities and relations that one side finds and the other does not."""
    counts: dict[str, Any] = dict.fromkeys(("entities", "relations"), 0)
    for one, other in zip(found, expected, strict=True):
        counts["entities"] += len(set(one.entities) ^ set(other.entities))
        counts["relations"] += len(set(one.relations) ^ set(other.relations))
    return counts
