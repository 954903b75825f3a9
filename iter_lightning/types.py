"""Define the data types of the task: entities, relations, examples, schemas, and predictions.

All of them are immutable. Offsets count words, and ends are exclusive. Constructors reject invalid values, such as an
entity without words or a relation whose arguments are not entities of the example. This module does not need torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def surrogate_fault(text: str) -> str | None:
    """Return a description of the first lone surrogate of a text, or None if UTF-8 can encode the text."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            place = error.start
            return (
                f"character {place} is {text[place]!a}, a lone surrogate (half of a pair, or a byte that is not UTF-8)"
            )
    return None


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    """Represent an entity mention: the words `start` to `end` (exclusive) of an example, and a type.

    Args:
        start: Index of the first word, from 0.
        end: Index after the last word; greater than `start`.
        type: Name of the entity type.

    Raises:
        ValueError: If `start` is negative, or if `end` is not greater than `start`.

    Example:
        >>> Entity(start=0, end=2, type="Peop").span
        (0, 2)
    """

    start: int
    end: int
    type: str

    def __post_init__(self) -> None:
        if self.start < 0:
            raise ValueError(f"entity start {self.start} is before the sentence")
        if self.end <= self.start:
            raise ValueError(f"entity end {self.end} must be past its start {self.start} (ends are exclusive)")

    @property
    def span(self) -> tuple[int, int]:
        """Return `(start, end)` in words."""
        return self.start, self.end


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """Represent a directed relation between two entities.

    Args:
        head: First argument.
        tail: Second argument. It may equal `head`.
        type: Name of the relation type.

    Example:
        >>> relation = Relation(Entity(0, 2, "Peop"), Entity(4, 5, "Org"), "Work_For")
        >>> relation.tail.span
        (4, 5)
    """

    head: Entity
    tail: Entity
    type: str


@dataclass(frozen=True, slots=True)
class Example:
    """Represent one sentence, or one document, with its gold annotation.

    Args:
        words: Words of the sentence. Offsets of entities count from the first of them.
        entities: Gold entities.
        relations: Gold relations between these entities.
        id: Identifier within the corpus.
        left_context: Words before the sentence. The encoder reads them, but nothing in them is annotated or predicted.
        right_context: Words after the sentence, used in the same way.

    Raises:
        ValueError: If an entity ends past the last word, or if an argument of a relation is not among the entities.

    Example:
        >>> person, company = Entity(0, 1, "Peop"), Entity(3, 4, "Org")
        >>> example = Example(
        ...     words=("Ada", "works", "for", "Acme"),
        ...     entities=(person, company),
        ...     relations=(Relation(person, company, "Work_For"),),
        ... )
        >>> example.text_of(company)
        'Acme'
    """

    words: tuple[str, ...]
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    id: str = ""
    left_context: tuple[str, ...] = ()
    right_context: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for entity in self.entities:
            if entity.end > len(self.words):
                raise ValueError(f"entity end {entity.end} is past the sentence ({len(self.words)} words)")
        known = set(self.entities)
        for relation in self.relations:
            for role, entity in (("head", relation.head), ("tail", relation.tail)):
                if entity not in known:
                    raise ValueError(f"{role} of relation {relation.type!r} is not an entity of the example: {entity}")

    def text_of(self, entity: Entity) -> str:
        """Return the words of an entity, joined by single spaces."""
        return " ".join(self.words[entity.start : entity.end])


