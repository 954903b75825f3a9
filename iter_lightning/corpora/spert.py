"""SpERT's JSON: a list of records with tokens, entities and relations (CoNLL04, ADE, SciERC, GENIA, your own)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

from iter_lightning.corpora.corpus import CorpusFile
from iter_lightning.corpora.records import (
    Faults,
    build_example,
    check_list,
    check_words,
    read_json,
    record_objects,
    required_list,
    take_keys,
)  # fmt: skip
from iter_lightning.errors import CorpusError, shown
from iter_lightning.io.atomic import write_atomically
from iter_lightning.types import Example, Schema

_URL = "http://lavis.cs.hs-rm.de/storage/spert/public/datasets"


def spert_file(corpus: str, name: str, split: str, sha256: str, fold: int | None = None) -> CorpusFile:
    """Describe a file that the authors of SpERT distribute."""
    return CorpusFile(name, split, f"{_URL}/{corpus}/{name}", sha256, fold)


def read_spert(path: str | Path) -> list[Example]:
    """Read `.json` or `.json.gz`; ids come from orig_id, org_id or id, else from the number of the record.

    Raises:
        CorpusError: every fault of the file.
    """
    path = Path(path)
    faults = Faults(path)
    examples: list[Example] = []
    for number, record in enumerate(record_objects(path)):
        where = f"record {number}"
        words = check_words(record.get("tokens"), where, faults)
        if words is not None:
            example = annotated_example(record, words, record_id(record, number), where, faults)
            examples += [example] if example is not None else []
    faults.finish()
    return examples


def annotated_example(
    record: dict[str, Any], words: tuple[str, ...], id: str, where: str, faults: Faults
) -> Example | None:
    """Return words with the `entities` and `relations` of a record, or None and add its faults."""
    entities = take_keys(required_list(record, "entities", where, faults),
                         ("start", "end", "type"), where, "entity", faults)  # fmt: skip
    relations = take_keys(check_list(record.get("relations"), where, faults, "relations"),
                          ("head", "tail", "type"), where, "relation", faults)  # fmt: skip
    return build_example(words, entities, relations, id, where, faults)


def record_id(record: dict[str, Any], number: int) -> str:
    """Return the id of a record, else its number."""
    found = next((record[key] for key in ("orig_id", "org_id", "id") if record.get(key) is not None), number)
    return found if isinstance(found, str) else shown(found)


def read_spert_types(path: str | Path) -> Schema:
    """Read a schema from SpERT's types file, or from the form of `Schema.to_dict`.

    Raises:
        CorpusError: the file has neither form.
    """
    path = Path(path)
    content = read_json(path, dict)
    try:
        if "entity_types" in content:
            wrong = [key for key, names in content.items() if not _are_names(names)]
            if wrong:
                raise ValueError(f"{' and '.join(wrong)} must be lists of names")
            return Schema.from_dict(content)
        entities, relations = content.get("entities"), content.get("relations") or {}
        if not _are_objects(entities) or not _are_objects(relations):
            raise ValueError("expected the objects entities and relations, with an object for each type")
        symmetric = tuple(name for name, entry in relations.items() if entry.get("symmetric"))
        return Schema(tuple(entities), tuple(relations), symmetric)
    except ValueError as error:
        raise CorpusError([f"{path.name}: not a types file: {error}"]) from error


def _are_objects(value: Any) -> TypeGuard[dict[str, dict[str, Any]]]:
    return isinstance(value, dict) and all(isinstance(entry, dict) for entry in value.values())


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def write_spert(examples: Sequence[Example], path: str | Path) -> None:
    """Write records that `read_spert` reads back exactly; the file is written atomically.

    Raises:
        ValueError: an example has context, for which there is no field.
    """
    records = [spert_record(example) for example in examples]
    write_atomically(Path(path), json.dumps(records, ensure_ascii=False))


def spert_record(example: Example) -> dict[str, Any]:
    """Return an example as a record of SpERT's JSON.

    Raises:
        ValueError: the example has context, for which there is no field.
    """
    if example.left_context or example.right_context:
        raise ValueError(f"example {example.id!r} has context, which SpERT's layout cannot hold")
    index = {entity: i for i, entity in enumerate(example.entities)}
    return {
        "tokens": list(example.words),
        "entities": [{"type": e.type, "start": e.start, "end": e.end} for e in example.entities],
        "relations": [{"type": r.type, "head": index[r.head], "tail": index[r.tail]} for r in example.relations],
        "orig_id": example.id,
    }
