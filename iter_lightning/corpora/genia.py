"""The GENIA 3.02 archive itself, by the rule behind the splits of recent work on nested entities.

Sentences in file order; text is split at white space and at every `cons` tag; a `cons` is an entity if its `sem`
begins with one of the prefixes below, elements without `sem` and coordinations give none; of several types on one
span the one that sorts last is kept.
"""

from __future__ import annotations

import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from iter_lightning.errors import CorpusError
from iter_lightning.types import Entity, Example

XML_NAME = "GENIAcorpus3.02.xml"
TYPES = (("G#DNA", "DNA"), ("G#RNA", "RNA"), ("G#protein", "protein"))
"""Prefix of `sem` and type."""
EXACT = {"G#cell_type": "cell_type", "G#cell_line": "cell_line"}
TRAIN_DEV, TRAIN = 16_692, 15_023
"""The first 16,692 of 18,546 sentences are train and dev (the first 15,023 of them train), the rest is test."""


def read_genia(archive: str | Path) -> list[Example]:
    """All sentences of `GENIAcorpus3.02.tgz` (or of the XML file in it) in file order; ids count from 0.

    Raises:
        CorpusError: no such file, no XML in it, or damaged.
    """
    archive = Path(archive)
    try:
        if archive.suffix == ".xml":
            with archive.open("rb") as file:
                return list(_sentences(file))
        with tarfile.open(archive) as tar:
            member = next((m for m in tar if Path(m.name).name == XML_NAME), None)
            content = tar.extractfile(member) if member is not None else None
            if content is None:
                raise CorpusError([f"{archive.name}: holds no {XML_NAME}"])
            return list(_sentences(content))
    except (OSError, EOFError, tarfile.TarError, ElementTree.ParseError) as error:
        raise CorpusError([f"{archive}: cannot be read: {error}"]) from error


def _sentences(file: IO[bytes]) -> Iterator[Example]:
    """Stream the XML; the parser expands no external entities."""
    number = 0
    for _, element in ElementTree.iterparse(file, events=("end",)):
        if element.tag == "sentence":
            yield _example(element, str(number))
            number += 1
        elif element.tag == "article":
            element.clear()


def _example(sentence: ElementTree.Element, id: str) -> Example:
    words: list[str] = []
    types: dict[tuple[int, int], str] = {}
    _walk(sentence, words, types)
    entities = tuple(Entity(start, end, kind) for (start, end), kind in types.items())
    return Example(words=tuple(words), entities=entities, id=id)


def _walk(element: ElementTree.Element, words: list[str], types: dict[tuple[int, int], str]) -> None:
    """Append the words of an element; a `cons` tag is a word boundary by construction."""
    start = len(words)
    words.extend((element.text or "").split())
    for child in element:
        _walk(child, words, types)
        words.extend((child.tail or "").split())
    kind = _type_of(element.get("sem", "")) if element.tag == "cons" else None
    if kind is not None and len(words) > start:
        span = (start, len(words))
        types[span] = max(kind, types.get(span, ""))


def _type_of(sem: str) -> str | None:
    return EXACT.get(sem) or next((kind for prefix, kind in TYPES if sem.startswith(prefix)), None)
