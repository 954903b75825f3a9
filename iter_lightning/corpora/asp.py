"""ASP's JSON for ACE05: a sentence between marker tokens, and the same sentence in its `extended` context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iter_lightning.corpora.records import (
    Faults,
    build_example,
    check_list,
    check_words,
    record_objects,
    take_keys,
)  # fmt: skip
from iter_lightning.corpora.spert import record_id
from iter_lightning.types import Example

OPEN, CLOSE = "<extra_id_22>", "<extra_id_23>"
"""The markers around the annotated sentence, in `tokens` and in `extended`."""


def read_asp(path: str | Path) -> list[Example]:
    """Read records; offsets come out without the markers, context as `left_context` and `right_context`.

    Raises:
        CorpusError: every fault of the file.
    """
    path = Path(path)
    faults = Faults(path)
    examples = [_example(record, number, faults) for number, record in enumerate(record_objects(path))]
    faults.finish()
    return [example for example in examples if example is not None]


def _example(record: dict[str, Any], number: int, faults: Faults) -> Example | None:
    where = f"record {number}"
    tokens = check_words(record.get("tokens"), where, faults)
    extended = check_words(record.get("extended", record.get("tokens")), where, faults, "extended")
    if tokens is None or extended is None:
        return None
    own, context = _between(tokens), _between(extended)
    if own is None or context is None:
        field = "tokens" if own is None else "extended"
        faults.add(where, f"{field}: expected one {OPEN} and, after it, one {CLOSE}")
        return None
    (first, last), (before, after) = own, context
    if tokens[first:last] != extended[before:after]:
        faults.add(where, "extended: holds another sentence between its markers than tokens")
        return None
    entities = [
        raw and (_shift(raw[0], first), _shift(raw[1], first), raw[2])
        for raw in take_keys(
            check_list(record.get("entities"), where, faults, "entities"),
            ("start", "end", "type"),
            where,
            "entity",
            faults,
        )  # fmt: skip
    ]
    relations = take_keys(check_list(record.get("relations"), where, faults, "relations"),
                          ("head", "tail", "type"), where, "relation", faults)  # fmt: skip
    return build_example(
        tokens[first:last], entities, relations, record_id(record, number), where, faults,
        left_context=extended[: before - 1], right_context=extended[after + 1 :],
    )  # fmt: skip


def _between(tokens: tuple[str, ...]) -> tuple[int, int] | None:
    """The range between the markers, None where they are not there once each, in order."""
    if tokens.count(OPEN) != 1 or tokens.count(CLOSE) != 1:
        return None
    first, last = tokens.index(OPEN) + 1, tokens.index(CLOSE)
    return (first, last) if first <= last else None


def _shift(offset: Any, by: int) -> Any:
    """Offsets count the opening marker; what is no number is left for the check to tell."""
    return offset - by if isinstance(offset, int) and not isinstance(offset, bool) else offset
