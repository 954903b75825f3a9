"""GraphML: one graph of all documents."""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import escape

from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.writers.files import Scratch, TextFile
from iter_lightning.types import Schema

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TABLES = """
CREATE TABLE nodes (
    id INTEGER PRIMARY KEY, type TEXT, name TEXT, count INTEGER, documents INTEGER, UNIQUE (type, name)
);
CREATE TABLE edges (
    head INTEGER, relation TEXT, tail INTEGER, count INTEGER, score REAL, PRIMARY KEY (head, relation, tail)
) WITHOUT ROWID;
"""
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">
<key id="name" for="node" attr.name="label" attr.type="string"/>
<key id="type" for="node" attr.name="type" attr.type="string"/>
<key id="mentions" for="node" attr.name="count" attr.type="long"/>
<key id="documents" for="node" attr.name="documents" attr.type="long"/>
<key id="relation" for="edge" attr.name="label" attr.type="string"/>
<key id="times" for="edge" attr.name="count" attr.type="long"/>
<key id="score" for="edge" attr.name="score" attr.type="double"/>
<graph id="G" edgedefault="directed">
"""
_TAIL = "</graph>\n</graphml>\n"
Key = tuple[str, str]
"""Type and name."""


class GraphmlWriter(TextFile):
    """Nodes are names with a type, edges their relations; the same ones in all documents are one.

    A node has `label` (its text, white space made single spaces), `type`, `count` of mentions and of `documents`; an
    edge `label` (the relation), `count`, and the highest `score`. Symmetric relations lead from the node that came
    first. Gathered in a temporary database beside the path, written at the end.
    """

    def __init__(self, path: Path, schema: Schema, context: str) -> None:
        super().__init__(path, "graphml")
        self._symmetric = frozenset(schema.symmetric)
        self._scratch = Scratch(path.parent, _TABLES)

    def write(self, document: Document) -> None:
        """Count a document's entities and relations."""
        database = self._scratch.database
        keys = {entity: self._key(entity) for entity in document.entities}
        mentions: dict[Key, int] = {}
        for entity in document.entities:
            mentions[keys[entity]] = mentions.get(keys[entity], 0) + 1
        database.executemany(
            "INSERT INTO nodes (type, name, count, documents) VALUES (?, ?, ?, 1) ON CONFLICT (type, name) "
            "DO UPDATE SET count = count + excluded.count, documents = documents + 1",
            [(*key, count) for key, count in mentions.items()],
        )
        linked = {keys[end] for relation in document.relations for end in (relation.head, relation.tail)}
        ids = {
            key: database.execute("SELECT id FROM nodes WHERE type = ? AND name = ?", key).fetchone()[0]
            for key in linked
        }
        edges = []
        for relation in document.relations:
            head, tail = ids[keys[relation.head]], ids[keys[relation.tail]]
            if relation.type in self._symmetric:
                head, tail = min(head, tail), max(head, tail)
            edges.append((head, self._clean(relation.type), tail, relation.score))
        database.executemany(
            "INSERT INTO edges VALUES (?, ?, ?, 1, ?) ON CONFLICT (head, relation, tail) "
            "DO UPDATE SET count = count + 1, score = max(score, excluded.score)",
            edges,
        )

    def close(self) -> None:
        """Write the graph."""
        database, write = self._scratch.database, self._file.write
        write(_HEAD)
        for number, *values in database.execute("SELECT id, name, type, count, documents FROM nodes ORDER BY id"):
            write(f'<node id="n{number}">{_data(("name", "type", "mentions", "documents"), values)}</node>\n')
        rows = database.execute("SELECT head, tail, relation, count, score FROM edges ORDER BY head, relation, tail")
        for number, (head, tail, *values) in enumerate(rows, 1):
            data = _data(("relation", "times", "score"), values)
            write(f'<edge id="e{number}" source="n{head}" target="n{tail}">{data}</edge>\n')
        write(_TAIL)
        self._scratch.close()
        super().close()

    def discard(self) -> None:
        """Close without care for what is left."""
        super().discard()
        self._scratch.close()

    def _key(self, entity: TextEntity) -> Key:
        return self._clean(entity.type), self._clean(" ".join(entity.text.split()))

    def _clean(self, text: str) -> str:
        clean = _NOT_XML.sub("\ufffd", text)
        if clean != text:
            self.losses.add("holds no control characters in names", 1, "written with U+FFFD in their place")
        return clean


def _data(keys: tuple[str, ...], values: list[object]) -> str:
    # parsers make a line feed of a carriage return that is not escaped
    texts = (escape(str(value), {"\r": "&#13;"}) for value in values)
    return "".join(f'<data key="{key}">{text}</data>' for key, text in zip(keys, texts, strict=True))
