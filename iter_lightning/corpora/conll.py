"""Columns of words and IOB tags: CoNLL03 (IOB1 or IOB2, `-DOCSTART-` between documents) and WNUT17 (IOB2, tabs)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iter_lightning.corpora.records import Faults, read_text
from iter_lightning.errors import ConfigError, shown
from iter_lightning.types import Entity, Example

LEVELS = ("sentence", "document")


def read_conll(path: str | Path, level: str = "sentence", tag_column: int = -1) -> list[Example]:
    """Read word (first column) and tag; a blank line ends a sentence.

    Args:
        path: the file; columns are divided by tabs where a line has one, else by white space.
        level: `sentence`, or `document`: the sentences between two `-DOCSTART-` lines are one example.
        tag_column: where the tag is.

    Raises:
        CorpusError: every line without a tag, or with one that is none of O, B-X, I-X, E-X, S-X.
    """
    path = Path(path)
    if level not in LEVELS:
        raise ConfigError(f"level {level!r} is none of {', '.join(LEVELS)}")
    faults = Faults(path)
    documents: list[list[list[tuple[str, str]]]] = [[[]]]
    for number, line in enumerate(read_text(path).split("\n"), 1):
        columns = line.rstrip("\r").split("\t") if "\t" in line else line.split()
        if not any(column.strip() for column in columns):
            documents[-1].append([])
        elif columns[0] == "-DOCSTART-":
            documents.append([[]])
        elif len(columns) < 2 or not columns[0]:
            faults.add(f"line {number}", f"expected a word and a tag, found {shown(line)}")
        elif not -len(columns) <= tag_column < len(columns):
            faults.add(f"line {number}", f"expected a tag in column {tag_column}, found {len(columns)} columns")
        elif not _is_tag(columns[tag_column].strip()):
            faults.add(f"line {number}", f"{shown(columns[tag_column])} is not a tag (O, B-X, I-X, E-X, S-X)")
        else:
            documents[-1][-1].append((columns[0], columns[tag_column].strip()))
    faults.finish()
    units: list[list[list[tuple[str, str]]]] = []
    for document in documents:
        sentences = [sentence for sentence in document if sentence]
        units += [sentences] if level == "document" else [[sentence] for sentence in sentences]
    return [_example(unit, str(i)) for i, unit in enumerate(unit for unit in units if unit)]


def _example(sentences: Sequence[Sequence[tuple[str, str]]], id: str) -> Example:
    """Sentences in one example; no entity crosses from one to the next."""
    words: list[str] = []
    entities: list[Entity] = []
    for sentence in sentences:
        offset = len(words)
        words.extend(word for word, _ in sentence)
        entities.extend(
            Entity(offset + start, offset + end, kind)
            for start, end, kind in entity_spans([tag for _, tag in sentence])
        )
    return Example(words=tuple(words), entities=tuple(entities), id=id)


def entity_spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(start, end, type) of a tagged sentence.

    One rule reads IOB1, IOB2 and BIOES: an entity begins at B-X and S-X, and at I-X or E-X where the word before
    is outside or of another type, or ended its entity; it ends before a new one, at O, and after E-X and S-X.
    """
    spans: list[tuple[int, int, str]] = []
    start, kind = -1, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        goes_on = start >= 0 and prefix in ("I", "E") and name == kind
        if start >= 0 and not goes_on:
            spans.append((start, i, kind))
            start = -1
        if prefix != "O" and not goes_on:
            start, kind = i, name
        if prefix in ("E", "S") and start >= 0:
            spans.append((start, i + 1, kind))
            start = -1
    return spans


def _is_tag(tag: str) -> bool:
    return tag == "O" or (tag[:2] in ("B-", "I-", "E-", "S-") and len(tag) > 2)
