"""Columns of words and IOB tags: CoNLL03 (IOB1 or IOB2, `-DOCSTART-` between documents) and WNUT17 (IOB2, tabs)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iter_lightning.corpora.records import Faults, read_text
from iter_lightning.errors import ConfigError, shown
from iter_lightning.types import Entity, Example

LEVELS = ("sentence", "document")
DOCUMENT_START = "-DOCSTART-"
"""First word of the line that begins a document."""


def read_conll(path: str | Path, level: str = "sentence", tag_column: int = -1) -> list[Example]:
    """Read words from the first column and their tags; a blank line ends a sentence.

    Args:
        path: the file; columns are separated by tabs if a line has one, else by spaces.
        level: `sentence`, or `document`: the sentences between two `-DOCSTART-` lines are one example.
        tag_column: the column of the tag.

    Raises:
        CorpusError: every line without a tag, or with a tag other than O, B-X, I-X, E-X, S-X.
    """
    path = Path(path)
    if level not in LEVELS:
        raise ConfigError(f"level {level!r}: expected one of {', '.join(LEVELS)}")
    faults = Faults(path)
    documents: list[list[list[tuple[str, str]]]] = [[[]]]
    for number, line in enumerate(read_text(path).split("\n"), 1):
        columns = columns_of(line)
        if not columns:
            documents[-1].append([])
        elif columns[0] == DOCUMENT_START:
            documents.append([[]])
        elif fault := line_fault(columns, tag_column):
            faults.add(f"line {number}", fault)
        else:
            documents[-1][-1].append((columns[0], columns[tag_column]))
    faults.finish()
    units: list[list[list[tuple[str, str]]]] = []
    for document in documents:
        sentences = [sentence for sentence in document if sentence]
        units += [sentences] if level == "document" else [[sentence] for sentence in sentences]
    return [tagged_example(unit, str(i)) for i, unit in enumerate(unit for unit in units if unit)]


def columns_of(line: str) -> list[str]:
    """Return the word and further columns of a line, without white space around the latter; none for a blank line."""
    if not line.strip():
        return []
    word, *others = line.split("\t") if "\t" in line else [column for column in line.split(" ") if column]
    return [word.rstrip("\r\n"), *(column.strip() for column in others)]


def line_fault(columns: Sequence[str], tag_column: int | None = -1) -> str | None:
    """Return the fault in the columns of a word, or None. `tag_column` is None for files without tags."""
    if not columns[0]:
        return "expected a word and a tag, found an empty first column"
    if tag_column is None:
        return None
    if len(columns) < 2:
        return f"expected a word and a tag, found {shown(columns[0])}"
    if not -len(columns) <= tag_column < len(columns):
        return f"expected a tag in column {tag_column}, found {len(columns)} columns"
    tag = columns[tag_column]
    if tag != "O" and not (tag.startswith(("B-", "I-", "E-", "S-")) and len(tag) > 2):
        return f"{shown(tag)} is not a tag; expected O, B-X, I-X, E-X or S-X"
    return None


def tagged_example(sentences: Sequence[Sequence[tuple[str, str]]], id: str = "") -> Example:
    """Return sentences of words and tags as one example; entities do not cross sentences."""
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
    """Return (start, end, type) of each entity of a tagged sentence.

    One rule covers IOB1, IOB2 and BIOES: an entity begins at B-X and S-X, and at I-X or E-X if the word before is
    outside, has another type, or ended its entity. It ends before a new one, at O, and after E-X and S-X.
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


def tag_layers(entities: Sequence[Entity], length: int) -> list[list[str]]:
    """Return BIO tags of `length` words, in as many layers as overlapping entities need, at least one.

    Longer entities come first: an entity is in the first layer in which no longer one overlaps it.
    """
    layers = [["O"] * length]
    for entity in sorted(entities, key=lambda e: (e.start - e.end, e.start)):
        start, end = entity.span
        free = next((tags for tags in layers if all(tag == "O" for tag in tags[start:end])), None)
        if free is None:
            layers.append(free := ["O"] * length)
        free[start:end] = [f"B-{entity.type}"] + [f"I-{entity.type}"] * (end - start - 1)
    return layers
