"""Remove entities and relations whose probability is below a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.backend import Backend
from iter_lightning.extraction.documents import Document


@dataclass(frozen=True)
class Thresholds:
    """Hold the smallest probability of each type."""

    entity: Mapping[str, float]
    """Thresholds of entity types, if any."""
    relation: Mapping[str, float]
    """Thresholds of all relation types: their own, or lambda."""

    @classmethod
    def of(
        cls, backend: Backend, link_threshold: float | None = None, thresholds: Mapping[str, float] | None = None
    ) -> Thresholds:
        """Check thresholds against the types of a model and add its defaults.

        Raises:
            ConfigError: If a value is not in [0, 1], or if the model does not have a type.
        """
        given, schema = dict(thresholds or {}), backend.schema
        known = {*schema.entity_types, *schema.relation_types}
        if unknown := sorted(set(given) - known):
            raise ConfigError(f"thresholds name {', '.join(map(repr, unknown))}; the model has {sorted(known)}")
        link = backend.link_threshold if link_threshold is None else link_threshold
        for name, value in {"link_threshold": link, **given}.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise ConfigError(f"the threshold {name} must be a number in [0, 1], found {value!r}")
        return cls(
            {name: given[name] for name in schema.entity_types if name in given},
            {name: given.get(name, link) for name in schema.relation_types},
        )

    @property
    def lowest_link(self) -> float:
        """Return the smallest threshold of all relation types; 1 without relation types."""
        return min(self.relation.values(), default=1.0)

    def apply(self, document: Document) -> Document:
        """Remove entities and relations below their thresholds."""
        entities = tuple(e for e in document.entities if e.score >= self.entity.get(e.type, 0.0))
        kept, lowest = set(entities), self.lowest_link
        relations = tuple(
            r for r in document.relations
            if r.head in kept and r.tail in kept
            # the backend applied the lowest threshold already; rounded scores may equal it
            and (r.score > self.relation[r.type] or self.relation[r.type] == lowest)
        )  # fmt: skip
        if len(entities) == len(document.entities) and len(relations) == len(document.relations):
            return document
        return replace(document, entities=entities, relations=relations)
