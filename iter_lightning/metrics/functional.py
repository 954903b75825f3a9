"""Count true positives, false positives, and false negatives, and compute scores from them, without state.

- NER: the span and type of an entity match.
- RE: the spans of both arguments and the relation type match.
- RE+ (strict): both entity types match, too.

Each sentence is a set of items: repeated items count once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from iter_lightning.corpora.corpus import SplitProtocol
from iter_lightning.types import Entity, Example, Prediction, Relation, Schema

TASKS = ("NER", "RE", "RE+")
Gold = Literal["corpus", "encoded"]
Match = Literal["position", "surface"]
Symmetric = Literal["once", "twice"]
Key = tuple[str, Hashable]
"""A type, and a value that must be equal for two items to match."""


@dataclass(frozen=True)
class EvaluationDefinition:
    """Define the meaning of a score. It is printed next to every result.

    `match` and `symmetric` control how this module counts. `gold` and `split_protocol` record the choices of the
    caller: which `Example` it passes as gold, and which data were used for training and model selection.

    Raises:
        ValueError: If a value is not one of the listed ones.

    Example:
        >>> EvaluationDefinition(match="surface").describe()
        'gold: corpus · match: surface · symmetric: once · split_protocol: clean'
    """

    gold: Gold = "corpus"
    """`corpus` counts all gold. `encoded` excludes gold that the encoding lost, as in the publication."""
    match: Match = "position"
    """`position` compares spans. `surface` compares their words, so that equal mentions of a sentence merge, as in the
    publication."""
    symmetric: Symmetric = "once"
    """`once` counts a symmetric relation once. `twice` counts both directions (PL-Marker's weighting, Appendix F)."""
    split_protocol: SplitProtocol = "clean"
    """`clean` or `paper`: the data used for training and model selection (see the data modules)."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            if getattr(self, name) not in get_args(hint):
                raise ValueError(f"{name} {getattr(self, name)!r} is neither {' nor '.join(get_args(hint))}")

    def describe(self) -> str:
        """Return the definition in one line."""
        return " · ".join(f"{name}: {value}" for name, value in asdict(self).items())

    def to_dict(self) -> dict[str, str]:
        """Return plain values. `EvaluationDefinition(**values)` is the inverse."""
        return asdict(self)


class Counts(NamedTuple):
    """Hold the true positives, false positives, and false negatives of one type."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float:
        """Return the precision in [0, 1]; 0 without predictions."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        """Return the recall in [0, 1]; 0 without gold."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0

    @property
    def f1(self) -> float:
        """Return the F1 score in [0, 1]; 0 without gold and predictions."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else 0.0

    def scores(self) -> dict[str, float | int]:
        """Return scores and counts. `support` is the number of gold items."""
        return {
            "precision": self.precision, "recall": self.recall, "f1": self.f1,
            "tp": self.tp, "fp": self.fp, "fn": self.fn, "support": self.tp + self.fn,
        }  # fmt: skip


def count_entities(gold: Example, prediction: Prediction, definition: EvaluationDefinition) -> dict[str, Counts]:
    """Count the entities of one sentence for NER.

    Args:
        gold: Sentence with gold entities.
        prediction: Predicted entities.
        definition: Only `match` is used.

    Returns:
        A map from each entity type in gold or prediction to its counts.

    Raises:
        ValueError: If a predicted span ends past the sentence.

    Example:
        >>> gold = Example(("Ada", "sings"), (Entity(0, 1, "Peop"),))
        >>> count_entities(gold, Prediction(), EvaluationDefinition())
        {'Peop': Counts(tp=0, fp=0, fn=1)}
    """
    return _tally(_entity_keys(gold, gold.entities, definition), _entity_keys(gold, prediction.entities, definition))


def count_relations(
    gold: Example, prediction: Prediction, schema: Schema, definition: EvaluationDefinition, strict: bool = False
) -> dict[str, Counts]:
    """Count the relations of one sentence for RE, or for RE+ with `strict`.

    Without `strict`, arguments are spans, so relations that differ only in the types of their arguments merge. With
    `symmetric="once"`, a symmetric relation is an unordered pair, whether one or both directions are listed. With
    `symmetric="twice"`, it counts in both directions, in gold and prediction (Appendix F). A symmetric relation of a
    mention with itself always counts once.

    Args:
        gold: Sentence with gold relations.
        prediction: Predicted relations.
        schema: Its symmetric types are used.
        definition: `match` and `symmetric` are used.
        strict: Whether the entity types of the arguments must match (RE+).

    Returns:
        A map from each relation type in gold or prediction to its counts.

    Raises:
        ValueError: If a predicted span ends past the sentence.

    Example:
        >>> person, company = Entity(0, 1, "Peop"), Entity(3, 4, "Org")
        >>> relation = Relation(person, company, "Work_For")
        >>> gold = Example(("Ada", "works", "for", "Acme"), (person, company), (relation,))
        >>> prediction = Prediction((person, company), (relation,), (0.9, 0.9), (0.8,))
        >>> schema = Schema(("Org", "Peop"), ("Work_For",))
        >>> count_relations(gold, prediction, schema, EvaluationDefinition())
        {'Work_For': Counts(tp=1, fp=0, fn=0)}
    """
    return _tally(
        relation_keys(gold, gold.relations, schema, definition, strict),
        relation_keys(gold, prediction.relations, schema, definition, strict),
    )


def check_types(gold: Example, prediction: Prediction, schema: Schema) -> None:
    """Check that all types in gold and prediction, those of arguments included, are in the schema.

    Raises:
        ValueError: If a type is not in the schema.
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
    """Sum the counts of all types."""
    return Counts(*(sum(column) for column in zip(*by_type.values(), strict=True)))


def macro(by_type: Mapping[str, Counts]) -> dict[str, float]:
    """Average the scores over the types that occur in gold or predictions, without weights.

    Types that occur in neither are excluded; types that are only predicted have a score of 0. F1 is the mean of the F1
    scores, not the F1 of mean precision and recall. Without any type, all means are 0.
    """
    present = [counts for counts in by_type.values() if any(counts)]
    names = ("precision", "recall", "f1")
    return {name: sum(getattr(c, name) for c in present) / len(present) if present else 0.0 for name in names}


def scores(by_type: Mapping[str, Counts]) -> dict[str, Any]:
    """Compute the scores of one task.

    Args:
        by_type: Counts of each type.

    Returns:
        Plain values: `micro` and `per_type` with precision, recall, F1, and counts; `macro` with averaged scores.

    Example:
        >>> scores({"Peop": Counts(tp=1, fp=1, fn=0)})["micro"]["precision"]
        0.5
    """
    return {
        "micro": micro(by_type).scores(),
        "macro": macro(by_type),
        "per_type": {name: counts.scores() for name, counts in by_type.items()},
    }


def report(counts: Mapping[str, Mapping[str, Counts]]) -> dict[str, Any]:
    """Return the nested scores of results.json for each task."""
    return {task: scores(by_type) for task, by_type in counts.items()}


def _entity_keys(gold: Example, entities: Iterable[Entity], definition: EvaluationDefinition) -> set[Key]:
    """Return the keys of entities. Entities match if their keys are equal."""
    return {(entity.type, _place(gold, entity, definition)) for entity in entities}


def relation_keys(
    gold: Example, relations: Iterable[Relation], schema: Schema, definition: EvaluationDefinition, strict: bool
) -> set[Key]:
    """Return the keys of relations. Relations match if their keys are equal."""
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
    if entity.end > len(gold.words):  # a slice of the words would be cut silently and could match
        raise ValueError(
            f"example {gold.id!r}: predicted entity end {entity.end} is past the sentence ({len(gold.words)} words)"
        )
    return entity.span if definition.match == "position" else gold.words[entity.start : entity.end]


def _tally(gold: set[Key], found: set[Key]) -> dict[str, Counts]:
    """Count, for each type, the keys in both sets, only in `found`, and only in `gold`."""
    rows: dict[str, list[int]] = {}
    for column, keys in enumerate((gold & found, found - gold, gold - found)):
        for kind, _ in keys:
            rows.setdefault(kind, [0, 0, 0])[column] += 1
    return {kind: Counts(*row) for kind, row in rows.items()}


def _unknown(gold: Example, what: str, name: str, allowed: tuple[str, ...]) -> ValueError:
    return ValueError(f"example {gold.id!r}: {what} {name!r} is not in the schema; those are {list(allowed)}")
