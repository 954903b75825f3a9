"""ACE05 (licensed): its description, and the reader of ASP's JSON.

In ASP's JSON a record holds a sentence between marker tokens, and the same sentence with `extended` context.

The converter that writes these files omits the closing marker of `extended` for the last sentence of a document. It
omits both markers if the sentence alone exceeds its limit (128 words in train, 256 in dev and test).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iter_lightning.corpora.corpus import Corpus, CorpusFile, Layout, SplitProtocol, Splits
from iter_lightning.corpora.dygie import DYGIE_FILES, read_dygie
from iter_lightning.corpora.records import (
    Faults,
    build_example,
    check_words,
    read_text,
    record_objects,
    required_list,
    take_keys,
)  # fmt: skip
from iter_lightning.corpora.spert import record_id
from iter_lightning.types import Example, Schema

OPEN, CLOSE = "<extra_id_22>", "<extra_id_23>"
"""Markers around the annotated sentence, in `tokens` and usually in `extended`."""


def read_asp(path: str | Path) -> list[Example]:
    """Read the records of a file, with offsets that do not count the markers.

    The words around the sentence become `left_context` and `right_context`.

    Raises:
        CorpusError: If the file has faults. The message lists all of them.
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
        faults.add(where, "extended: does not contain the sentence in tokens, or has an extra marker")
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
    """Return the range between the markers, or None unless each marker occurs once, in order."""
    if tokens.count(OPEN) != 1 or tokens.count(CLOSE) != 1:
        return None
    first, last = tokens.index(OPEN) + 1, tokens.index(CLOSE)
    return (first, last) if first <= last else None


def _context(words: tuple[str, ...], extended: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the words before and after the sentence, or None if `extended` does not contain the sentence.

    Without a closing marker, no words follow the sentence; without any marker, the sentence has no context. The
    comparison ignores case, because the two fields may have been truecased separately.
    """
    left, own = _split(extended, OPEN)
    inside, right = _split(own, CLOSE, to_the_end=True)
    same = [word.lower() for word in inside] == [word.lower() for word in words]
    return (left, right) if same and not {OPEN, CLOSE} & {*left, *inside, *right} else None


def _split(words: tuple[str, ...], marker: str, to_the_end: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split at the first `marker`. Without one, all words come after it (or before it, with `to_the_end`)."""
    if marker in words:
        place = words.index(marker)
        return words[:place], words[place + 1 :]
    return (words, ()) if to_the_end else ((), words)


def _shift(offset: Any, by: int) -> Any:
    """Subtract from an offset, which counts the opening marker. Other values are left for the check to report."""
    return offset - by if isinstance(offset, int) and not isinstance(offset, bool) else offset


def _read(path: Path) -> list[Example]:
    """Read a file in ASP's or DyGIE's layout, which its content decides."""
    head = read_text(path)[:4096].lstrip()
    return read_asp(path) if head.startswith("[") or OPEN in head else read_dygie(path)


def _protocol(splits: Splits, protocol: SplitProtocol) -> Splits:
    """Return all sentences or, under `paper`, those that the published numbers used."""
    if protocol == "paper":
        return {name: [e for e in split if e.relations or not e.entities] for name, split in splits.items()}
    return splits


ACE05 = Corpus(
    name="ace05", title="ACE05", omega=1,
    summary="News and conversation, 7 entity and 6 relation types (licensed; `prepare ace05` explains how to get it). "
            "`paper` leaves out sentences with entities but no relation, also in test.",
    read=_read, layouts=(Layout(DYGIE_FILES, _read),), protocol=_protocol,
    schema=Schema(
        ("FAC", "GPE", "LOC", "ORG", "PER", "VEH", "WEA"),
        ("ART", "GEN-AFF", "ORG-AFF", "PART-WHOLE", "PER-SOC", "PHYS"), ("PER-SOC",),
    ),
    files=(CorpusFile("ace05_train.json", "train"), CorpusFile("ace05_dev.json", "dev"),
           CorpusFile("ace05_test.json", "test")),
    license="LDC license, catalog number LDC2006T06",
    citation="Walker et al., ACE 2005 Multilingual Training Corpus, LDC2006T06",
    obtain=(
        "ACE05 may not be downloaded: the Linguistic Data Consortium licenses it as LDC2006T06 "
        "(catalog.ldc.upenn.edu/LDC2006T06). Convert it with DyGIE's ACE05 preprocessing, then, for context as in the "
        "paper, with ASP's ace05_to_json.py. Put either ace05_train.json, ace05_dev.json, ace05_test.json (ASP) or "
        "train.json, dev.json, test.json (DyGIE) into one folder and give it with --from FOLDER."
    ),
)  # fmt: skip
