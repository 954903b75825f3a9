"""The words of the field as frozen values: entities, relations, examples, schemas, predictions.

Every offset counts words and every end is exclusive. Constructors refuse what cannot be: an entity of no
words, a relation between entities the example does not hold. Nothing here needs torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


def surrogate_fault(text: str) -> str | None:
    """What is wrong with a text that UTF-8, and so no tokenizer and no file, can hold; None if nothing is."""
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
    """A typed span of words `[start, end)`; `Entity(start=3, end=3)` raises `ValueError`."""

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
        """`(start, end)` in words."""
        return self.start, self.end


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """A typed, directed link from `head` to `tail`."""

    head: Entity
    tail: Entity
    type: str


@dataclass(frozen=True, slots=True)
class Example:
    """One sentence (or document window) of a corpus with its gold annotation.

    `left_context` and `right_context` are words the encoder may read but where no entity is annotated or
    predicted; offsets count from the first word of `words`.

    Raises:
        ValueError: an entity past the last word, or a relation whose argument is not among the entities.
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
        """The entity's words joined by single spaces."""
        return " ".join(self.words[entity.start : entity.end])


@dataclass(frozen=True, slots=True)
class Schema:
    """The entity types, the relation types, and which relation types are symmetric.

    Raises:
        ValueError: no entity type, a name that is not text or is given twice, or a symmetric type that is not a
            relation type.
    """

    entity_types: tuple[str, ...]
    relation_types: tuple[str, ...] = ()
    symmetric: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("entity_types", "relation_types", "symmetric"):
            names = _names(field, getattr(self, field))
            object.__setattr__(self, field, names)
            twice = sorted(name for name, count in Counter(names).items() if count > 1)
            if twice:
                raise ValueError(f"{field} lists {', '.join(map(repr, twice))} more than once")
        if not self.entity_types:
            raise ValueError("a schema needs at least one entity type")
        known = set(self.relation_types)
        unknown = [name for name in self.symmetric if name not in known]
        if unknown:
            raise ValueError(f"symmetric types {unknown} are not relation types; those are {list(self.relation_types)}")

    @classmethod
    def infer(cls, examples: Iterable[Example], symmetric: Sequence[str] = ()) -> Schema:
        """The schema of the types that occur, each list sorted."""
        entity_types: set[str] = set()
        relation_types: set[str] = set()
        for example in examples:
            entity_types.update(entity.type for entity in example.entities)
            relation_types.update(relation.type for relation in example.relations)
        return cls(tuple(sorted(entity_types)), tuple(sorted(relation_types)), tuple(symmetric))

    def to_dict(self) -> dict[str, list[str]]:
        """Plain lists, for JSON and YAML."""
        return {
            "entity_types": list(self.entity_types),
            "relation_types": list(self.relation_types),
            "symmetric": list(self.symmetric),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Schema:
        """The inverse of `to_dict`; `ValueError` for an unknown key or a missing `entity_types`."""
        if not isinstance(values, dict):
            raise ValueError(f"a schema holds entity_types, relation_types and symmetric; found {values!r:.80}")
        unknown = set(values) - {"entity_types", "relation_types", "symmetric"}
        if unknown or "entity_types" not in values:
            raise ValueError(
                "a schema holds entity_types, relation_types and symmetric; "
                f"found {', '.join(sorted(map(str, values))[:20]) if values else 'nothing'}"
            )
        return cls(values["entity_types"], values.get("relation_types", ()), values.get("symmetric", ()))

    def canonical(self, relation: Relation) -> Relation:
        """The relation itself, or for a symmetric type the one of its two directions that sorts first."""
        if relation.type in self.symmetric and relation.tail < relation.head:
            return Relation(relation.tail, relation.head, relation.type)
        return relation


def _names(field: str, values: object) -> tuple[str, ...]:
    """Return names of types as a tuple; lists come from JSON and YAML.

    Raises:
        ValueError: not a list, or something in it is not text that can be written.
    """
    if isinstance(values, (str, dict)) or not isinstance(values, Iterable):
        raise ValueError(f"{field}: expected a list of names, found {values!r:.80}")
    names = tuple(values)
    for number, name in enumerate(names):
        # a lone surrogate cannot be encoded, so that no output could hold it
        if not (isinstance(name, str) and name.strip() and name.encode(errors="replace").decode() == name):
            raise ValueError(f"{field}: item {number}: expected a name, found {name!r:.80}")
    return names


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model found in one example: entities and relations in word offsets, a probability for each.

    `entity_scores[i]` belongs to `entities[i]`, `relation_scores[i]` to `relations[i]`, both in [0, 1]. A
    symmetric relation is listed once, in the direction that sorts first. `truncated` means that the limits of a window
    (`WindowLimits`) left out entities or relations of low probability.
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
    """Bounds on what is kept of each window; None is no bound. The most probable entities and relations are kept.

    Args:
        entities: Spans of a window that relations are looked for between: n spans make n * n pairs.
        relations: Relations of a window.
    """

    entities: int | None = None
    relations: int | None = None


NO_LIMITS = WindowLimits()
