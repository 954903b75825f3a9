"""Conversion between spaCy Docs and `Document`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import itemgetter

import numpy as np
from spacy.pipeline import Sentencizer
from spacy.tokens import Doc, Span, SpanGroup

from iter_lightning.extraction.boundaries import Kind, Token, sentence_starts
from iter_lightning.extraction.documents import Document, TextEntity

SPANS_KEY = "iter"
"""Key of all entities in `doc.spans`."""
RELATIONS_KEY = "iter_relations"
"""Key of the relations in `doc.user_data`."""
_SENTENCES = Sentencizer()


@dataclass(frozen=True, slots=True)
class SpanRelation:
    """A typed, directed relation between two spans of a Doc."""

    head: Span
    tail: Span
    type: str
    score: float
    """Probability of the relation."""


def relations_of(doc: Doc) -> list[SpanRelation]:
    """Return the relations of a Doc, as `doc._.relations` does; empty if no component has read the Doc."""
    keys = [key for key in doc.user_data if isinstance(key, str) and key.partition(":")[0] == RELATIONS_KEY]
    return [
        SpanRelation(Span(doc, row[0], row[1], row[2]), Span(doc, row[3], row[4], row[5]), row[6], float(row[7]))
        for key in keys
        for row in doc.user_data[key]
    ]


def to_document(doc: Doc, id: str = "") -> Document:
    """Convert a Doc to a document without entities.

    Args:
        doc: its tokens, except white space, are the words. Its sentences are kept; if it has none, spaCy's rules and
            empty lines end sentences. The Doc is not changed.
        id: the document's id.
    """
    tokens = [token for token in doc if not token.is_space]
    words = [(token.idx, token.idx + len(token)) for token in tokens]
    if doc.has_annotation("SENT_START"):
        sentence_of = [number for number, sentence in enumerate(doc.sents) for _ in sentence]
        numbers = [sentence_of[token.i] for token in tokens]
    else:  # the rules of `Splitter`
        numbers = list(accumulate(int(starts) for *_, starts in sentence_starts(doc.text, _tokens(doc))))
    groups = groupby(zip(numbers, words, strict=True), key=itemgetter(0))
    bounds = [[word for _, word in group] for _, group in groups]
    return Document(doc.text, tuple(words), tuple((some[0][0], some[-1][1]) for some in bounds), id=id)


def _tokens(doc: Doc) -> Iterator[Token]:
    """Yield the tokens without white space, and whether the sentencizer starts a sentence at each."""
    pending = False  # the first token of a sentence may be white space
    for token, starts in zip(doc, _SENTENCES.predict([doc])[0] if len(doc) else (), strict=True):
        pending = pending or bool(starts)
        if not token.is_space:
            mark = Kind.MARK if token.is_punct else Kind.TEXT
            kind = Kind.STOP if token.text in _SENTENCES.punct_chars else mark
            yield token.idx, token.idx + len(token), pending, kind
            pending = False


def annotate(doc: Doc, document: Document, spans_key: str = SPANS_KEY, overwrite_ents: bool = True) -> Doc:
    """Write the entities and relations of a document to its Doc.

    Args:
        doc: receives `spans[spans_key]`, `ents` and the relations.
        document: `to_document(doc)` with entities and relations.
        spans_key: key of the entities in `doc.spans`.
        overwrite_ents: whether an entity replaces those of `doc.ents` that it overlaps; otherwise they stay, and it is
            in `doc.spans` only.

    Returns:
        the same Doc.
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
        ends = [head.start, head.end, head.label_, tail.start, tail.end, tail.label_]
        rows.append([*ends, relation.type, relation.score])
    doc.user_data[RELATIONS_KEY if spans_key == SPANS_KEY else f"{RELATIONS_KEY}:{spans_key}"] = rows
    # The longest come first, and of equally long ones the most probable, as in `writers.docbin`.
    order = sorted(range(len(spans)), key=lambda i: (spans[i].start_char - spans[i].end_char, -scores[i], i))
    found, given = [spans[i] for i in order], list(doc.ents)
    doc.set_ents(_apart([*found, *given] if overwrite_ents else [*given, *found]))
    return doc


def _apart(spans: Iterable[Span]) -> list[Span]:
    """Return the spans that do not overlap an earlier one."""
    taken: set[int] = set()
    kept = []
    for span in spans:
        places = range(span.start, span.end)
        if taken.isdisjoint(places):
            kept.append(span)
            taken.update(places)
    return kept
