"""N-Triples read back by rdflib, GraphML by networkx."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import networkx as nx
import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.formats.ntriples import CONFIDENCE, NIF
from tests.extraction.test_writers import BOOKS, EXAMPLES, any_documents, documents, noted, written


@settings(max_examples=EXAMPLES)
@given(found=st.lists(documents(), max_size=3))
def test_ntriples_hold_mentions_and_relations(found: list[Document]) -> None:
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


def test_ntriples_tell_documents_of_one_id_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, _ = written(".nt", BOOKS, tmp_path)
    graph = rdflib.Graph().parse(path, format="nt")
    assert caplog.records == []  # rdflib's way to say that an IRI or a literal is not valid
    contexts = graph.subjects(rdflib.RDF.type, rdflib.URIRef(NIF + "Context"))
    expected = ["book%2F1", "empty", ":3", "book%2F1:2"]
    assert sorted(map(str, contexts)) == sorted(f"urn:iter:document:{key}" for key in expected)
    kin = rdflib.URIRef("urn:iter:relation:Kin")
    assert (kin, rdflib.RDF.type, rdflib.OWL.SymmetricProperty) in graph
    assert len(list(graph.triples((None, kin, None)))) == 3


NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@any_documents()
def test_graphml_is_the_graph_of_all_documents(found: list[Document]) -> None:
    with TemporaryDirectory() as folder:
        path, notes = written(".graphml", found, Path(folder))
        graph = nx.read_graphml(path)

    def name(entity: TextEntity) -> tuple[str, str]:
        return NOT_XML.sub("\ufffd", " ".join(entity.text.split())), entity.type

    nodes: Counter[tuple[str, str]] = Counter()
    documents: Counter[tuple[str, str]] = Counter()
    edges: dict[Any, list[float]] = defaultdict(list)
    for document in found:
        nodes.update(map(name, document.entities))
        documents.update(set(map(name, document.entities)))
        for r in document.relations:
            ends = name(r.head), name(r.tail)
            edges[frozenset(ends) if r.type == "Kin" else ends, r.type].append(r.score)
    keys = {node: (values["label"] or "", values["type"]) for node, values in graph.nodes(data=True)}
    assert {keys[n]: (v["count"], v["documents"]) for n, v in graph.nodes(data=True)} == {
        key: (count, documents[key]) for key, count in nodes.items()
    }
    read = {}
    for head, tail, values in graph.edges(data=True):
        ends = keys[head], keys[tail]
        kind = values["label"]
        read[frozenset(ends) if kind == "Kin" else ends, kind] = values["count"], values["score"]
    assert read == {key: (len(scores), max(scores)) for key, scores in edges.items()}
    odd = sum(bool(NOT_XML.search(" ".join(e.text.split()))) for document in found for e in document.entities)
    assert noted(notes, "control characters") == odd


def test_graphml_gathers_over_documents(tmp_path: Path) -> None:
    path, notes = written(".graphml.gz", BOOKS, tmp_path)
    graph = nx.read_graphml(path)  # which reads compressed files
    labels = nx.get_node_attributes(graph, "label")
    assert graph.nodes[next(n for n, label in labels.items() if label == "Ada Lovelace")] == {
        "label": "Ada Lovelace", "type": "Per son", "count": 2, "documents": 2,
    }  # fmt: skip
    kin = {(labels[a], labels[b]): v for a, b, v in graph.edges(data=True) if v["label"] == "Kin"}
    assert kin["Ada Lovelace", "Babbage"] == {"label": "Kin", "count": 2, "score": 0.51, "id": "e2"}
    assert notes == []
    assert "Kit and Co." in labels.values()
