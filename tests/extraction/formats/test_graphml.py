"""GraphML, read back by networkx."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import networkx as nx

from iter_lightning.extraction.documents import Document, TextEntity
from tests.extraction.formats.builders import BOOKS, any_documents, noted, written

NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@any_documents()
def test_graph_holds_all_documents(found: list[Document]) -> None:
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


def test_equal_names_of_several_documents_are_one_node(tmp_path: Path) -> None:
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
