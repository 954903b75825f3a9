"""Read JointER's JSON for NYT: tokens, and triples in `spo_details` with offsets and types of both arguments."""

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
from iter_lightning.errors import shown
from iter_lightning.types import Example


def read_jointer(path: str | Path) -> list[Example]:
    """Read a JSON list or JSON lines. Only arguments of triples are entities.

    Raises:
        CorpusError: If the file has faults. The message lists all of them.
    """
    path = Path(path)
    faults = Faults(path)
    is_list = read_text(path).lstrip()[:1] == "["
    records = record_objects(path) if is_list else list(read_json_lines(path))
    examples = [_example(record, number, faults) for number, record in enumerate(records)]
    faults.finish()
    return [example for example in examples if example is not None]


def _example(record: dict[str, Any], number: int, faults: Faults) -> Example | None:
    """Build an example from details [subject start, end, type, relation, object start, end, type], ends exclusive."""
    where = f"record {number}"
    words = check_words(record.get("tokens"), where, faults)
    if words is None:
        return None
    entities: dict[tuple[Any, Any, Any], int] = {}
    relations: list[tuple[int, int, Any]] = []
    for i, detail in enumerate(required_list(record, "spo_details", where, faults)):
        if not isinstance(detail, list) or len(detail) != 7:
            faults.add(where, f"spo_details {i}: expected 7 fields (start, end, type, relation, start, end, type), "
                              f"found {shown(detail)}")  # fmt: skip
            continue
        try:
            head, tail = [
                entities.setdefault((start, end, kind), len(entities)) for start, end, kind in (detail[:3], detail[4:])
            ]
        except TypeError:  # lists and objects are not hashable
            faults.add(where, f"spo_details {i}: expected numbers and strings, found {shown(detail)}")
            continue
        relations.append((head, tail, detail[3]))
    return build_example(words, list(entities), relations, record_id(record, number), where, faults)
