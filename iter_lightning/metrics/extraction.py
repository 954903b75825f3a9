"""Accumulate the counts of `functional` in a torchmetrics metric, with states of fixed size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from iter_lightning.metrics.functional import (
    TASKS,
    Counts,
    EvaluationDefinition,
    check_types,
    count_entities,
    count_relations,
    macro,
    micro,
    report,
)
from iter_lightning.types import Example, Prediction, Schema

_STATES = {"NER": "ner", "RE": "re", "RE+": "re_plus"}


class ExtractionMetric(Metric):
    """Compute NER, RE, and RE+ scores of predictions against gold annotation.

    NER requires the span and type of an entity to match. RE requires the spans of both arguments and the relation type.
    RE+ (strict) also requires both entity types. `update` receives lists of predictions and gold examples, `compute`
    returns micro and macro averages as scalar tensors, and `report` returns them as plain values, with counts per type.

    The state of each task is a long tensor [types, 3] with true positives, false positives, and false negatives, in
    the order of the schema. States are summed over ranks, which may have different numbers of sentences, or none.

    Args:
        schema: Types that are counted. Without relation types, only NER is scored.
        definition: Definition of the scores. None means the default definition.

    Example:
        >>> from iter_lightning.types import Entity
        >>> entity, wrong = Entity(0, 1, "Peop"), Entity(1, 2, "Peop")
        >>> metric = ExtractionMetric(Schema(("Peop",)))
        >>> prediction = Prediction((entity, wrong), entity_scores=(0.9, 0.6))
        >>> metric.update([prediction], [Example(("Ada", "sings"), (entity,))])
        >>> metric.compute()["ner_precision"]
        tensor(0.5000)
        >>> metric.report()["NER"]["micro"]["fp"]
        1
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
        self._totals: dict[str, dict[str, Counts]] = {}
        """Counts of all ranks at the last computation."""

    def update(self, predictions: Sequence[Prediction], gold: Sequence[Example]) -> None:
        """Count sentences, with `predictions[i]` against `gold[i]`. If it raises, no sentence is counted.

        Args:
            predictions: Predictions of the model.
            gold: Gold examples, in the same order.

        Raises:
            ValueError: If the lengths differ, a type is not in the schema, or a span ends past the sentence.
        """
        if len(predictions) != len(gold):
            raise ValueError(f"{len(predictions)} predictions for {len(gold)} gold examples")
        added = {task: {name: [0, 0, 0] for name in self._types(task)} for task in self.tasks}
        for prediction, example in zip(predictions, gold, strict=True):
            check_types(example, prediction, self.schema)
            for task, rows in added.items():
                for name, counts in self._count(task, prediction, example).items():
                    row = rows[name]
                    for column, number in enumerate(counts):
                        row[column] += number
        # not `+=`, which would count twice in processes that share the memory of the state
        for task, rows in added.items():
            state = getattr(self, _STATES[task])
            setattr(self, _STATES[task], state + torch.tensor(list(rows.values()), device=state.device))

    def compute(self) -> dict[str, Tensor]:
        """Return scalars [] such as `ner_precision` and `re_plus_f1` (micro), or `ner_macro_f1` (macro)."""
        self._totals = self.counts()  # torchmetrics has synced the states for this method
        values: dict[str, float] = {}
        for task, by_type in self._totals.items():
            total, mean = micro(by_type), macro(by_type)
            for name in ("precision", "recall", "f1"):
                values[f"{_STATES[task]}_{name}"] = getattr(total, name)
                values[f"{_STATES[task]}_macro_{name}"] = mean[name]
        return {name: torch.tensor(value, device=self.device) for name, value in values.items()}

    def report(self) -> dict[str, Any]:
        """Return the nested scores of results.json over all ranks. Every rank must call it."""
        self.compute()
        return report(self._totals)

    def counts(self) -> dict[str, dict[str, Counts]]:
        """Return a map from task and type to counts, from the current states of this rank."""
        return {
            task: {
                name: Counts(*row)
                for name, row in zip(self._types(task), getattr(self, _STATES[task]).tolist(), strict=True)
            }
            for task in self.tasks
        }

    def _count(self, task: str, prediction: Prediction, example: Example) -> dict[str, Counts]:
        if task == "NER":
            return count_entities(example, prediction, self.definition)
        return count_relations(example, prediction, self.schema, self.definition, strict=task == "RE+")

    def _types(self, task: str) -> tuple[str, ...]:
        return self.schema.entity_types if task == "NER" else self.schema.relation_types
