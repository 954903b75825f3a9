"""N-Triples: RDF in the vocabularies of the field, written by rdflib."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import quote

from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.formats.support.base import Format
from iter_lightning.extraction.formats.support.writing import TextWriter, needed

BASE = "urn:iter:"
"""The beginning of our own IRIs."""
NIF = "http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#"
CONFIDENCE = "http://www.w3.org/2005/11/its/rdf#taConfidence"


class NTriplesWriter(TextWriter):
    """Writes a node per document, a node per mention, and relations between mentions.

    - `urn:iter:document:ID` is a `nif:Context` with its text (`nif:isString`) and id (`dcterms:identifier`). A number
      replaces an empty id, and follows an id that occurred before.
    - `urn:iter:document:ID#START-END:TYPE` is a `nif:Phrase` and a `urn:iter:entity:TYPE`, with `rdfs:label` and
      `nif:anchorOf` (its text), `nif:beginIndex`, `nif:endIndex`, `nif:referenceContext` and `itsrdf:taConfidence`
      (its score).
    - `HEAD urn:iter:relation:TYPE TAIL` is a relation; `urn:iter:document:ID#relation-N` is an `rdf:Statement` about
      it, with its score.
    - Entity types are classes, relation types are properties; symmetric ones are `owl:SymmetricProperty`.

    Each document is written as soon as it comes. Sentences and words are left out.

    Raises:
        ConfigError: rdflib is missing.
    """

    def open(self) -> None:
        """Write the types."""
        self._rdf = rdflib = needed("rdflib", "writing N-Triples")
        super().open()
        self._nif = rdflib.Namespace(NIF)
        self._confidence = rdflib.URIRef(CONFIDENCE)
        self._documents = 0
        self._ids = Counter[str]()
        self._write_types()

    def write(self, document: Document) -> None:
        """Add a document, its mentions and relations."""
        rdf, nif, graph = self._rdf, self._nif, self._rdf.Graph(store="SimpleMemory")
        self._documents += 1
        context = self._iri("document", *self._key(document.id))
        self._describe(graph, context, nif.Context, 0, len(document.text))
        graph.add((context, nif.isString, rdf.Literal(document.text)))
        graph.add((context, rdf.DCTERMS.identifier, rdf.Literal(document.id)))
        for entity in document.entities:
            mention, text = self._mention(context, entity), rdf.Literal(entity.text)
            self._describe(graph, mention, nif.Phrase, entity.start, entity.end)
            graph.add((mention, rdf.RDF.type, self._iri("entity", entity.type)))
            graph.add((mention, rdf.RDFS.label, text))
            graph.add((mention, nif.anchorOf, text))
            graph.add((mention, nif.referenceContext, context))
            graph.add((mention, self._confidence, rdf.Literal(entity.score, datatype=rdf.XSD.double)))
        for number, relation in enumerate(document.relations):
            triple = (
                self._mention(context, relation.head), self._iri("relation", relation.type),
                self._mention(context, relation.tail),
            )  # fmt: skip
            graph.add(triple)
            statement = rdf.URIRef(f"{context}#relation-{number}")
            graph.add((statement, rdf.RDF.type, rdf.RDF.Statement))
            for part, node in zip((rdf.RDF.subject, rdf.RDF.predicate, rdf.RDF.object), triple, strict=True):
                graph.add((statement, part, node))
            graph.add((statement, self._confidence, rdf.Literal(relation.score, datatype=rdf.XSD.double)))
        self._write_graph(graph)

    def _write_types(self) -> None:
        rdf, graph = self._rdf, self._rdf.Graph(store="SimpleMemory")
        kinds = [("entity", name, rdf.RDFS.Class) for name in self.schema.entity_types]
        kinds += [("relation", name, rdf.RDF.Property) for name in self.schema.relation_types]
        kinds += [("relation", name, rdf.OWL.SymmetricProperty) for name in self.schema.symmetric]
        for group, name, kind in kinds:
            graph.add((self._iri(group, name), rdf.RDF.type, kind))
            graph.add((self._iri(group, name), rdf.RDFS.label, rdf.Literal(name)))
        self._write_graph(graph)

    def _write_graph(self, graph: Any) -> None:
        # rdflib's order depends on the hash seed of the process, and equal documents have to give equal bytes
        lines = sorted(line for line in graph.serialize(format="nt").split("\n") if line)
        self.file.writelines(f"{line}\n" for line in lines)

    def _describe(self, graph: Any, node: Any, kind: Any, start: int, end: int) -> None:
        rdf, number = self._rdf, self._rdf.XSD.nonNegativeInteger
        graph.add((node, rdf.RDF.type, kind))
        graph.add((node, self._nif.beginIndex, rdf.Literal(start, datatype=number)))
        graph.add((node, self._nif.endIndex, rdf.Literal(end, datatype=number)))

    def _key(self, id: str) -> tuple[str, ...]:
        """Return what distinguishes the document from all others; a colon separates the parts, which contain none."""
        if not id:
            return "", str(self._documents)
        self._ids[id] += 1
        return (id,) if self._ids[id] == 1 else (id, str(self._ids[id]))

    def _iri(self, *parts: str) -> Any:
        return self._rdf.URIRef(BASE + ":".join(quote(part, safe="") for part in parts))

    def _mention(self, context: Any, entity: TextEntity) -> Any:
        return self._rdf.URIRef(f"{context}#{entity.start}-{entity.end}:{quote(entity.type, safe='')}")


NTRIPLES = Format(
    "ntriples", "RDF: mentions in NIF and the relations between them", (".nt",), write=NTriplesWriter,
    cannot_hold="words and sentences", gzip=True,
)  # fmt: skip
