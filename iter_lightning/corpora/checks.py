"""What annotation holds and what is wrong with it: sizes, nesting, duplicates, leakage. Words only, no tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from iter_lightning.types import Entity, Example, Relation, Schema


@dataclass(frozen=True)
class SplitReport:
    """One split; everything counted over distinct entities and relations of a sentence."""

    sentences: int
    words: int
    entities: dict[str, int]
    """By type."""
    relations: dict[str, int]
    """By type."""
    without_entities: int
    omega_needed: dict[int, int]
    """omega -> how many entities need just that."""
    overlapping_sentences: int
    """Sentences in which an entity begins inside another (Table 1)."""
    overlapping_pairs: int
    crossing_pairs: int
    """Overlapping pairs of which neither holds the other."""
    nested_entities: int
    """Entities inside another one or holding one."""
    depth: int
    """Longest chain of entities inside each other."""
    several_types: int
    """Spans with more than one entity type."""
    several_relations: int
    """Ordered pairs with more than one relation type."""
    self_relations: int
    both_directions: int
    """Symmetric relations annotated in both directions."""
    duplicates: int
    """Sentences whose text occurred earlier in the split."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class CorpusReport:
    """All splits, and the distinct sentence texts each two of them share."""

    splits: dict[str, SplitReport]
    leakage: dict[str, int]
    """`train/dev` -> number of shared texts."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"splits": {name: split.to_dict() for name, split in self.splits.items()}, "leakage": self.leakage}


def check_corpus(splits: Mapping[str, Sequence[Example]], schema: Schema) -> CorpusReport:
    """Report on all splits of a corpus."""
    texts = {name: {example.words for example in examples} for name, examples in splits.items()}
    return CorpusReport(
        splits={name: check_split(examples, schema) for name, examples in splits.items()},
        leakage={f"{a}/{b}": len(texts[a] & texts[b]) for a, b in combinations(splits, 2)},
    )


def check_split(examples: Sequence[Example], schema: Schema) -> SplitReport:
    """Report on one split; types of the schema that do not occur are there with 0."""
    entities = [tuple(dict.fromkeys(e.entities)) for e in examples]
    relations = [tuple(dict.fromkeys(e.relations)) for e in examples]
    overlaps = [overlapping_pairs(found) for found in entities]
    by_type = Counter(e.type for found in entities for e in found)
    by_relation = Counter(r.type for found in relations for r in found)
    pairs = [Counter((r.head, r.tail) for r in found) for found in relations]
    types = [Counter(e.span for e in found) for found in entities]
    return SplitReport(
        sentences=len(examples),
        words=sum(len(e.words) for e in examples),
        entities={name: by_type[name] for name in schema.entity_types},
        relations={name: by_relation[name] for name in schema.relation_types},
        without_entities=sum(not found for found in entities),
        omega_needed=dict(sorted(Counter(n for found in entities for n in omegas(found).values()).items())),
        overlapping_sentences=sum(bool(found) for found in overlaps),
        overlapping_pairs=sum(map(len, overlaps)),
        crossing_pairs=sum(_crossing(a, b) for found in overlaps for a, b in found),
        nested_entities=sum(len(_nested(found)) for found in overlaps),
        depth=max([nesting_depth(found) for found in entities] + [0]),
        several_types=sum(n > 1 for found in types for n in found.values()),
        several_relations=sum(n > 1 for found in pairs for n in found.values()),
        self_relations=sum(r.head == r.tail for found in relations for r in found),
        both_directions=sum(_both_directions(found, schema) for found in relations),
        duplicates=len(examples) - len({e.words for e in examples}),
    )


def omegas(entities: Sequence[Entity]) -> dict[Entity, int]:
    """For each entity the omega it needs: how many distinct entity starts lie in it (its own counts)."""
    starts = {e.start for e in entities}
    return {e: sum(e.start <= start < e.end for start in starts) for e in entities}


def omega_needed(example: Example) -> int:
    """The omega all entities of an example need (0 without entities), as section 3.5 of the paper derives it."""
    return max(omegas(example.entities).values(), default=0)


def representable(example: Example, omega: int) -> tuple[list[Entity], list[Relation]]:
    """The entities among the `omega` closest starts of their last word, and the relations between such."""
    needed = omegas(example.entities)
    kept = [e for e in dict.fromkeys(example.entities) if needed[e] <= omega]
    relations = [r for r in dict.fromkeys(example.relations) if needed[r.head] <= omega and needed[r.tail] <= omega]
    return kept, relations


def overlapping_pairs(entities: Sequence[Entity]) -> list[tuple[Entity, Entity]]:
    """Pairs of spans of which one begins inside the other (at its start counts, if the spans differ)."""
    spans = {e.span: e for e in entities}  # several types on a span are one place
    ordered = [spans[span] for span in sorted(spans)]
    return [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :] if b.start < a.end]


def nesting_depth(entities: Sequence[Entity]) -> int:
    """The longest chain of spans each inside the one before; 1 for flat entities, 0 without any."""
    spans = sorted({e.span for e in entities}, key=lambda s: (s[0], -s[1]))
    depth: dict[tuple[int, int], int] = {}
    for span in spans:
        inside = [depth[outer] for outer in depth if outer[0] <= span[0] and span[1] <= outer[1]]
        depth[span] = 1 + max(inside, default=0)
    return max(depth.values(), default=0)


def _crossing(a: Entity, b: Entity) -> bool:
    return a.start < b.start < a.end < b.end


def _nested(pairs: Sequence[tuple[Entity, Entity]]) -> set[Entity]:
    return {e for a, b in pairs if not _crossing(a, b) for e in (a, b)}


def _both_directions(relations: Sequence[Relation], schema: Schema) -> int:
    symmetric = {r for r in relations if r.type in schema.symmetric and r.head != r.tail}
    return sum(Relation(r.tail, r.head, r.type) in symmetric for r in symmetric) // 2
