"""A record, an object of JSON or a row of a table, as a document.

A record has a text; or words of its own under `tokens` or `words`, a list of them or of sentences of them; or the
layout of `Document.to_dict`, whose words and sentences are kept. A text goes before words. Its id is under the id
field, else `orig_id` or `org_id` (SpERT's).

Gold is `gold`, where a record has it, else its `entities` and `relations`: in characters beside a text, in words
beside words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from iter_lightning.corpora.records import Faults, build_example, check_list, required_list, take_keys
from iter_lightning.errors import shown
from iter_lightning.extraction.documents import Annotation, Document, TextEntity, TextRelation, annotation_of
from iter_lightning.extraction.readers.items import ReadOptions, checked_length
from iter_lightning.types import Example

WORD_FIELDS = ("tokens", "words")
GOLD_FIELDS = ("gold", "entities", "relations")
ID_FIELDS = ("orig_id", "org_id")


def document_of(record: Any, options: ReadOptions, place: str) -> Document:
    """The document of a record; `place` is its id where it has none.

    Raises:
        ValueError: what was found and what was expected.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"expected an object, found {_found(record)}")
    text = look_up(record, options.text_field)
    words = _own_words(record) if text is None else None
    id = _id_of(record, options.id_field) or place
    if text is None and words is not None:
        document = Document.from_words(words, id)
        checked_length(document.text, options)
    elif isinstance(text, str):
        kept = {name: _bounds_of(record, name) for name in ("words", "sentences") if _has_bounds(record, options)}
        document = Document.from_dict({"text": checked_length(text, options), "id": id, **kept})
    elif options.text_field in record or text is not None:
        raise ValueError(f"{options.text_field}: expected a string, found {_found(text)}")
    else:
        raise ValueError(f"neither {options.text_field!r} nor tokens or words, found {_names(record)}")
    if options.gold:
        document = replace(document, gold=_gold_of(record, document, in_words=text is None))
    return document


def look_up(record: Mapping[str, Any], field: str) -> Any:
    """The value under a name or, where there is none, under a path of names (`a.b`); None where there is neither."""
    if field in record or "." not in field:
        return record.get(field)
    value: Any = record
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def word_annotation(document: Document, example: Example) -> Annotation:
    """The example's entities and relations, in words, as the document's, in characters."""
    entities = {}
    for entity in example.entities:
        start, end = document.words[entity.start][0], document.words[entity.end - 1][1]
        entities[entity] = TextEntity(start, end, entity.type, document.text[start:end])
    relations = (TextRelation(entities[r.head], entities[r.tail], r.type) for r in example.relations)
    return Annotation(tuple(entities.values()), tuple(relations))


def record_text(record: Any) -> str:
    """A record as JSON, for a `BadRecord`."""
    return json.dumps(record, ensure_ascii=False, default=str)


def _id_of(record: Mapping[str, Any], field: str) -> str:
    for name in (field, *ID_FIELDS):
        value = look_up(record, name)
        if value is None or value == "" or value != value:  # NaN is how some tables write null
            continue
        if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
            raise ValueError(f"{name}: expected a string or a number for an id, found {_found(value)}")
        return str(value)
    return ""


def _own_words(record: Mapping[str, Any]) -> list[list[str]] | None:
    """Sentences of words; None where the record has none, or bounds in their place."""
    for field in WORD_FIELDS:
        value = record.get(field)
        if value is None or _are_bounds(value):
            continue
        if not isinstance(value, list):
            raise ValueError(f"{field}: expected a list of words, found {_found(value)}")
        nested = any(isinstance(item, list) for item in value)
        sentences = value if nested else [value]
        for number, sentence in enumerate(sentences):
            where = f"{field}: sentence {number}" if nested else field
            if not isinstance(sentence, list):
                raise ValueError(f"{where}: expected a list of words, found {_found(sentence)}")
            for position, word in enumerate(sentence):
                if not isinstance(word, str):
                    raise ValueError(f"{where}: word {position} is {_found(word)}, expected a string")
        return sentences
    return None


def _has_bounds(record: Mapping[str, Any], options: ReadOptions) -> bool:
    """Whether it is in our own layout: bounds are of the field `text`, of no other."""
    return options.text_field == "text" and _are_bounds(record.get("words"))


def _bounds_of(record: Mapping[str, Any], name: str) -> list[Any]:
    """The bounds under a name, none where it is missing."""
    bounds = record.get(name) or []
    if not isinstance(bounds, list):
        raise ValueError(f"{name}: expected a list of [start, end], found {_found(bounds)}")
    for number, pair in enumerate(bounds):
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[0]) is not int or type(pair[1]) is not int:
            raise ValueError(f"{name}: number {number} is {shown(pair)}, expected [start, end] in characters")
    return bounds


def _are_bounds(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], list) and bool(value[0]) and all(
        isinstance(number, int) for number in value[0]
    )  # fmt: skip


def _gold_of(record: Mapping[str, Any], document: Document, in_words: bool) -> Annotation | None:
    """The record's annotation; None where it says `gold: null`."""
    if "gold" in record and record["gold"] is None:
        return None
    values = record.get("gold", record)
    if not isinstance(values, Mapping):
        raise ValueError(f"gold: expected an object with entities and relations, found {_found(values)}")
    if in_words:
        return word_annotation(document, _example_of(values, document))
    has_words = any(isinstance(w := record.get(name), list) and w and not _are_bounds(w) for name in WORD_FIELDS)
    if values.get("entities") and has_words:
        raise ValueError("gold: a text and words: it cannot be told which of them the offsets count")
    if "entities" not in values:
        raise ValueError(f"gold: entities missing, found {_names(values)}")
    try:
        return annotation_of(document.text, {name: _without_nulls(values.get(name)) for name in GOLD_FIELDS[1:]})
    except ValueError as error:
        raise ValueError(f"gold: {error}") from None


def _example_of(values: Mapping[str, Any], document: Document) -> Example:
    faults = _GoldFaults()
    record = dict(values)
    entities = take_keys(required_list(record, "entities", "gold", faults), ("start", "end", "type"), "gold", "entity",
                         faults)  # fmt: skip
    relations = take_keys(check_list(record.get("relations"), "gold", faults, "relations"), ("head", "tail", "type"),
                          "gold", "relation", faults)  # fmt: skip
    example = build_example(document.word_texts(), entities, relations, document.id, "gold", faults)
    if faults.lines or example is None:
        raise ValueError("; ".join(faults.lines))
    return example


class _GoldFaults(Faults):
    """Faults of one record: the record is told beside them."""

    def __init__(self) -> None:
        super().__init__(Path())

    def add(self, where: str, text: str) -> None:
        self.lines.append(f"{where}: {text}")


def _without_nulls(items: Any) -> Any:
    """The objects of a list without their nulls: a table writes a field that is missing so."""
    if not isinstance(items, Sequence) or isinstance(items, str):
        return items
    return [{k: v for k, v in item.items() if v is not None} if isinstance(item, Mapping) else item for item in items]


def _names(names: Iterable[str]) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:20]) + (f" and {len(listed) - 20} more" if len(listed) > 20 else "") or "nothing"


def _found(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", type(None): "null", bytes: "bytes"}
    return kinds.get(type(value)) or shown(value)
