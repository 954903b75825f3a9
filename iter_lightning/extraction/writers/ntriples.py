"""N-Triples: RDF, in the vocabularies of the field."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.writers.files import Occurrences, TextFile
from iter_lightning.types import Schema

BASE = "urn:iter:"
"""What all IRIs of ours begin with."""
NIF = "http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#"
CONFIDENCE = "<http://www.w3.org/2005/11/its/rdf#taConfidence>"
IDENTIFIER = "<http://purl.org/dc/terms/identifier>"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_RDFS = "http://www.w3.org/2000/01/rdf-schema#"
_OWL = "http://www.w3.org/2002/07/owl#"
_XSD = "http://www.w3.org/2001/XMLSchema#"
_TYPE, _LABEL = f"<{_RDF}type>", f"<{_RDFS}label>"
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029]')
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


class NTriplesWriter(TextFile):
    """A node a document, a node a mention, and relations between mentions.

    - `urn:iter:document:ID` is a `nif:Context` with its text (`nif:isString`) and id (`dcterms:identifier`); a number
      stands for an id that is empty, and follows one that came before.
    - `urn:iter:document:ID#START-END:TYPE` is a `nif:Phrase` and a `urn:iter:entity:TYPE`, with `rdfs:label` and
      `nif:anchorOf` (its text), `nif:beginIndex`, `nif:endIndex`, `nif:referenceContext` and, for the score,
      `itsrdf:taConfidence`.
    - `HEAD urn:iter:relation:TYPE TAIL` is a relation; `urn:iter:document:ID#relation-N` an `rdf:Statement` about it
      with its score.
    - Entity types are classes, relation types properties, symmetric ones of `owl:SymmetricProperty`.

    Sentences and words are left out: they are not what was found.
    """

    def __init__(self, path: Path, schema: Schema, context: str) -> None:
        super().__init__(path, "ntriples")
        self._documents = 0
        self._ids = Occurrences(path.parent)
        for name in schema.entity_types:
            self._about(iri("entity", name), f"{_TYPE} <{_RDFS}Class>", f"{_LABEL} {literal(name)}")
        for name in schema.relation_types:
            facts = [f"{_TYPE} <{_RDF}Property>", f"{_LABEL} {literal(name)}"]
            if name in schema.symmetric:
                facts.append(f"{_TYPE} <{_OWL}SymmetricProperty>")
            self._about(iri("relation", name), *facts)

    def write(self, document: Document) -> None:
        """Add a document, its mentions and relations."""
        self._documents += 1
        key = self._key(document.id)
        context = iri("document", *key)
        self._about(
            context, f"{_TYPE} <{NIF}Context>", f"<{NIF}isString> {literal(document.text)}",
            f"{IDENTIFIER} {literal(document.id)}", *_place(0, len(document.text)),
        )  # fmt: skip
        for entity in document.entities:
            text = literal(entity.text)
            self._about(
                _mention(context, entity), f"{_TYPE} <{NIF}Phrase>", f"{_TYPE} {iri('entity', entity.type)}",
                f"{_LABEL} {text}", f"<{NIF}anchorOf> {text}", *_place(entity.start, entity.end),
                f"<{NIF}referenceContext> {context}", f"{CONFIDENCE} {_score(entity.score)}",
            )  # fmt: skip
        for number, relation in enumerate(document.relations):
            head, tail = _mention(context, relation.head), _mention(context, relation.tail)
            predicate = iri("relation", relation.type)
            self._about(head, f"{predicate} {tail}")
            self._about(
                f"{context[:-1]}#relation-{number}>", f"{_TYPE} <{_RDF}Statement>", f"<{_RDF}subject> {head}",
                f"<{_RDF}predicate> {predicate}", f"<{_RDF}object> {tail}", f"{CONFIDENCE} {_score(relation.score)}",
            )  # fmt: skip

    def close(self) -> None:
        """Write out what is left."""
        self._ids.close()
        super().close()

    def discard(self) -> None:
        """Close without care for what is left."""
        super().discard()
        self._ids.close()

    def _key(self, id: str) -> tuple[str, ...]:
        """What tells the document from all others; a colon divides the parts, which hold none."""
        if not id:
            return "", str(self._documents)
        times = self._ids.count(id)
        return (id,) if times == 1 else (id, str(times))

    def _about(self, subject: str, *facts: str) -> None:
        self._file.writelines(f"{subject} {fact} .\n" for fact in facts)


def iri(*parts: str) -> str:
    """An IRI of ours: the parts, percent-encoded, divided by colons."""
    return f"<{BASE}{':'.join(quote(part, safe='') for part in parts)}>"


def literal(text: str) -> str:
    """A string in quotes; what could end a line in any reader is escaped, too."""
    return '"' + _ESCAPED.sub(lambda m: _SHORT.get(m.group()) or f"\\u{ord(m.group()):04X}", text) + '"'


def _mention(context: str, entity: TextEntity) -> str:
    return f"{context[:-1]}#{entity.start}-{entity.end}:{quote(entity.type, safe='')}>"


def _place(start: int, end: int) -> tuple[str, str]:
    kind = f"^^<{_XSD}nonNegativeInteger>"
    return f'<{NIF}beginIndex> "{start}"{kind}', f'<{NIF}endIndex> "{end}"{kind}'


def _score(score: float) -> str:
    return f'"{score}"^^<{_XSD}double>'
