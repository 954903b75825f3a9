"""Turn a record, a JSON object or a row of a table, into a document.

A record has a text; or its own words under `tokens` or `words`, as a list of words or of sentences; or the layout of
`Document.to_dict`, whose words and sentences are kept. A text takes precedence over words. The id is under the id
field, else under `orig_id` or `org_id` (SpERT's names).

Gold annotation is under `gold` if the record has it, else under `entities` and `relations`. Offsets count characters
beside a text and words beside words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from iter_lightning.corpora.records import Faults, check_words, described
from iter_lightning.corpora.spert import annotated_example
from iter_lightning.extraction.documents import Annotation, Document, TextEntity, TextRelation, annotation_of
from iter_lightning.extraction.formats.support.base import BadRecord, Item, ReadOptions, Source, checked_length
from iter_lightning.types import Example

WORD_FIELDS = ("tokens", "words")
GOLD_FIELDS = ("gold", "entities", "relations")
ID_FIELDS = ("orig_id", "org_id")


def document_of(record: Any, options: ReadOptions, place: str) -> Document:
    """Return the document of a record; `place` is its id if the record has none.

    Raises:
        ValueError: names what was found and what was expected.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"expected an object, found {described(record)}")
    text = look_up(record, options.text_field)
    words = _own_words(record) if text is None else None
    id = _id_of(record, options.id_field) or place
    if text is None and words is not None:
        document = Document.from_words(words, id)
        checked_length(document.text, options)
    elif isinstance(text, str):
        has_bounds = options.text_field == "text" and _are_bounds(record.get("words"))  # they are of this field
        kept = {name: record.get(name) for name in ("words", "sentences") if has_bounds}
        document = Document.from_dict({"text": checked_length(text, options), "id": id, **kept})
    elif options.text_field in record or text is not None:
        raise ValueError(f"{options.text_field}: expected a string, found {described(text)}")
    else:
        raise ValueError(f"neither {options.text_field!r} nor tokens or words, found {_names(record)}")
    if options.gold:
        document = replace(document, gold=_gold_of(record, document, in_words=text is None))
    return document


def record_item(
    record: Any, options: ReadOptions, source: Source, place: str, raw: Callable[[], str] | None = None
) -> Item:
    """Return the document of a record, or a bad record.

    Args:
        record: the parsed record, or the `ValueError` that says why there is none.
        options: how it is read.
        source: file or stream of the record.
        place: position of the record in it.
        raw: returns its text; by default it is written as JSON.
    """
    try:
        if isinstance(record, ValueError):
            raise record
        return document_of(record, options, f"{source.name}:{place}")
    except ValueError as error:
        if raw is not None:
            text = raw()
        else:
            text = "" if record is error else json.dumps(record, ensure_ascii=False, default=str)
        return BadRecord(source.name, place, str(error), text)


def look_up(record: Mapping[str, Any], field: str) -> Any:
    """Return the value under a name, else under a path of names (`a.b`), else None."""
    if field in record or "." not in field:
        return record.get(field)
    value: Any = record
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def word_annotation(document: Document, example: Example) -> Annotation:
    """Convert the entities and relations of an example, in words, to annotation of the document, in characters."""
    entities = {}
    for entity in example.entities:
        start, end = document.words[entity.start][0], document.words[entity.end - 1][1]
        entities[entity] = TextEntity(start, end, entity.type, document.text[start:end])
    relations = (TextRelation(entities[r.head], entities[r.tail], r.type) for r in example.relations)
    return Annotation(tuple(entities.values()), tuple(relations))


def missing_columns(names: Sequence[str], options: ReadOptions, nested: bool = False) -> str | None:
    """Return which columns a table lacks and which it has, or None.

    Args:
        names: the columns it has.
        options: name the fields with text and id.
        nested: whether a column can hold lists and objects: words, gold, and paths of fields.
    """
    wanted = {options.text_field} | ({options.id_field} if options.id_field != ReadOptions.id_field else set())
    if nested and options.text_field == ReadOptions.text_field and set(WORD_FIELDS) & set(names):
        wanted.discard(options.text_field)
    lacking = [repr(name) for name in sorted(wanted) if (column_of(names, name) if nested else name) not in names]
    if not lacking and nested and options.gold and not {"gold", "entities"} & set(names):
        lacking = ["'gold' or 'entities' with the gold annotation"]
    there = ", ".join(map(repr, names[:30])) + (" and more" if len(names) > 30 else "")
    return f"no column {' and '.join(lacking)}, it has {there}" if lacking else None


def column_of(names: Sequence[str], field: str) -> str:
    """Return the column that holds a field, see `look_up`."""
    return field if field in names else field.split(".")[0]


def _id_of(record: Mapping[str, Any], field: str) -> str:
    for name in (field, *ID_FIELDS):
        value = look_up(record, name)
        if value is None or value == "" or value != value:  # some tables write null as NaN
            continue
        if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
            raise ValueError(f"{name}: expected a string or a number for an id, found {described(value)}")
        return str(value)
    return ""


def _own_words(record: Mapping[str, Any]) -> list[tuple[str, ...]] | None:
    """Return sentences of words; None if the record has none, or bounds in their place."""
    for field in WORD_FIELDS:
        value = record.get(field)
        if value is None or _are_bounds(value):
            continue
        faults = Faults()
        nested = isinstance(value, list) and any(isinstance(item, list) for item in value)
        sentences = []
        for number, sentence in enumerate(value if nested else [value]):
            where = f"{field}: sentence {number}" if nested else field
            sentences.append(check_words(sentence, "", faults, where) or ())
        if faults.lines:
            raise ValueError(faults.lines[0])
        return sentences
    return None


def _are_bounds(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], list) and bool(value[0]) and all(
        isinstance(number, int) for number in value[0]
    )  # fmt: skip


def _gold_of(record: Mapping[str, Any], document: Document, in_words: bool) -> Annotation | None:
    """Return the annotation of the record; None for `gold: null`."""
    if "gold" in record and record["gold"] is None:
        return None
    values = record.get("gold", record)
    if not isinstance(values, Mapping):
        raise ValueError(f"gold: expected an object with entities and relations, found {described(values)}")
    if in_words:
        faults = Faults()
        example = annotated_example(dict(values), document.word_texts(), document.id, "gold", faults)
        if faults.lines or example is None:
            raise ValueError("; ".join(faults.lines))
        return word_annotation(document, example)
    has_words = any(isinstance(w := record.get(name), list) and w and not _are_bounds(w) for name in WORD_FIELDS)
    if values.get("entities") and has_words:
        raise ValueError("gold: found a text and words, so offsets may count either; expected one of the two")
    if "entities" not in values:
        raise ValueError(f"gold: entities missing, found {_names(values)}")
    try:
        return annotation_of(document.text, values)
    except ValueError as error:
        raise ValueError(f"gold: {error}") from None


def _names(names: Iterable[str]) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:20]) + (f" and {len(listed) - 20} more" if len(listed) > 20 else "") or "nothing"
