"""N-Triples, read back by rdflib."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.ntriples import CONFIDENCE, NIF
from tests.extraction.formats.builders import BOOKS, EXAMPLES, documents, written


@settings(max_examples=EXAMPLES)
@given(found=st.lists(documents(), max_size=3))
def test_triples_hold_mentions_and_relations(found: list[Document]) -> None:
    with TemporaryDirectory() as folder:
        path, notes = written(".nt", found, Path(folder))
        assert all(line.endswith(" .") for line in path.read_bytes().decode().split("\n")[:-1])
        graph = rdflib.Graph().parse(path, format="nt")
    assert notes == []
    nif, rdf = rdflib.Namespace(NIF), rdflib.RDF
    confidence = rdflib.URIRef(CONFIDENCE.strip("<>"))
    contexts = list(graph.subjects(rdf.type, nif.Context))
    assert len(contexts) == len(found)
    assert all(re.fullmatch(r"urn:iter:[!-~]*", str(s)) for s in set(graph.subjects()))
    names = dict(graph.subject_objects(rdflib.RDFS.label))

    def mention(node: Any) -> tuple[Any, ...]:
        kind = next(t for t in graph.objects(node, rdf.type) if t != nif.Phrase)
        return (*(graph.value(node, p).toPython() for p in (nif.beginIndex, nif.endIndex)), str(names[kind]))

    read = Counter()
    for context in contexts:
        mentions = list(graph.subjects(nif.referenceContext, context))
        described = frozenset(
            (*mention(m), str(names[m]), str(graph.value(m, nif.anchorOf)), graph.value(m, confidence).toPython())
            for m in mentions
        )
        links = set()
        for statement in graph.subjects(rdf.type, rdf.Statement):
            head, kind, tail = (graph.value(statement, p) for p in (rdf.subject, rdf.predicate, rdf.object))
            assert (head, kind, tail) in graph
            if head in mentions:
                links.add(
                    (mention(head), str(names[kind]), mention(tail), graph.value(statement, confidence).toPython())
                )
        text, id = graph.value(context, nif.isString), graph.value(context, rdflib.DCTERMS.identifier)
        read[str(text), str(id), described, frozenset(links)] += 1
    assert read == Counter(
        (
            d.text, d.id, frozenset((e.start, e.end, e.type, e.text, e.text, e.score) for e in d.entities),
            frozenset(
                ((r.head.start, r.head.end, r.head.type), r.type, (r.tail.start, r.tail.end, r.tail.type), r.score)
                for r in d.relations
            ),
        ) for d in found
    )  # fmt: skip


def test_documents_with_equal_ids_have_different_nodes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, _ = written(".nt", BOOKS, tmp_path)
    graph = rdflib.Graph().parse(path, format="nt")
    assert caplog.records == []  # rdflib's way to say that an IRI or a literal is not valid
    contexts = graph.subjects(rdflib.RDF.type, rdflib.URIRef(NIF + "Context"))
    expected = ["book%2F1", "empty", ":3", "book%2F1:2"]
    assert sorted(map(str, contexts)) == sorted(f"urn:iter:document:{key}" for key in expected)
    kin = rdflib.URIRef("urn:iter:relation:Kin")
    assert (kin, rdflib.RDF.type, rdflib.OWL.SymmetricProperty) in graph
    assert len(list(graph.triples((None, kin, None)))) == 3