@dataclass(frozen=True, slots=True)
class Schema:
    """Represent the entity and relation types of a corpus or model.

    The order of the types defines their indices in tensors.

    Args:
        entity_types: Names of the entity types, at least one.
        relation_types: Names of the relation types. They may be empty for corpora with entities only.
        symmetric: Relation types whose two arguments can be exchanged.
        arguments: Entity types that the head and the tail of a relation may have: triples (relation type, types of the
            head, types of the tail), or a mapping `{"works for": ("person", "organization")}`. An argument without
            types, and a relation that is not listed, may have any. Relations with other arguments are not predicted.

    Raises:
        ValueError: If there is no entity type, if a name is empty, not a string, or repeated, if a symmetric type is
            not a relation type, or if `arguments` names an unknown type.

    Example:
        >>> schema = Schema(("Org", "Peop"), ("Spouse", "Work_For"), symmetric=("Spouse",))
        >>> schema.relation_types.index("Work_For")
        1
    """

    entity_types: tuple[str, ...]
    relation_types: tuple[str, ...] = ()
    symmetric: tuple[str, ...] = ()
    arguments: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        for field in ("entity_types", "relation_types", "symmetric"):
            names = _names(field, getattr(self, field))
            object.__setattr__(self, field, names)
            repeated = sorted(name for name, count in Counter(names).items() if count > 1)
            if repeated:
                raise ValueError(f"{field} lists {', '.join(map(repr, repeated))} more than once")
        if not self.entity_types:
            raise ValueError("a schema needs at least one entity type")
        known = set(self.relation_types)
        unknown = [name for name in self.symmetric if name not in known]
        if unknown:
            raise ValueError(f"symmetric types {unknown} are not relation types; those are {list(self.relation_types)}")
        object.__setattr__(self, "arguments", _arguments(self.arguments, self))

    def allows(self, relation_type: str, head_type: str, tail_type: str) -> bool:
        """Return whether a relation may have arguments of these types; see `arguments`.

        Example:
            >>> schema = Schema(("person", "company"), ("works for",), arguments={"works for": ("person", "company")})
            >>> schema.allows("works for", "person", "company"), schema.allows("works for", "company", "person")
            (True, False)
        """
        pairs = [(head_type, tail_type)] + ([(tail_type, head_type)] if relation_type in self.symmetric else [])
        allowed = [(heads, tails) for name, heads, tails in self.arguments if name == relation_type]
        return not allowed or any(
            (not heads or head in heads) and (not tails or tail in tails)
            for heads, tails in allowed
            for head, tail in pairs
        )

    @classmethod
    def infer(cls, examples: Iterable[Example], symmetric: Sequence[str] = ()) -> Schema:
        """Build a schema of the types that occur in the examples, in alphabetical order."""
        entity_types: set[str] = set()
        relation_types: set[str] = set()
        for example in examples:
            entity_types.update(entity.type for entity in example.entities)
            relation_types.update(relation.type for relation in example.relations)
        return cls(tuple(sorted(entity_types)), tuple(sorted(relation_types)), tuple(symmetric))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, for JSON and YAML."""
        given = {"arguments": [[name, [*heads], [*tails]] for name, heads, tails in self.arguments]}
        return {
            "entity_types": list(self.entity_types),
            "relation_types": list(self.relation_types),
            "symmetric": list(self.symmetric),
            **(given if self.arguments else {}),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Schema:
        """Build a schema from the values of `to_dict`.

        Raises:
            ValueError: If a key is unknown or `entity_types` is missing.
        """
        holds = "a schema holds entity_types, relation_types, symmetric and arguments"
        if not isinstance(values, dict):
            raise ValueError(f"{holds}; found {values!r:.80}")
        unknown = set(values) - {"entity_types", "relation_types", "symmetric", "arguments"}
        if unknown or "entity_types" not in values:
            raise ValueError(f"{holds}; found {', '.join(sorted(map(str, values))[:20]) if values else 'nothing'}")
        return cls(
            values["entity_types"], values.get("relation_types", ()), values.get("symmetric", ()),
            values.get("arguments", ()),
        )  # fmt: skip

    def canonical(self, relation: Relation) -> Relation:
        """Return the relation; for a symmetric type, the one of its two directions that sorts first."""
        if relation.type in self.symmetric and relation.tail < relation.head:
            return Relation(relation.tail, relation.head, relation.type)
        return relation


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Hold the texts of the labels of a batch, and whether its gold annotation is complete.

    Args:
        entities: Text of each entity label, in the order of their indices.
        relations: Text of each relation label.
        entities_exhaustive: Whether words that are not annotated are true negatives.
        relations_exhaustive: Whether pairs without a gold relation are true negatives.

    Example:
        >>> LabelSet(entities=("person", "company"), relations=("works for",)).relations
        ('works for',)
    """

    entities: tuple[str, ...]
    relations: tuple[str, ...] = ()
    entities_exhaustive: bool = True
    relations_exhaustive: bool = True

    @classmethod
    def of(cls, schema: Schema, texts: Mapping[str, str] | None = None) -> LabelSet:
        """Return the labels of a schema: the names of its types, or for some types other texts."""
        given = texts or {}
        entities = tuple(given.get(name, name) for name in schema.entity_types)
        return cls(entities, tuple(given.get(name, name) for name in schema.relation_types))


