"""ASP's JSON for ACE05: a sentence between marker tokens, and the same sentence in its `extended` context.

The converter behind these files leaves the closing marker out of `extended` for the last sentence of a document, and
both markers where the sentence alone is over its limit (128 words in train, 256 in dev and test).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iter_lightning.corpora.records import (
    Faults,
    build_example,
    check_words,
    record_objects,
    required_list,
    take_keys,
)  # fmt: skip
from iter_lightning.corpora.spert import record_id
from iter_lightning.types import Example

OPEN, CLOSE = "<extra_id_22>", "<extra_id_23>"
"""The markers around the annotated sentence, in `tokens` and, mostly, in `extended`."""


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
    own = _between(tokens)
    if own is None:
        faults.add(where, f"tokens: expected one {OPEN} and, after it, one {CLOSE}")
        return None
    first, last = own
    context = _context(tokens[first:last], extended)
    if context is None:
        faults.add(where, "extended: holds another sentence than tokens, or one marker too many")
        return None
    entities = [
        raw and (_shift(raw[0], first), _shift(raw[1], first), raw[2])
        for raw in take_keys(
            required_list(record, "entities", where, faults),
            ("start", "end", "type"),
            where,
            "entity",
            faults,
        )  # fmt: skip
    ]
    relations = take_keys(required_list(record, "relations", where, faults),
                          ("head", "tail", "type"), where, "relation", faults)  # fmt: skip
    return build_example(
        tokens[first:last], entities, relations, record_id(record, number), where, faults,
        left_context=context[0], right_context=context[1],
    )  # fmt: skip


def _between(tokens: tuple[str, ...]) -> tuple[int, int] | None:
    """The range between the markers, None where they are not there once each, in order."""
    if tokens.count(OPEN) != 1 or tokens.count(CLOSE) != 1:
        return None
    first, last = tokens.index(OPEN) + 1, tokens.index(CLOSE)
    return (first, last) if first <= last else None


def _context(words: tuple[str, ...], extended: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The words before and after the sentence, None where `extended` does not hold it.

    A missing closing marker means that nothing follows, no marker at all that nothing is around. Letter case is not
    compared: the two fields may have been truecased apart.
    """
    left, own = _split(extended, OPEN)
    inside, right = _split(own, CLOSE, to_the_end=True)
    same = [word.lower() for word in inside] == [word.lower() for word in words]
    return (left, right) if same and not {OPEN, CLOSE} & {*left, *inside, *right} else None


def _split(words: tuple[str, ...], marker: str, to_the_end: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is before and after the first `marker`; without one, all of it is after (or, `to_the_end`, before)."""
    if marker in words:
        place = words.index(marker)
        return words[:place], words[place + 1 :]
    return (words, ()) if to_the_end else ((), words)


def _shift(offset: Any, by: int) -> Any:
    """Offsets count the opening marker; what is no number is left for the check to tell."""
    return offset - by if isinstance(offset, int) and not isinstance(offset, bool) else offset
