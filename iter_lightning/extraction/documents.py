"""Represent texts with entities and relations in character offsets.

Offsets count Unicode code points from 0, as Python's strings do, and ends are exclusive. For every entity,
`text[entity.start:entity.end] == entity.text` holds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, TypeGuard, get_args

from iter_lightning.errors import shown
from iter_lightning.types import Entity, Example, Prediction, surrogate_fault

Bounds = tuple[int, int]
"""Start and end (exclusive)."""
Context = Literal["sentence", "document"]
"""Unit that the model reads at once, which limits the reach of relations."""
CONTEXTS: tuple[Context, ...] = get_args(Context)


@dataclass(frozen=True, slots=True)
class TextEntity:
    """Represent an entity: the characters `[start, end)` of a document, a type, and a probability (1 for gold)."""

    start: int
    end: int
    type: str
    text: str
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class TextRelation:
    """Represent a directed relation between two entities of a document, with a probability (1 for gold)."""

    head: TextEntity
    tail: TextEntity
    type: str
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Annotation:
    """Hold the gold entities and relations of one document."""

    entities: tuple[TextEntity, ...] = ()
    relations: tuple[TextRelation, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    r"""Represent a text, its words and sentences, and the entities and relations found in it.

    Args:
        text: Text, unchanged.
        words: Character bounds of the words, in order. Words are not empty and do not overlap.
        sentences: Character bounds of the sentences, from the start of their first word to the end of their last one.
            Every word belongs to a sentence.
        entities: Predicted entities, in the order of the text.
        relations: Predicted relations between these entities.
        id: Name of the document, chosen by the caller.
        gold: Gold annotation, if any.
        truncated: Whether limits left out entities or relations of low probability.

    Raises:
        ValueError: If the text, the id, or a type has a lone surrogate; if words or sentences are empty, overlap, or
            are out of order; if a word is outside of all sentences; if the text of an entity differs from the document;
            or if an argument of a relation is not among the entities.

    Example:
        >>> document = Document.from_words([["Ada", "works", "."], ["Bo", "sleeps", "."]])
        >>> document.text
        'Ada works .\nBo sleeps .'
        >>> document.units()
        [(0, 3), (3, 6)]
    """

    text: str
    words: tuple[Bounds, ...] = ()
    sentences: tuple[Bounds, ...] = ()
    entities: tuple[TextEntity, ...] = ()
    relations: tuple[TextRelation, ...] = ()
    id: str = ""
    gold: Annotation | None = None
    truncated: bool = False
    _first_words: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Index of the first word of each sentence, followed by the number of words."""

    def __post_init__(self) -> None:
        for name in ("text", "id"):
            if fault := surrogate_fault(getattr(self, name)):
                raise ValueError(f"{name}: {fault}")
        for name in ("words", "sentences"):
            _check_bounds(getattr(self, name), len(self.text), name)
        starts = [start for start, _ in self.words]
        first = (*(bisect_left(starts, start) for start, _ in self.sentences), len(self.words))
        if self.words and (not self.sentences or first[0] != 0):
            raise ValueError("some words are outside of all sentences")
        for (low, high), (start, end) in zip(pairwise(first), self.sentences, strict=True):
            if low == high or self.words[low][0] != start or self.words[high - 1][1] != end:
                raise ValueError(f"the sentence [{start}, {end}) does not start and end at words")
        object.__setattr__(self, "_first_words", first)
        _check_annotation(self.text, self.entities, self.relations)
        if self.gold:
            _check_annotation(self.text, self.gold.entities, self.gold.relations)

    @classmethod
    def from_words(cls, sentences: Iterable[Sequence[str]], id: str = "") -> Document:
        """Build a document from words. Its text joins words by spaces and sentences by newlines.

        Args:
            sentences: Words of each sentence. Empty sentences are skipped.
            id: Name of the document.

        Returns:
            A document with bounds of words and sentences.

        Raises:
            ValueError: If a word is empty.
        """
        words: list[Bounds] = []
        bounds: list[Bounds] = []
        parts: list[str] = []
        place = 0
        for number, sentence in enumerate(sentences):
            if not sentence:
                continue
            if parts:
                parts.append("\n")
                place += 1
            first = place
            for position, word in enumerate(sentence):
                if not word:
                    raise ValueError(f"sentence {number}: word {position} is empty")
                if position:
                    parts.append(" ")
                    place += 1
                parts.append(word)
                words.append((place, place + len(word)))
                place += len(word)
            bounds.append((first, place))
        return cls("".join(parts), tuple(words), tuple(bounds), id=id)

    def word_texts(self, unit: Bounds | None = None) -> tuple[str, ...]:
        """Return the words `[first, last)` of the document, or all words, as strings."""
        first, last = unit or (0, len(self.words))
        return tuple(self.text[start:end] for start, end in self.words[first:last])

    def units(self, context: str = "sentence") -> list[Bounds]:
        """Return the word bounds of the units that the model reads: sentences, or the whole document."""
        if context == "document":
            return [(0, len(self.words))] if self.words else []
        return list(pairwise(self._first_words))

    def examples(self, context: str = "sentence") -> list[Example]:
        """Return one example per unit, as input of the model."""
        return [Example(words=self.word_texts(unit), id=self.id) for unit in self.units(context)]

    def word_bounds(self, entity: TextEntity) -> Bounds:
        """Return the range of words that an entity covers fully or in part."""
        first = bisect_left(self.words, entity.start + 1, key=lambda word: word[1])
        return first, bisect_left(self.words, entity.end, key=lambda word: word[0])

    def with_predictions(self, predictions: Sequence[Prediction], context: str = "sentence") -> Document:
        """Add the predictions for the `units` of the document. Scores are rounded to six decimal places."""
        entities: dict[tuple[int, int, str], TextEntity] = {}
        relations: list[TextRelation] = []
        for (first, _), prediction in zip(self.units(context), predictions, strict=True):
            for entity, score in zip(prediction.entities, prediction.entity_scores, strict=True):
                start, end = self.words[first + entity.start][0], self.words[first + entity.end - 1][1]
                entities[first + entity.start, first + entity.end, entity.type] = TextEntity(
                    start, end, entity.type, self.text[start:end], round(score, 6)
                )

            def moved(entity: Entity, first: int = first) -> TextEntity:
                return entities[first + entity.start, first + entity.end, entity.type]

            relations += [
                TextRelation(moved(relation.head), moved(relation.tail), relation.type, round(score, 6))
                for relation, score in zip(prediction.relations, prediction.relation_scores, strict=True)
            ]
        truncated = any(prediction.truncated for prediction in predictions)
        return replace(self, entities=tuple(entities.values()), relations=tuple(relations), truncated=truncated)

    def _repr_html_(self) -> str:
        """Show the document as a page in notebooks."""
        from iter_lightning.extraction.page import render

        return render(self)._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON. Relations refer to entities by their index."""
        values: dict[str, Any] = {"id": self.id, "text": self.text, **_annotation_dict(self)}
        values |= {"sentences": [list(bounds) for bounds in self.sentences], "words": [list(w) for w in self.words]}
        values |= {"truncated": True} if self.truncated else {}
        return values | ({"gold": _annotation_dict(self.gold)} if self.gold else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Document:
        """Build a document from the values of `to_dict`. `sentences`, `words`, and scores are optional.

        Raises:
            ValueError: If a field is missing or not valid.
        """
        text = values.get("text")
        if not isinstance(text, str):
            raise ValueError(f"text: expected a string, found {shown(text)}")
        found = annotation_of(text, values)
        gold = values.get("gold")
        if not isinstance(gold, Mapping | None):
            raise ValueError(f"gold: expected an object, found {shown(gold)}")
        name = values.get("id")
        return cls(
            text=text, words=_bounds_of(values, "words"), sentences=_bounds_of(values, "sentences"),
            entities=found.entities, relations=found.relations, id="" if name is None else str(name),
            gold=None if gold is None else annotation_of(text, gold), truncated=values.get("truncated") is True,
        )  # fmt: skip


def annotation_of(text: str, values: Mapping[str, Any]) -> Annotation:
    """Read the entities and relations of a record in the layout of `Document.to_dict`.

    Raises:
        ValueError: If a value is not valid.
    """
    entities = []
    for number, item in enumerate(_items(values, "entities")):
        start, end, kind = item.get("start"), item.get("end"), item.get("type")
        if not (_is_index(start) and _is_index(end) and isinstance(kind, str)):
            raise ValueError(f"entity {number}: expected whole numbers for start and end and a string for type, "
                             f"found {shown(start)}, {shown(end)}, {shown(kind)}")  # fmt: skip
        if not 0 <= start < end <= len(text):
            raise ValueError(f"entity {number}: [{start}, {end}) is not inside the text ({len(text)} characters)")
        spelled = item.get("text")  # tables write null for a missing field
        if spelled not in (None, text[start:end]):
            raise ValueError(
                f"entity {number}: its text is {shown(spelled)}, but the document has {shown(text[start:end])} there"
            )
        entities.append(TextEntity(start, end, kind, text[start:end], _score(item, f"entity {number}")))
    relations = []
    for number, item in enumerate(_items(values, "relations")):
        head, tail, kind = item.get("head"), item.get("tail"), item.get("type")
        if not (_is_index(head) and _is_index(tail) and isinstance(kind, str)):
            raise ValueError(f"relation {number}: expected whole numbers for head and tail and a string for type, "
                             f"found {shown(head)}, {shown(tail)}, {shown(kind)}")  # fmt: skip
        if not (0 <= head < len(entities) and 0 <= tail < len(entities)):
            raise ValueError(f"relation {number}: links {head} and {tail}, but there are {len(entities)} entities")
        relations.append(TextRelation(entities[head], entities[tail], kind, _score(item, f"relation {number}")))
    return Annotation(tuple(entities), tuple(relations))


def _annotation_dict(annotation: Document | Annotation) -> dict[str, Any]:
    place = {entity: number for number, entity in enumerate(annotation.entities)}
    return {
        "entities": [
            {"start": e.start, "end": e.end, "type": e.type, "text": e.text, "score": e.score}
            for e in annotation.entities
        ],
        "relations": [
            {"head": place[r.head], "tail": place[r.tail], "type": r.type, "score": r.score}
            for r in annotation.relations
        ],
    }


def _check_bounds(bounds: Sequence[Bounds], length: int, name: str) -> None:
    before = 0
    for number, (start, end) in enumerate(bounds):
        if not before <= start < end <= length:
            raise ValueError(
                f"{name}: number {number} is [{start}, {end}); expected a range that is not empty, "
                f"after {before} and inside the text ({length} characters)"
            )
        before = end


def _check_annotation(text: str, entities: Sequence[TextEntity], relations: Sequence[TextRelation]) -> None:
    for e in entities:
        if e.start < 0 or e.start >= e.end or text[e.start : e.end] != e.text:
            raise ValueError(
                f"entity [{e.start}, {e.end}) is {shown(e.text)}, but the text there is {shown(text[e.start : e.end])}"
            )
    for kind in {*(e.type for e in entities), *(r.type for r in relations)}:
        if fault := surrogate_fault(kind):
            raise ValueError(f"type: {fault}")
    known = set(entities)
    for relation in relations:
        if relation.head not in known or relation.tail not in known:
            raise ValueError(f"an argument of the relation {relation.type!r} is not an entity of the document")


def _items(values: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = _list_of(values, name)
    for number, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise ValueError(f"{name}: number {number}: expected an object, found {shown(item)}")
    return list(items)


def _list_of(values: Mapping[str, Any], name: str) -> Sequence[Any]:
    items = values.get(name) or []
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise ValueError(f"{name}: expected a list, found {shown(items)}")
    return items


def _bounds_of(values: Mapping[str, Any], name: str) -> tuple[Bounds, ...]:
    found = []
    for number, pair in enumerate(_list_of(values, name)):
        if not (isinstance(pair, Sequence) and len(pair) == 2 and _is_index(pair[0]) and _is_index(pair[1])):
            raise ValueError(f"{name}: number {number} is {shown(pair)}, expected [start, end]")
        found.append((pair[0], pair[1]))
    return tuple(found)


def _is_index(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _score(item: Mapping[str, Any], where: str) -> float:
    score = 1.0 if item.get("score") is None else item["score"]
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise ValueError(f"{where}: expected a score in [0, 1], found {shown(score)}")
    return float(score)
