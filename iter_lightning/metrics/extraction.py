"""The metric Lightning synchronises: fixed-size sums over the functions of `functional`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from iter_lightning.metrics.functional import TASKS, Counts, EvaluationDefinition, count, macro, micro, report
from iter_lightning.types import Example, Prediction, Schema

_STATES = {"NER": "ner", "RE": "re", "RE+": "re_plus"}


class ExtractionMetric(Metric):
    """NER, RE and RE+ of predictions against gold, under one definition.

    States are long tensors [types, 3] of tp, fp, fn, summed over ranks: uneven and empty ranks are fine.

    Args:
        schema: the types that are counted; without relation types there is NER alone.
        definition: what the scores mean.
    """

    full_state_update = False
    higher_is_better = True
    ner: Tensor
    re: Tensor
    re_plus: Tensor

    def __init__(self, schema: Schema, definition: EvaluationDefinition | None = None) -> None:
        super().__init__()
        self.schema = schema
        self.definition = definition or EvaluationDefinition()
        self.tasks = TASKS if schema.relation_types else TASKS[:1]
        for task in self.tasks:
            zeros = torch.zeros(len(self._types(task)), 3, dtype=torch.long)
            self.add_state(_STATES[task], zeros, dist_reduce_fx="sum")

    def _types(self, task: str) -> tuple[str, ...]:
        return self.schema.entity_types if task == "NER" else self.schema.relation_types

    def update(self, predictions: Sequence[Prediction], gold: Sequence[Example]) -> None:
        """Count sentences, `predictions[i]` against `gold[i]`.

        Raises:
            ValueError: different lengths, or a type that is not in the schema.
        """
        if len(predictions) != len(gold):
            raise ValueError(f"{len(predictions)} predictions for {len(gold)} gold examples")
        found = [count(example, pred, self.schema, self.definition) for pred, example in zip(predictions, gold, strict=True)]
        for task in self.tasks:
            types = {name: i for i, name in enumerate(self._types(task))}
            added = torch.zeros(len(types), 3, dtype=torch.long)
            for sentence in found:
                for column, by_type in enumerate(sentence[task]):
                    for name, number in by_type.items():
                        if name not in types:
                            raise ValueError(f"{task}: type {name!r} is not in the schema {list(types)}")
                        added[types[name], column] += number
            # not `+=`: in place, the states of processes that share memory would add up twice
            setattr(self, _STATES[task], getattr(self, _STATES[task]) + added.to(self.device))

    def counts(self) -> dict[str, dict[str, Counts]]:
        """task -> type -> counts."""
        return {
            task: {
                name: Counts(*row)
                for name, row in zip(self._types(task), getattr(self, _STATES[task]).tolist(), strict=True)
            }
            for task in self.tasks
        }

    def compute(self) -> dict[str, Tensor]:
        """Scalars named `ner_precision` ... `re_plus_f1` (micro) and `ner_macro_f1` ... (macro)."""
        values: dict[str, float] = {}
        for task, by_type in self.counts().items():
            total, mean = micro(by_type), macro(by_type)
            for name in ("precision", "recall", "f1"):
                values[f"{_STATES[task]}_{name}"] = getattr(total, name)
                values[f"{_STATES[task]}_macro_{name}"] = mean[name]
        return {name: torch.tensor(value, device=self.device) for name, value in values.items()}

    def report(self) -> dict[str, Any]:
        """The nested scores of results.json, over all ranks."""
        with self.sync_context(should_sync=self._to_sync):
            return report(self.counts())
