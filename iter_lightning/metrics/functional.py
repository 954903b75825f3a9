"""Counting true and false positives, and what scores follow from the counts. Pure functions, no state.

NER: span and type right. RE: both arguments' spans and the relation type right. RE+ (strict): RE and both entity
types. Everything is counted over sets a sentence: what is annotated or predicted twice counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from iter_lightning.types import Entity, Example, Prediction, Relation, Schema

TASKS = ("NER", "RE", "RE+")
Key = tuple[str, Hashable]
"""(type, what must be equal)."""


@dataclass(frozen=True)
class EvaluationDefinition:
    """What a score means; printed beside every number. The defaults are the honest ones.

    Raises:
        ValueError: a value that is not among the named ones.
    """

    gold: str = "corpus"
    """`corpus`, or `encoded`: what encoding lost leaves the denominator of recall, as published."""
    match: str = "position"
    """`position`, or `surface`: the words of a span, so that equal mentions of a sentence merge, as published."""
    symmetric: str = "once"
    """`once`, or `twice`: a symmetric relation counts in both directions (PL-Marker's weighting, Appendix F)."""
    split_protocol: str = "clean"
    """`clean`, or `paper`: what was trained and selected on (see the data modules)."""

    def __post_init__(self) -> None:
        allowed = {
            "gold": ("corpus", "encoded"), "match": ("position", "surface"), "symmetric": ("once", "twice"),
            "split_protocol": ("clean", "paper"),
        }  # fmt: skip
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} {getattr(self, name)!r} is neither {' nor '.join(values)}")

    def describe(self) -> str:
        """One line."""
        return " · ".join(f"{name}: {value}" for name, value in asdict(self).items())

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives of one type."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float:
        """In [0, 1]; 0 where nothing was predicted."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        """In [0, 1]; 0 where there is no gold."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0

    @property
    def f1(self) -> float:
        """In [0, 1]; 0 where there is neither gold nor prediction."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else 0.0

    def scores(self) -> dict[str, float | int]:
        """Scores and counts; `support` is the number of gold items."""
        return {
            "precision": self.precision, "recall": self.recall, "f1": self.f1,
            "tp": self.tp, "fp": self.fp, "fn": self.fn, "support": self.tp + self.fn,
        }  # fmt: skip


def entity_keys(example: Example, entities: Iterable[Entity], definition: EvaluationDefinition) -> set[Key]:
    """What must be equal for two entities of a sentence to match."""
    return {(e.type, _place(example, e, definition)) for e in entities}


def relation_keys(
    example: Example, relations: Iterable[Relation], schema: Schema, definition: EvaluationDefinition, strict: bool
) -> set[Key]:
    """What must be equal for two relations of a sentence to match; `strict` adds both entity types (RE+)."""
    keys: set[Key] = set()
    for relation in relations:
        head, tail = (
            (_place(example, e, definition), e.type if strict else "") for e in (relation.head, relation.tail)
        )
        if relation.type not in schema.symmetric:
            keys.add((relation.type, (head, tail)))
        elif definition.symmetric == "once":
            keys.add((relation.type, frozenset((head, tail))))
        else:
            keys.update({(relation.type, (head, tail)), (relation.type, (tail, head))})
    return keys


def count(
    example: Example, prediction: Prediction, schema: Schema, definition: EvaluationDefinition
) -> dict[str, tuple[Counter[str], Counter[str], Counter[str]]]:
    """For each task the tp, fp and fn by type of one sentence; `example` is the gold."""
    result = {}
    for task in TASKS:
        if task == "NER":
            gold, found = (entity_keys(example, side.entities, definition) for side in (example, prediction))
        else:
            gold, found = (
                relation_keys(example, side.relations, schema, definition, task == "RE+")
                for side in (example, prediction)
            )
        result[task] = tuple(Counter(kind for kind, _ in keys) for keys in (gold & found, found - gold, gold - found))
    return result  # type: ignore[return-value]


def micro(by_type: Mapping[str, Counts]) -> Counts:
    """The counts of all types together."""
    return Counts(*(sum(getattr(c, name) for c in by_type.values()) for name in ("tp", "fp", "fn")))


def macro(by_type: Mapping[str, Counts]) -> dict[str, float]:
    """Unweighted means over the types that occur in gold or predictions; zeros where none does."""
    present = [c for c in by_type.values() if c.tp + c.fp + c.fn]
    names = ("precision", "recall", "f1")
    return {name: sum(getattr(c, name) for c in present) / len(present) if present else 0.0 for name in names}


def report(counts: Mapping[str, Mapping[str, Counts]]) -> dict[str, Any]:
    """The nested scores of results.json: task -> micro, macro, per_type."""
    return {
        task: {
            "micro": micro(by_type).scores(),
            "macro": macro(by_type),
            "per_type": {name: c.scores() for name, c in by_type.items()},
        }
        for task, by_type in counts.items()
    }


def _place(example: Example, entity: Entity, definition: EvaluationDefinition) -> Hashable:
    return entity.span if definition.match == "position" else example.words[entity.start : entity.end]
