"""DyGIE's JSON lines: a document a line, inclusive indices that count over the document (SciERC, ACE05)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iter_lightning.corpora.records import Faults, build_example, check_words, read_json_lines
from iter_lightning.types import Example

BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
"""Penn Treebank escapes."""
SCIERC_LABELS = {
    "USED-FOR": "Used-for", "FEATURE-OF": "Feature-of", "HYPONYM-OF": "Hyponym-of", "EVALUATE-FOR": "Evaluate-for",
    "PART-OF": "Part-of", "COMPARE": "Compare", "CONJUNCTION": "Conjunction",
}  # fmt: skip
"""SciERC's relation types as the sentence form writes them."""


def read_dygie(path: str | Path, labels: Mapping[str, str] | None = None) -> list[Example]:
    """One example a sentence, ids `DOCUMENT:SENTENCE`; coreference clusters are not read.

    Args:
        path: the JSON-lines file.
        labels: other names for types; those not in it stay.

    Raises:
        CorpusError: every fault of the file.
    """
    path = Path(path)
    faults = Faults(path)
    examples: list[Example] = []
    for number, document in enumerate(read_json_lines(path)):
        examples.extend(_sentences(document, number, labels or {}, faults))
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
        faults.add(where, f"ner missing, found {sorted(document)}")
    for layer in ("ner", "relations"):
        layers[layer] = document.get(layer, [[] for _ in sentences])
        if not isinstance(layers[layer], list) or len(layers[layer]) != len(sentences):
            faults.add(where, f"{layer}: expected a list for each of the {len(sentences)} sentences")
            return []
    offset = 0
    examples: list[Example] = []
    name = str(document.get("doc_key") or number)
    for i, raw_words in enumerate(sentences):
        place = f"{where}: sentence {i}"
        words = check_words(raw_words, place, faults, "sentences")
        if words is None:
            return examples  # offsets past this sentence cannot be known
        example = _sentence(
            words, layers["ner"][i], layers["relations"][i], offset, f"{name}:{i}", place, labels, faults
        )
        if example is not None:
            examples.append(example)
        offset += len(words)
    return examples


def _sentence(
    words: tuple[str, ...], ner: Any, relations: Any, offset: int, id: str, where: str, labels: Mapping[str, str],
    faults: Faults,
) -> Example | None:  # fmt: skip
    """`ner` holds [first, last, type], `relations` [first, last, first, last, type]; more may follow."""
    if not _rows(ner, 3, f"{where}: ner", faults) or not _rows(relations, 5, f"{where}: relations", faults):
        return None
    entities = [(first - offset, last - offset + 1, labels.get(kind, kind)) for first, last, kind, *_ in ner]
    index = {(start, end): i for i, (start, end, _) in enumerate(entities)}
    links: list[tuple[int, int, str]] = []
    for i, (head, head_last, tail, tail_last, kind, *_) in enumerate(relations):
        arguments = [(head - offset, head_last - offset + 1), (tail - offset, tail_last - offset + 1)]
        missing = [span for span in arguments if span not in index]
        if missing:
            first, last = missing[0][0] + offset, missing[0][1] + offset - 1
            faults.add(f"{where}: relation {i}", f"[{first}, {last}] is no entity of the sentence")
        else:
            links.append((index[arguments[0]], index[arguments[1]], labels.get(kind, kind)))
    unescaped = tuple(BRACKETS.get(word, word) for word in words)
    return build_example(unescaped, entities, links, id, where, faults)


def _rows(rows: Any, width: int, where: str, faults: Faults) -> bool:
    """Whether each row is (whole numbers ..., label), `width` fields at least."""
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        faults.add(where, f"expected a list, found {rows!r}")
        return False
    for i, row in enumerate(rows):
        fits = isinstance(row, list) and len(row) >= width and isinstance(row[width - 1], str)
        if not fits or not all(isinstance(x, int) and not isinstance(x, bool) for x in row[: width - 1]):
            faults.add(where, f"entry {i} is {row!r}, expected {width - 1} whole numbers and a type")
            return False
    return True