def _arguments(given: Any, schema: Schema) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """Return the allowed arguments of relations as triples; a single type may be given as a string.

    Raises:
        ValueError: If the form is another one, or if a type is unknown.
    """
    items = [(name, *_pair(pair)) for name, pair in given.items()] if isinstance(given, Mapping) else list(given)
    found = []
    for item in items:
        if not isinstance(item, (list, tuple)) or len(item) != 3:
            raise ValueError(f"arguments: expected a relation type, types of the head and of the tail; found {item!r}")
        name, *sides = item
        if name not in schema.relation_types:
            raise ValueError(f"arguments: {name!r} is not a relation type; those are {list(schema.relation_types)}")
        heads, tails = ((side,) if isinstance(side, str) else tuple(side or ()) for side in sides)
        unknown = [kind for kind in (*heads, *tails) if kind not in schema.entity_types]
        if unknown:
            raise ValueError(
                f"arguments of {name!r}: {unknown} are not entity types; those are {list(schema.entity_types)}"
            )
        found.append((name, heads, tails))
    return tuple(found)


def _pair(pair: Any) -> tuple[Any, Any]:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise ValueError(f"arguments: expected types of the head and of the tail; found {pair!r}")
    return pair[0], pair[1]


def _names(field: str, values: object) -> tuple[str, ...]:
    """Return the names of types as a tuple (JSON and YAML provide lists).

    Raises:
        ValueError: If the value is not a list, or if an item is not a string that UTF-8 can encode.
    """
    if isinstance(values, (str, dict)) or not isinstance(values, Iterable):
        raise ValueError(f"{field}: expected a list of names, found {values!r:.80}")
    names = tuple(values)
    for number, name in enumerate(names):
        # a lone surrogate cannot be encoded, so it could not be written to any output
        if not (isinstance(name, str) and name.strip() and name.encode(errors="replace").decode() == name):
            raise ValueError(f"{field}: item {number}: expected a name, found {name!r:.80}")
    return names


@dataclass(frozen=True, slots=True)
class Prediction:
    """Represent the entities and relations that a model predicts for one example.

    Args:
        entities: Predicted entities, with word offsets.
        relations: Predicted relations. A symmetric relation is listed once, in the direction that sorts first.
        entity_scores: Probability of each entity, in [0, 1], in the order of `entities`.
        relation_scores: Probability of each relation, in [0, 1], in the order of `relations`.
        truncated: Whether the limits of a window (`WindowLimits`) left out entities or relations of low probability.

    Raises:
        ValueError: If the number of scores differs from the number of items.

    Example:
        >>> prediction = Prediction(entities=(Entity(0, 1, "Peop"),), entity_scores=(0.9,))
        >>> prediction.relations
        ()
    """

    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    entity_scores: tuple[float, ...] = ()
    relation_scores: tuple[float, ...] = ()
    truncated: bool = False

    def __post_init__(self) -> None:
        for name in ("entities", "relations"):
            scores = getattr(self, "entity_scores" if name == "entities" else "relation_scores")
            if len(getattr(self, name)) != len(scores):
                raise ValueError(f"{len(getattr(self, name))} {name} but {len(scores)} scores")


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """Limits the entities and relations of each window to the most probable ones. None means no limit.

    Args:
        entities: Spans of a window that relations are looked for between: n spans make n * n pairs.
        relations: Relations of a window.
    """

    entities: int | None = None
    relations: int | None = None


NO_LIMITS = WindowLimits()
