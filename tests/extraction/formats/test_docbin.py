"""DocBin, read back by spaCy."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import spacy
from spacy.tokens import DocBin

from iter_lightning.apps.spacy import relations_of
from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.formats.docbin import to_spacy
from iter_lightning.extraction.splitting import Splitter
from tests.extraction.formats.builders import any_documents, written


@any_documents()
def test_docs_hold_everything(found: list[Document]) -> None:
    with TemporaryDirectory() as folder:
        path, notes = written(".spacy", found, Path(folder))
        docs = list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))
    assert notes == []
    assert len(docs) == len(found)
    for doc, document in zip(docs, found, strict=True):
        assert doc.text == document.text
        spans = doc.spans["iter"]
        assert [(s.start_char, s.end_char, s.label_) for s in spans] == [
            (e.start, e.end, e.type) for e in document.entities
        ]
        assert list(spans.attrs["scores"]) == [e.score for e in document.entities]
        assert doc.user_data["iter_id"] == document.id
        ends = [(r.head.start_char, r.head.end_char, r.head.label_, r.tail.start_char, r.tail.end_char, r.tail.label_,
                 r.type, r.score) for r in relations_of(doc)]  # fmt: skip
        assert ends == [(r.head.start, r.head.end, r.head.type, r.tail.start, r.tail.end, r.tail.type, r.type, r.score)
                        for r in document.relations]  # fmt: skip
        places = {(token.idx, token.idx + len(token)) for token in doc}
        borders = {border for e in document.entities for border in (e.start, e.end)}
        assert {w for w in document.words if not any(w[0] < b < w[1] for b in borders)} <= places
        if document.sentences:
            starts = [sentence.start_char for sentence in doc.sents]
            assert starts == [0, *(start for start, _ in document.sentences[1:])]
        free = [e for e in document.entities if not any(
            o is not e and o.start < e.end and e.start < o.end for o in document.entities)]  # fmt: skip
        ents = [(e.start_char, e.end_char, e.label_) for e in doc.ents]
        assert {(e.start, e.end, e.type) for e in free} <= set(ents)
        if document.entities:
            longest = max(len(e.text) for e in document.entities)
            assert longest == max(end - start for start, end, _ in ents)


def test_ents_hold_the_most_probable_of_equally_long_entities() -> None:
    text = "University of Bank"
    scores = {"Loc": 0.3, "Org": 0.8, "Per son": 0.5}
    entities = tuple(TextEntity(0, 18, kind, text, score) for kind, score in scores.items())
    doc = to_spacy(
        Document(text, entities=(*entities, TextEntity(14, 18, "Loc", "Bank", 0.9))), spacy.blank("en").vocab
    )
    assert [(e.text, e.label_) for e in doc.ents] == [(text, "Org")]


@pytest.mark.parametrize("text", ["a  b", " a", "a \n b.\r\n\r\nC", "", " ", "Ada's  (nice)\tu.s. \u00a0house ", "x\n"])
def test_tokens_are_those_of_spacy(text: str) -> None:
    nlp = spacy.blank("en")
    doc = to_spacy(Splitter("en")([Document(text)])[0], nlp.vocab)
    assert [(token.text, token.whitespace_) for token in doc] == [(t.text, t.whitespace_) for t in nlp(text)]
