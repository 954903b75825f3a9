"""Measure annotation at word level, without a tokenizer: sizes, nesting, duplicates, and leakage between splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from iter_lightning.types import Entity, Example, Relation, Schema


@dataclass(frozen=True)
class SplitReport:
    """Report on one split. Repeated entities and relations of a sentence count once. Shares are percentages."""

    sentences: int
    words: int
    entities: dict[str, int]
    """Number of entities of each type."""
    relations: dict[str, int]
    """Number of relations of each type."""
    without_entities: int
    """Sentences without any entity."""
    omega_needed: dict[int, int]
    """Map from omega to the number of entities that need exactly this omega. The largest key covers the split."""
    overlapping_sentences: int
    """Sentences in which an entity starts inside another one (Table 1)."""
    overlapping_share: float
    """Percentage of such sentences, the last column of Table 1."""
    overlapping_pairs: int
    """Pairs of spans where one starts inside the other."""
    crossing_pairs: int
    """Overlapping pairs where neither span contains the other."""
    nested_entities: int
    """Entities that lie inside another entity or contain one."""
    nested_share: float
    """Percentage of such entities."""
    depth: int
    """Longest chain of spans inside each other; 1 for flat entities."""
    several_types: int
    """Spans with more than one entity type."""
    relations_per_pair: dict[int, int]
    """Map from a number of relation types to the number of ordered entity pairs that have this many."""
    several_relations: int
    """Ordered pairs with more than one relation type."""
    self_relations: int
    """Relations of an entity with itself."""
    both_directions: int
    """Symmetric relations annotated in both directions."""
    repeated: int
    """Entities and relations that repeat an earlier one of the sentence."""
    duplicates: int
    """Sentences whose text occurred earlier in the split."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class CorpusReport:
    """Report on all splits, and on the distinct sentence texts that pairs of splits share."""

    splits: dict[str, SplitReport]
    leakage: dict[str, int]
    """Map from a pair of splits, such as `train/dev`, to the number of shared texts."""

    @property
    def omega(self) -> int:
        """Return the omega that covers all entities of the corpus (section 3.5 of the paper)."""
        return max((omega for split in self.splits.values() for omega in split.omega_needed), default=0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"splits": {name: split.to_dict() for name, split in self.splits.items()}, "leakage": dict(self.leakage)}


def check_corpus(splits: Mapping[str, Sequence[Example]], schema: Schema) -> CorpusReport:
    """Report on all splits of a corpus."""
    texts = {name: {example.words for example in examples} for name, examples in splits.items()}
    return CorpusReport(
        splits={name: check_split(examples, schema) for name, examples in splits.items()},
        leakage={f"{a}/{b}": len(texts[a] & texts[b]) for a, b in combinations(splits, 2)},
    )


def check_split(examples: Sequence[Example], schema: Schema) -> SplitReport:
    """Report on one split. Types of the schema come first, with 0 if they do not occur; unknown types follow."""
    entities = [tuple(dict.fromkeys(e.entities)) for e in examples]
    relations = [tuple(dict.fromkeys(e.relations)) for e in examples]
    overlaps = [overlapping_pairs(found) for found in entities]
    pairs = Counter(n for found in relations for n in Counter((r.head, r.tail) for r in found).values())
    spans = [Counter(e.span for e in found) for found in entities]
    nested = sum(len(nested_entities(found)) for found in entities)
    return SplitReport(
        sentences=len(examples),
        words=sum(len(e.words) for e in examples),
        entities=_by_type((e.type for found in entities for e in found), schema.entity_types),
        relations=_by_type((r.type for found in relations for r in found), schema.relation_types),
        without_entities=sum(not found for found in entities),
        omega_needed=_sorted(Counter(n for found in entities for n in omegas(found).values())),
        overlapping_sentences=sum(bool(found) for found in overlaps),
        overlapping_share=_percent(sum(bool(found) for found in overlaps), len(examples)),
        overlapping_pairs=sum(map(len, overlaps)),
        crossing_pairs=sum(_crossing(a, b) for found in overlaps for a, b in found),
        nested_entities=nested,
        nested_share=_percent(nested, sum(map(len, entities))),
        depth=max((nesting_depth(found) for found in entities), default=0),
        several_types=sum(n > 1 for found in spans for n in found.values()),
        relations_per_pair=_sorted(pairs),
        several_relations=sum(count for number, count in pairs.items() if number > 1),
        self_relations=sum(r.head == r.tail for found in relations for r in found),
        both_directions=sum(_both_directions(found, schema) for found in relations),
        repeated=sum(len(e.entities) + len(e.relations) for e in examples) - sum(map(len, (*entities, *relations))),
        duplicates=len(examples) - len({e.words for e in examples}),
    )


