"""Counting true and false positives, and what scores follow from the counts. Pure functions, no state.

NER: span and type right. RE: both arguments' spans and the relation type right. RE+ (strict): RE and both entity
types. Everything is counted over sets a sentence: what is annotated or predicted twice counts once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from iter_lightning.types import Entity, Example, Prediction, Relation, Schema

TASKS = ("NER", "RE", "RE+")
Key = tuple[str, Hashable]
"""(type, what must be equal)."""


@dataclass(frozen=True)
class EvaluationDefinition:
    """What a score means; printed beside every number. The defaults are the honest ones.

    `match` and `symmetric` say how this module counts. `gold` and `split_protocol` name what the caller did: which
    `Example` it passes as gold, and what was trained and selected on.

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
        """Plain values; `EvaluationDefinition(**values)` is the inverse."""
        return asdict(self)


class Counts(NamedTuple):
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


def count_entities(gold: Example, prediction: Prediction, definition: EvaluationDefinition) -> dict[str, Counts]:
    """NER of one sentence: the types that occur in it -> counts.

    Raises:
        ValueError: a predicted span past the sentence.
    """
    return _tally(_entity_keys(gold, gold.entities, definition), _entity_keys(gold, prediction.entities, definition))


def count_relations(
    gold: Example, prediction: Prediction, schema: Schema, definition: EvaluationDefinition, strict: bool = False
) -> dict[str, Counts]:
    """RE, or with `strict` RE+, of one sentence: the relation types that occur in it -> counts.

    Without `strict` the arguments are spans, so relations that differ only in the types of their arguments merge.
    Under `symmetric: once` a symmetric relation is an unordered pair, however many directions are listed; under
    `twice` each stands for both directions, in gold and prediction (Appendix F). A symmetric relation of a
    mention with itself has one direction in either.

    Raises:
        ValueError: a predicted span past the sentence.
    """
    return _tally(
        relation_keys(gold, gold.relations, schema, definition, strict),
        relation_keys(gold, prediction.relations, schema, definition, strict),
    )


def check_types(gold: Example, prediction: Prediction, schema: Schema) -> None:
    """Hold gold and prediction to the schema's types, those of relations' arguments included.

    Raises:
        ValueError: a type that is not in the schema.
    """
    for side, sentence in (("gold", gold), ("predicted", prediction)):
        for relation in sentence.relations:
            if relation.type not in schema.relation_types:
                raise _unknown(gold, f"{side} relation type", relation.type, schema.relation_types)
            for argument in (relation.head, relation.tail):
                if argument.type not in schema.entity_types:
                    raise _unknown(gold, f"{side} argument type", argument.type, schema.entity_types)
        for entity in sentence.entities:
            if entity.type not in schema.entity_types:
                raise _unknown(gold, f"{side} entity type", entity.type, schema.entity_types)


def micro(by_type: Mapping[str, Counts]) -> Counts:
    """The counts of all types together."""
    return Counts(*(sum(column) for column in zip(*by_type.values(), strict=True)))


def macro(by_type: Mapping[str, Counts]) -> dict[str, float]:
    """Unweighted means over the types that occur in gold or predictions; zeros where none does.

    A type of the schema that neither side uses has no score and is left out; one that is only predicted has 0 and
    lowers the mean. F1 is the mean of the types' F1, not the F1 of the mean precision and recall.
    """
    present = [counts for counts in by_type.values() if any(counts)]
    names = ("precision", "recall", "f1")
    return {name: sum(getattr(c, name) for c in present) / len(present) if present else 0.0 for name in names}


def scores(by_type: Mapping[str, Counts]) -> dict[str, Any]:
    """One task's scores as plain values: `micro`, `macro` and `per_type`."""
    return {
        "micro": micro(by_type).scores(),
        "macro": macro(by_type),
        "per_type": {name: counts.scores() for name, counts in by_type.items()},
    }


def report(counts: Mapping[str, Mapping[str, Counts]]) -> dict[str, Any]:
    """The nested scores of results.json: task -> micro, macro, per_type."""
    return {task: scores(by_type) for task, by_type in counts.items()}


def _entity_keys(gold: Example, entities: Iterable[Entity], definition: EvaluationDefinition) -> set[Key]:
    """What must be equal for two entities of a sentence to match."""
    return {(entity.type, _place(gold, entity, definition)) for entity in entities}


def relation_keys(
    gold: Example, relations: Iterable[Relation], schema: Schema, definition: EvaluationDefinition, strict: bool
) -> set[Key]:
    """What must be equal for two relations of a sentence to match."""
    keys: set[Key] = set()
    for relation in relations:
        head, tail = _place(gold, relation.head, definition), _place(gold, relation.tail, definition)
        if strict:
            head, tail = (head, relation.head.type), (tail, relation.tail.type)
        if relation.type not in schema.symmetric:
            keys.add((relation.type, (head, tail)))
        elif definition.symmetric == "once":
            keys.add((relation.type, frozenset((head, tail))))
        else:
            keys.update(((relation.type, (head, tail)), (relation.type, (tail, head))))
    return keys


def _place(gold: Example, entity: Entity, definition: EvaluationDefinition) -> Hashable:
    if entity.end > len(gold.words):  # a slice of the words would silently stop at the last one and might match
        raise ValueError(
            f"example {gold.id!r}: predicted entity end {entity.end} is past the sentence ({len(gold.words)} words)"
        )
    return entity.span if definition.match == "position" else gold.words[entity.start : entity.end]


def _tally(gold: set[Key], found: set[Key]) -> dict[str, Counts]:
    """Type -> how many keys are in both, only found, only gold."""
    rows: dict[str, list[int]] = {}
    for column, keys in enumerate((gold & found, found - gold, gold - found)):
        for kind, _ in keys:
            rows.setdefault(kind, [0, 0, 0])[column] += 1
    return {kind: Counts(*row) for kind, row in rows.items()}


def _unknown(gold: Example, what: str, name: str, allowed: tuple[str, ...]) -> ValueError:
    return ValueError(f"example {gold.id!r}: {what} {name!r} is not in the schema; those are {list(allowed)}")
