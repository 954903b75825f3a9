"""A spaCy Doc as a `Document`, and what was found in it onto the Doc; see `apps.spacy` for where it goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from spacy.pipeline import Sentencizer
from spacy.tokens import Doc, Span, SpanGroup

from iter_lightning.extraction.boundaries import Kind, Token, sentence_starts
from iter_lightning.extraction.documents import Bounds, Document, TextEntity

SPANS_KEY = "iter"
"""Key of all entities in `doc.spans`."""
RELATIONS_KEY = "iter_relations"
"""Key of the relations in `doc.user_data`."""
_SENTENCES = Sentencizer()


@dataclass(frozen=True, slots=True)
class SpanRelation:
    """A typed, directed link between two spans of a Doc; `score` is its probability."""

    head: Span
    tail: Span
    type: str
    score: float


def relations_of(doc: Doc) -> list[SpanRelation]:
    """What `doc._.relations` gives; empty where no component has read the Doc."""
    keys = [key for key in doc.user_data if isinstance(key, str) and key.partition(":")[0] == RELATIONS_KEY]
    return [
        SpanRelation(Span(doc, row[0], row[1], row[2]), Span(doc, row[3], row[4], row[5]), row[6], float(row[7]))
        for key in keys
        for row in doc.user_data[key]
    ]


def to_document(doc: Doc, id: str = "") -> Document:
    """The text with the Doc's tokens, those of white space left out, as words, and its sentences.

    An empty line ends a sentence where the Doc has none of its own.
    """
    tokens = [token for token in doc if not token.is_space]
    words = [(token.idx, token.idx + len(token)) for token in tokens]
    if doc.has_annotation("SENT_START"):
        number_of = [number for number, sentence in enumerate(doc.sents) for _ in sentence]
        numbers = [number_of[token.i] for token in tokens]
    else:  # by the rules that `Splitter` follows, too; the Doc stays as it is
        numbers = list(accumulate(int(starts) for *_, starts in sentence_starts(doc.text, _tokens(doc))))
    sentences: list[Bounds] = []
    before = None
    for number, (start, end) in zip(numbers, words, strict=True):
        sentences[-1:] = [(sentences[-1][0], end)] if number == before else [*sentences[-1:], (start, end)]
        before = number
    return Document(doc.text, tuple(words), tuple(sentences), id=id)


def _tokens(doc: Doc) -> Iterator[Token]:
    """The Doc's tokens without those of white space, with the sentencizer's opinion of them."""
    pending = False  # a sentence's first token may be white space
    for token, starts in zip(doc, _SENTENCES.predict([doc])[0] if len(doc) else (), strict=True):
        pending = pending or bool(starts)
        if not token.is_space:
            mark = Kind.MARK if token.is_punct else Kind.TEXT
            kind = Kind.STOP if token.text in _SENTENCES.punct_chars else mark
            yield token.idx, token.idx + len(token), pending, kind
            pending = False


def annotate(doc: Doc, document: Document, spans_key: str = SPANS_KEY, overwrite_ents: bool = True) -> Doc:
    """Add the entities and relations of a document to a Doc of the same text.

    Args:
        doc: gets `spans[spans_key]`, `ents` and the relations. Entities begin and end with tokens.
        document: with entities and relations.
        spans_key: of `doc.spans`.
        overwrite_ents: of `doc.ents`, those that overlap a found one go; else those stay, and the found one is in
            `doc.spans` alone.
    """

    def span(entity: TextEntity) -> Span:
        found = doc.char_span(entity.start, entity.end, label=entity.type)
        if found is None:
            raise ValueError(f"the entity {entity.text!r} does not begin and end with tokens")
        return found

    spans = [span(entity) for entity in document.entities]
    scores = [entity.score for entity in document.entities]
    doc.spans[spans_key] = SpanGroup(doc, name=spans_key, spans=spans, attrs={"scores": np.array(scores)})
    rows = []
    for relation in document.relations:
        head, tail = span(relation.head), span(relation.tail)
        rows.append([head.start, head.end, head.label_, tail.start, tail.end, tail.label_,
                     relation.type, relation.score])  # fmt: skip
    doc.user_data[RELATIONS_KEY if spans_key == SPANS_KEY else f"{RELATIONS_KEY}:{spans_key}"] = rows
    order = sorted(range(len(spans)), key=lambda i: (spans[i].start_char - spans[i].end_char, -scores[i], i))
    found, given = [spans[i] for i in order], list(doc.ents)
    doc.set_ents(_apart([*found, *given] if overwrite_ents else [*given, *found]))
    return doc


def _apart(spans: Iterable[Span]) -> list[Span]:
    """Those that overlap none before them."""
    taken: set[int] = set()
    kept = []
    for span in spans:
        if taken.isdisjoint(range(span.start, span.end)):
            kept.append(span)
            taken.update(range(span.start, span.end))
    return kept
