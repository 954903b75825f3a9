"""GraphML: one graph of all documents, written by networkx."""

from __future__ import annotations

import logging
import re

from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.formats.support.base import Format
from iter_lightning.extraction.formats.support.writing import TextWriter, needed

_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold, and carriage returns, which its readers change."""
WARN_EVERY = 1_000_000
"""Nodes and edges after which the size of the graph is reported."""
_logger = logging.getLogger(__name__)


class GraphmlWriter(TextWriter):
    """Writes a node per name and type, and an edge per relation between two nodes, over all documents.

    A node has `label` (its text, with white space reduced to single spaces), `type`, and `count` of mentions and of
    `documents`. An edge has `label` (the relation), `count`, and the highest `score`. Symmetric relations lead from
    the node that came first.

    networkx keeps the graph in memory and writes it at the end: about 4 kB and 0.2 ms per node and edge. Use N-Triples
    for graphs of more than some ten million nodes and edges.

    Raises:
        ConfigError: networkx is missing.
    """

    def open(self) -> None:
        """Start a graph."""
        self._networkx = needed("networkx", "writing GraphML")
        super().open()
        self._graph = self._networkx.MultiDiGraph()
        self._nodes: dict[tuple[str, str], str] = {}
        """Node of each type and name."""

    def write(self, document: Document) -> None:
        """Count the entities and relations of a document."""
        before = self._size
        nodes = {entity: self._node(entity) for entity in document.entities}
        for node in nodes.values():
            self._graph.nodes[node]["count"] += 1
        for node in set(nodes.values()):
            self._graph.nodes[node]["documents"] += 1
        for relation in document.relations:
            head, tail = nodes[relation.head], nodes[relation.tail]
            if relation.type in self.schema.symmetric:
                head, tail = sorted((head, tail), key=lambda node: int(node[1:]))
            self._add_edge(head, tail, self._clean(relation.type), relation.score)
        if self._size // WARN_EVERY > before // WARN_EVERY:
            _logger.warning("%s: the graph has %s nodes and edges and is kept in memory", self.path.name, self._size)

    def close(self) -> None:
        """Write the graph."""
        self.file.flush()
        self._networkx.write_graphml_xml(self._graph, self.file.buffer, prettyprint=False)
        super().close()

    @property
    def _size(self) -> int:
        return len(self._nodes) + int(self._graph.number_of_edges())

    def _node(self, entity: TextEntity) -> str:
        kind, name = self._clean(entity.type), self._clean(" ".join(entity.text.split()))
        if (kind, name) not in self._nodes:
            node = self._nodes[kind, name] = f"n{len(self._nodes) + 1}"
            self._graph.add_node(node, label=name, type=kind, count=0, documents=0)
        return self._nodes[kind, name]

    def _add_edge(self, head: str, tail: str, label: str, score: float) -> None:
        between = self._graph.get_edge_data(head, tail, default={})
        edge = next((edge for edge in between.values() if edge["label"] == label), None)
        if edge is None:
            key = f"e{self._graph.number_of_edges() + 1}"
            self._graph.add_edge(head, tail, key=key, label=label, count=1, score=score)
        else:
            edge.update(count=edge["count"] + 1, score=max(edge["score"], score))

    def _clean(self, text: str) -> str:
        clean = _NOT_XML.sub("\ufffd", text)
        if clean != text:
            self.losses.add("holds no control characters in names", 1, "written with U+FFFD in their place")
        return clean


GRAPHML = Format(
    "graphml", "the graph of all documents, with equal names in one node", (".graphml",), write=GraphmlWriter,
    cannot_hold="texts and positions", gzip=True,
)  # fmt: skip
