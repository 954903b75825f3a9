"""Evaluation of an open model during training: bound to the types of each dev corpus in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iter_lightning.corpora.checks import is_flat
from iter_lightning.corpora.corpus import SplitProtocol
from iter_lightning.corpora.labeled import LabeledCorpus
from iter_lightning.metrics import EvaluationDefinition, ExtractionMetric
from iter_lightning.model import IterModel
from iter_lightning.types import Example, Prediction


class ZeroShotScores:
    """Scores of an open model on corpora with different types, each with the names of its own types.

    Args:
        model: the open model.
        corpora: the corpora, with named types.
        split_protocol: reported with the scores.
    """

    def __init__(
        self, model: IterModel, corpora: Sequence[LabeledCorpus], split_protocol: SplitProtocol = "clean"
    ) -> None:
        self.corpora = corpora
        self.models = [model.bind(corpus.schema, nested=not is_flat(corpus.splits["dev"])) for corpus in corpora]
        self.metrics = [
            ExtractionMetric(corpus.schema, EvaluationDefinition(split_protocol=split_protocol)) for corpus in corpora
        ]

    def update(self, number: int, predictions: list[Prediction], examples: list[Example]) -> None:
        """Count predictions for a corpus."""
        self.metrics[number].update(predictions, examples)

    def compute(self) -> dict[str, float]:
        """Return F1 values by `corpus/measure`, and `f1`: the mean over corpora of NER and, if it has any, RE+."""
        values: dict[str, float] = {}
        means = []
        for corpus, metric in zip(self.corpora, self.metrics, strict=True):
            scores = {name: float(value) for name, value in metric.compute().items() if name.endswith("_f1")}
            values |= {f"{corpus.name}/{name}": value for name, value in scores.items()}
            own = [scores["ner_f1"]] + ([scores["re_plus_f1"]] if corpus.schema.relation_types else [])
            means.append(sum(own) / len(own))
        return {**values, "f1": sum(means) / max(1, len(means))}

    def results(self, link_threshold: float) -> list[dict[str, Any]]:
        """Return the reports of all corpora, as results.json has them."""
        return [
            {"corpus": corpus.name, "definition": metric.definition.to_dict(), "link_threshold": link_threshold,
             "scores": metric.report()}
            for corpus, metric in zip(self.corpora, self.metrics, strict=True)
        ]  # fmt: skip
