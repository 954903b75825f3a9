"""spaCy's `Doc` and `DocBin`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.types import Schema

SPANS_KEY = "iter"
"""Where all entities are in `doc.spans`."""
ID_KEY, RELATIONS_KEY = "iter_id", "iter_relations"
"""Where the id and the relations are in `doc.user_data`."""
_ATTRIBUTES = ("ENT_IOB", "ENT_TYPE", "SENT_START")
_PIECE = re.compile(r"\S+|\s+")


class DocBinWriter:
    """A DocBin with what `to_spacy` makes; it is one compressed value, so all of it is held in memory.

    Raises:
        ConfigError: spaCy is missing.
    """

    def __init__(self, path: Path, schema: Schema, context: str) -> None:
        try:
            import spacy
            from spacy.tokens import DocBin
        except ImportError as error:
            raise ConfigError("writing a DocBin needs spaCy: pip install 'iter-lightning[extract]'") from error
        self.notes: list[str] = []
        self._path = path
        self._vocab = spacy.blank("xx").vocab
        self._docs: Any = DocBin(attrs=_ATTRIBUTES, store_user_data=True)

    def write(self, document: Document) -> None:
        """Add a document."""
        self._docs.add(to_spacy(document, self._vocab))

    def close(self) -> None:
        """Compress and write all of them."""
        self._path.write_bytes(self._docs.to_bytes())


def to_spacy(document: Document, vocab: Any) -> Any:
    """A spaCy `Doc` of the same text, character by character.

    Tokens are the document's words, white space more than a blank between them, and pieces of words where an entity
    begins or ends inside of one. The rest is as the pipeline component leaves it: `doc.spans["iter"]` holds all
    entities in their order, its `attrs["scores"]` their scores; `doc.ents` the longest of those that overlap;
    `doc.user_data["iter_relations"]` lists of start, end and label of the head, the same of the tail (in tokens),
    type and score, which `doc._.relations` reads. `doc.user_data["iter_id"]` is the id.

    Args:
        document: any.
        vocab: spaCy's vocabulary the strings go to.
    """
    from spacy.tokens import Doc, Span, SpanGroup

    tokens = list(_tokens(document))
    sentences = {start for start, _ in document.sentences[1:]}
    opens: list[bool | int | None] = [place == 0 or start in sentences for place, (start, _, _) in enumerate(tokens)]
    doc = Doc(
        vocab, words=[document.text[start:end] for start, end, _ in tokens], spaces=[blank for _, _, blank in tokens],
        sent_starts=opens if document.sentences else None,
    )  # fmt: skip
    first = {start: number for number, (start, _, _) in enumerate(tokens)}
    last = {end: number + 1 for number, (_, end, _) in enumerate(tokens)}
    spans = [Span(doc, first[e.start], last[e.end], label=e.type) for e in document.entities]
    scores = np.array([entity.score for entity in document.entities])
    doc.spans[SPANS_KEY] = SpanGroup(doc, name=SPANS_KEY, spans=spans, attrs={"scores": scores})
    doc.ents = [spans[place] for place in _apart(document.entities)]
    doc.user_data[ID_KEY] = document.id
    doc.user_data[RELATIONS_KEY] = [
        [first[r.head.start], last[r.head.end], r.head.type, first[r.tail.start], last[r.tail.end], r.tail.type, r.type,
         r.score] for r in document.relations
    ]  # fmt: skip
    return doc


def _apart(entities: Sequence[TextEntity]) -> list[int]:
    """The places of the longest of those that overlap, of equally long ones the likeliest."""
    order = sorted(range(len(entities)), key=lambda i: (entities[i].start - entities[i].end, -entities[i].score, i))
    taken: set[int] = set()
    kept = []
    for place in order:
        characters = range(entities[place].start, entities[place].end)
        if taken.isdisjoint(characters):
            kept.append(place)
            taken.update(characters)
    return sorted(kept)


def _tokens(document: Document) -> Iterator[tuple[int, int, bool]]:
    """Start, end and whether a blank follows, as spaCy has it: the first blank after a token belongs to it."""
    starts = {entity.start for entity in document.entities}
    ends = {entity.end for entity in document.entities}
    cuts = sorted(starts | ends)
    waiting: tuple[int, int] | None = None
    cut = 0
    for start, end, space in _pieces(document):
        if waiting:
            blank = space and document.text[start] == " " and start not in starts and start + 1 not in ends
            yield *waiting, blank
            waiting, start = None, start + blank
        while cut < len(cuts) and cuts[cut] <= start:
            cut += 1
        while cut < len(cuts) and cuts[cut] < end:
            yield start, cuts[cut], False
            start, cut = cuts[cut], cut + 1
        if space and start < end:
            yield start, end, False
        elif not space:
            waiting = (start, end)
    if waiting:
        yield *waiting, False


def _pieces(document: Document) -> Iterator[tuple[int, int, bool]]:
    """The whole text in words and what is between them, and whether that is white space."""
    place = 0
    for start, end in (*document.words, (len(document.text), len(document.text))):
        for match in _PIECE.finditer(document.text, place, start):
            yield match.start(), match.end(), match.group().isspace()
        if start < end:
            yield start, end, False
        place = end
