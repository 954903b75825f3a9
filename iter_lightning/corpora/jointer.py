"""JointER's JSON for NYT: tokens and `spo_details`, each triple with both arguments' offsets and types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iter_lightning.corpora.records import (
    Faults,
    build_example,
    check_words,
    read_json_lines,
    read_text,
    record_objects,
    required_list,
)  # fmt: skip
from iter_lightning.corpora.spert import record_id
from iter_lightning.types import Example


def read_jointer(path: str | Path) -> list[Example]:
    """Read a JSON list, or JSON lines; entities are those that take part in a triple.

    Raises:
        CorpusError: every fault of the file.
    """
    path = Path(path)
    faults = Faults(path)
    is_list = read_text(path).lstrip()[:1] == "["
    records = record_objects(path) if is_list else list(read_json_lines(path))
    examples = [_example(record, number, faults) for number, record in enumerate(records)]
    faults.finish()
    return [example for example in examples if example is not None]


def _example(record: dict[str, Any], number: int, faults: Faults) -> Example | None:
    """A detail is [subject start, end, type, relation, object start, end, type], ends exclusive."""
    where = f"record {number}"
    words = check_words(record.get("tokens"), where, faults)
    if words is None:
        return None
    entities: list[tuple[Any, Any, Any]] = []
    relations: list[tuple[int, int, Any]] = []
    for i, detail in enumerate(required_list(record, "spo_details", where, faults)):
        if not isinstance(detail, list) or len(detail) != 7:
            faults.add(where, f"spo_details {i}: expected 7 fields (start, end, type, relation, start, end, type), "
                              f"found {detail!r}")  # fmt: skip
            continue
        for entity in (tuple(detail[:3]), tuple(detail[4:])):
            if entity not in entities:
                entities.append(entity)
        relations.append((entities.index(tuple(detail[:3])), entities.index(tuple(detail[4:])), detail[3]))
    return build_example(words, entities, relations, record_id(record, number), where, faults)
