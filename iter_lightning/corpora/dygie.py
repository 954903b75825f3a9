"""Read DyGIE's JSON lines: one document per line, with inclusive word indices over the document (SciERC, ACE05).

Most coreference pairs cross sentences (2,414 of 2,750 in SciERC), so an example with coreference is a document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from iter_lightning.corpora.records import Faults, build_example, check_words, read_json_lines, required_list
from iter_lightning.errors import shown
from iter_lightning.types import Entity, Example, Relation

BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
"""Penn Treebank escapes and the characters they stand for."""
COREFERENCE = "Coreference"
"""Relation type between mentions of a cluster."""
DYGIE_FILES = {split: f"{split}.json" for split in ("train", "dev", "test")}
"""Split -> usual name of its file."""


def read_dygie(path: str | Path, labels: Mapping[str, str] | None = None, coreference: bool = False) -> list[Example]:
    """Read one example per sentence, or one per document with `coreference`.

    Ids are `DOCUMENT:SENTENCE`, or `DOCUMENT` with `coreference`. A cluster becomes the symmetric relation
    `Coreference` between all pairs of its mentions. Each pair occurs once, and its head is the mention that comes
    first, so n mentions give n (n - 1) / 2 relations.

    Args:
        path: JSON-lines file.
        labels: New names of types. Other types keep their name.
        coreference: Whether to read `clusters`, lists of [first, last]. Mentions must be entities.

    Raises:
        CorpusError: If the file has faults. The message lists all of them.
    """
    path = Path(path)
    faults = Faults(path)
    examples: list[Example] = []
    for number, document in enumerate(read_json_lines(path)):
        known = len(faults.lines)
        sentences = _sentences(document, number, labels or {}, faults)
        if coreference and len(faults.lines) == known:  # a missing sentence would shift all later offsets
            sentences = [_whole(document, sentences, number, faults)]
        examples.extend(sentences)
    faults.finish()
    return examples


def _sentences(document: dict[str, Any], number: int, labels: Mapping[str, str], faults: Faults) -> list[Example]:
    where = f"document {number}"
    sentences = document.get("sentences")
    if not isinstance(sentences, list):
        faults.add(where, "sentences: expected a list of lists of words")
        return []
    layers = {}
    if "ner" not in document:
        faults.add(where, f"ner missing, found {shown(sorted(document))}")
    for layer in ("ner", "relations"):
        layers[layer] = document.get(layer, [[] for _ in sentences])
        if not isinstance(layers[layer], list) or len(layers[layer]) != len(sentences):
            faults.add(where, f"{layer}: expected {len(sentences)} lists, one per sentence")
            return []
    offset = 0
    examples: list[Example] = []
    name = _name(document, number)
    for i, raw_words in enumerate(sentences):
        place = f"{where}: sentence {i}"
        words = check_words(raw_words, place, faults, "sentences")
        if words is None:
            return examples  # the offsets of later sentences are unknown
        example = _sentence(
            words, layers["ner"][i], layers["relations"][i], offset, f"{name}:{i}", place, labels, faults
        )
        if example is not None:
            examples.append(example)
        offset += len(words)
    return examples


def _name(document: dict[str, Any], number: int) -> str:
    key = document.get("doc_key") or number
    return key if isinstance(key, str) else shown(key)


def _sentence(
    words: tuple[str, ...], ner: Any, relations: Any, offset: int, id: str, where: str, labels: Mapping[str, str],
    faults: Faults,
) -> Example | None:  # fmt: skip
    """Build an example from rows that start with [first, last, type] and [first, last, first, last, type]."""
    if not _rows(ner, 2, f"{where}: ner", faults) or not _rows(relations, 4, f"{where}: relations", faults):
        return None
    entities = [(first - offset, last - offset + 1, labels.get(kind, kind)) for first, last, kind, *_ in ner]
    index = {(start, end): i for i, (start, end, _) in enumerate(entities)}
    links: list[tuple[int, int, str]] = []
    for i, (head, head_last, tail, tail_last, kind, *_) in enumerate(relations):
        arguments = [(head - offset, head_last - offset + 1), (tail - offset, tail_last - offset + 1)]
        missing = [span for span in arguments if span not in index]
        if missing:
            first, last = missing[0][0] + offset, missing[0][1] + offset - 1
            faults.add(f"{where}: relation {i}", f"[{first}, {last}] is not an entity of the sentence")
        else:
            links.append((index[arguments[0]], index[arguments[1]], labels.get(kind, kind)))
    unescaped = tuple(BRACKETS.get(word, word) for word in words)
    return build_example(unescaped, entities, links, id, where, faults)


def _whole(document: dict[str, Any], sentences: list[Example], number: int, faults: Faults) -> Example:
    """Join the sentences of a document and add its coreference relations."""
    words: tuple[str, ...] = ()
    entities: list[Entity] = []
    relations: list[Relation] = []
    for sentence in sentences:
        moved = {e: replace(e, start=e.start + len(words), end=e.end + len(words)) for e in sentence.entities}
        entities += moved.values()
        relations += [Relation(moved[r.head], moved[r.tail], r.type) for r in sentence.relations]
        words += sentence.words
    relations += _coreference(document, entities, f"document {number}", faults)
    return Example(words, tuple(entities), tuple(relations), id=_name(document, number))


def _coreference(document: dict[str, Any], entities: list[Entity], where: str, faults: Faults) -> list[Relation]:
    """Return a relation for each pair of mentions of each cluster.

    If a span has several types, the entity that is listed last represents it, as in relations.
    """
    index = {entity.span: entity for entity in entities}
    found: dict[Relation, None] = {}
    for i, cluster in enumerate(required_list(document, "clusters", where, faults)):
        place = f"{where}: cluster {i}"
        if not _rows(cluster, 2, place, faults, typed=False):
            continue
        spans = {(first, last + 1) for first, last, *_ in cluster}
        for start, end in sorted(spans - index.keys()):
            faults.add(place, f"[{start}, {end - 1}] is not an entity of the document")
        pairs = combinations([index[span] for span in sorted(spans & index.keys())], 2)
        found.update(dict.fromkeys(Relation(head, tail, COREFERENCE) for head, tail in pairs))
    return list(found)


def _rows(rows: Any, numbers: int, where: str, faults: Faults, typed: bool = True) -> bool:
    """Return whether each row starts with `numbers` whole numbers and, if `typed`, a type; otherwise add a fault."""
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        faults.add(where, f"expected a list, found {shown(rows)}")
        return False
    for i, row in enumerate(rows):
        fits = isinstance(row, list) and len(row) >= numbers + typed and (not typed or isinstance(row[numbers], str))
        if not fits or not all(isinstance(x, int) and not isinstance(x, bool) for x in row[:numbers]):
            expected = f"{numbers} whole numbers{' and a type' if typed else ''}"
            faults.add(where, f"entry {i} is {shown(row)}, expected {expected}")
            return False
    return True