def omegas(entities: Sequence[Entity]) -> dict[Entity, int]:
    """Return the omega that each entity needs: the number of distinct entity starts in its span, its own included."""
    starts = {e.start for e in entities}
    return {e: sum(e.start <= start < e.end for start in starts) for e in entities}


def omega_needed(example: Example) -> int:
    """Return the omega that covers all entities of an example (section 3.5 of the paper), or 0 without entities."""
    return max(omegas(example.entities).values(), default=0)


def representable(example: Example, omega: int) -> tuple[list[Entity], list[Relation]]:
    """Return the entities whose start is among the `omega` closest ones before their last word, and their relations.

    Raises:
        ValueError: If omega is not positive.
    """
    if omega < 1:
        raise ValueError(f"omega must be at least 1, found {omega}")
    needed = omegas(example.entities)
    kept = [e for e in dict.fromkeys(example.entities) if needed[e] <= omega]
    relations = [r for r in dict.fromkeys(example.relations) if needed[r.head] <= omega and needed[r.tail] <= omega]
    return kept, relations


def word_level_recall(examples: Sequence[Example], omega: int) -> tuple[float, float]:
    """Return the NER and RE+ recall, in [0, 1], of a model that makes no errors but is limited to this omega.

    Raises:
        ValueError: If omega is not positive.
    """
    kept = [representable(example, omega) for example in examples]
    entities = sum(len(set(e.entities)) for e in examples)
    relations = sum(len(set(e.relations)) for e in examples)
    return (
        sum(len(found) for found, _ in kept) / entities if entities else 1.0,
        sum(len(found) for _, found in kept) / relations if relations else 1.0,
    )


def overlapping_pairs(entities: Sequence[Entity]) -> list[tuple[Entity, Entity]]:
    """Return pairs of distinct spans where one starts inside the other, or at the same word."""
    spans = {e.span: e for e in entities}  # a span with several types counts once
    ordered = [spans[span] for span in sorted(spans)]
    return [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :] if b.start < a.end]


def is_flat(examples: Iterable[Example]) -> bool:
    """Return whether no entities overlap in any example."""
    return not any(overlapping_pairs(example.entities) for example in examples)


def has_self_links(examples: Iterable[Example]) -> bool:
    """Return whether any relation links an entity to itself or to another entity with the same span."""
    return any(r.head.span == r.tail.span for example in examples for r in example.relations)


def nested_entities(entities: Sequence[Entity]) -> set[Entity]:
    """Return the entities whose span lies inside another span or contains one. Equal spans do not count."""
    spans = {span for a, b in overlapping_pairs(entities) if not _crossing(a, b) for span in (a.span, b.span)}
    return {e for e in entities if e.span in spans}


def nesting_depth(entities: Sequence[Entity]) -> int:
    """Return the length of the longest chain of nested spans: 1 for flat entities, 0 without entities."""
    spans = sorted({e.span for e in entities}, key=lambda s: (s[0], -s[1]))
    depth: dict[tuple[int, int], int] = {}
    for span in spans:
        inside = [depth[outer] for outer in depth if outer[0] <= span[0] and span[1] <= outer[1]]
        depth[span] = 1 + max(inside, default=0)
    return max(depth.values(), default=0)


def _crossing(a: Entity, b: Entity) -> bool:
    return a.start < b.start < a.end < b.end


def _both_directions(relations: Sequence[Relation], schema: Schema) -> int:
    symmetric = {r for r in relations if r.type in schema.symmetric and r.head != r.tail}
    return sum(Relation(r.tail, r.head, r.type) in symmetric for r in symmetric) // 2


def _by_type(found: Iterable[str], known: Sequence[str]) -> dict[str, int]:
    counts = Counter(found)
    return {name: counts[name] for name in (*known, *sorted(set(counts) - set(known)))}


def _sorted(counts: Counter[int]) -> dict[int, int]:
    return dict(sorted(counts.items()))


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
