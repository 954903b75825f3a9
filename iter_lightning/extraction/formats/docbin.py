"""DocBin: spaCy's binary format for Docs. Needs spaCy."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.base import Format
from iter_lightning.extraction.formats.support.writing import Writer, needed

ID_KEY = "iter_id"
"""Key of the id in `doc.user_data`."""
_ATTRIBUTES = ("ENT_IOB", "ENT_TYPE", "SENT_START")
_PIECE = re.compile(r"\S+|\s+")


class DocBinWriter(Writer):
    """Writes the Docs of `to_spacy`. A DocBin is one compressed value, so all Docs are kept in memory.

    Raises:
        ConfigError: spaCy is missing.
    """

    def open(self) -> None:
        """Start a DocBin."""
        spacy = needed("spacy", "writing a DocBin")
        self._vocab = spacy.blank("xx").vocab
        self._docs: Any = spacy.tokens.DocBin(attrs=_ATTRIBUTES, store_user_data=True)

    def write(self, document: Document) -> None:
        """Add a document."""
        self._docs.add(to_spacy(document, self._vocab))

    def close(self) -> None:
        """Compress and write all Docs."""
        self.path.write_bytes(self._docs.to_bytes())


def to_spacy(document: Document, vocab: Any) -> Any:
    """Return a spaCy `Doc` of exactly the same text.

    Tokens are the document's words, white space other than single blanks, and parts of words in which an entity begins
    or ends. Entities and relations are where `annotate` puts them; `doc.user_data["iter_id"]` is the id.

    Args:
        document: with or without entities.
        vocab: spaCy's vocabulary, which receives the strings.
    """
    from spacy.tokens import Doc

    from iter_lightning.extraction.spacy_docs import annotate

    tokens = _tokens(document)
    sentences = {start for start, _ in document.sentences[1:]}
    opens: list[bool | int | None] = [place == 0 or start in sentences for place, (start, _, _) in enumerate(tokens)]
    doc = Doc(
        vocab, words=[document.text[start:end] for start, end, _ in tokens], spaces=[blank for _, _, blank in tokens],
        sent_starts=opens if document.sentences else None,
    )  # fmt: skip
    doc.user_data[ID_KEY] = document.id
    return annotate(doc, document)


def _tokens(document: Document) -> list[tuple[int, int, bool]]:
    """Return start, end and whether a blank follows: in spaCy, the first blank after a token belongs to it."""
    starts = {entity.start for entity in document.entities}
    ends = {entity.end for entity in document.entities}
    borders = sorted(starts | ends)
    tokens: list[tuple[int, int, bool]] = []
    after_space = True
    for start, end, space in _pieces(document):
        if space and not after_space and document.text[start] == " " and start not in starts and start + 1 not in ends:
            tokens[-1] = (*tokens[-1][:2], True)
            start += 1
        inside = borders[bisect_right(borders, start) : bisect_left(borders, end)]
        tokens += [(low, high, False) for low, high in pairwise([start, *inside, end]) if low < high]
        after_space = space
    return tokens


def _pieces(document: Document) -> Iterator[tuple[int, int, bool]]:
    """Yield the words and the text between them, with whether that is white space."""
    place = 0
    for start, end in (*document.words, (len(document.text), len(document.text))):
        for match in _PIECE.finditer(document.text, place, start):
            yield match.start(), match.end(), match.group().isspace()
        if start < end:
            yield start, end, False
        place = end


DOCBIN = Format("docbin", "spaCy's DocBin", (".spacy",), write=DocBinWriter)
