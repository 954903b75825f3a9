"""The metric Lightning synchronises: fixed-size sums over the functions of `functional`."""

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
    """NER, RE and RE+ of predictions against gold, under one definition.

    States, all long and summed over ranks, so that uneven and empty ranks are fine: for each task [types, 3] of tp,
    fp, fn in the schema's order, and the number of sentences [].

    Args:
        schema: the types that are counted; without relation types there is NER alone.
        definition: what the scores mean; None is the default one.
    """

    full_state_update = False
    higher_is_better = True
    ner: Tensor
    re: Tensor
    re_plus: Tensor
    sentences: Tensor

    def __init__(self, schema: Schema, definition: EvaluationDefinition | None = None) -> None:
        super().__init__()
        self.schema = schema
        self.definition = definition or EvaluationDefinition()
        self.tasks = TASKS if schema.relation_types else TASKS[:1]
        for task in self.tasks:
            zeros = torch.zeros(len(self._types(task)), 3, dtype=torch.long)
            self.add_state(_STATES[task], zeros, dist_reduce_fx="sum")
        self.add_state("sentences", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[Prediction], gold: Sequence[Example]) -> None:
        """Count sentences, `predictions[i]` against `gold[i]`; all of them, or none where it raises.

        Raises:
            ValueError: different lengths, a type that is not in the schema, or a span past the sentence.
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
        # not `+=`: in place, the states of processes that share memory would add up twice
        for task, rows in added.items():
            state = getattr(self, _STATES[task])
            setattr(self, _STATES[task], state + torch.tensor(list(rows.values()), device=state.device))
        self.sentences = self.sentences + len(gold)

    def compute(self) -> dict[str, Tensor]:
        """Scalars [] named `ner_precision` ... `re_plus_f1` (micro) and `ner_macro_precision` ... (macro)."""
        values: dict[str, float] = {}
        for task, by_type in self.counts().items():
            total, mean = micro(by_type), macro(by_type)
            for name in ("precision", "recall", "f1"):
                values[f"{_STATES[task]}_{name}"] = getattr(total, name)
                values[f"{_STATES[task]}_macro_{name}"] = mean[name]
        return {name: torch.tensor(value, device=self.device) for name, value in values.items()}

    def report(self) -> dict[str, Any]:
        """The nested scores of results.json, over all ranks: every rank has to call it."""
        return report(self._over_ranks()[0])

    def sentence_count(self) -> int:
        """How many sentences were counted, over all ranks: every rank has to call it."""
        return self._over_ranks()[1]

    def counts(self) -> dict[str, dict[str, Counts]]:
        """Task -> type -> counts, of this rank's states as they are."""
        return {
            task: {
                name: Counts(*row)
                for name, row in zip(self._types(task), getattr(self, _STATES[task]).tolist(), strict=True)
            }
            for task in self.tasks
        }

    def _over_ranks(self) -> tuple[dict[str, dict[str, Counts]], int]:
        if self._is_synced:  # by the caller, who also takes it back
            return self.counts(), int(self.sentences)
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync):
            return self.counts(), int(self.sentences)

    def _count(self, task: str, prediction: Prediction, example: Example) -> dict[str, Counts]:
        if task == "NER":
            return count_entities(example, prediction, self.definition)
        return count_relations(example, prediction, self.schema, self.definition, strict=task == "RE+")

    def _types(self, task: str) -> tuple[str, ...]:
        return self.schema.entity_types if task == "NER" else self.schema.relation_types
