"""Sentences and predictions to score. Imports little: every process of the two-process test loads it."""

from __future__ import annotations

import random

from iter_lightning.types import Entity, Example, Prediction, Relation, Schema

SCHEMA = Schema(("Loc", "Org", "Per"), ("Kin", "LiveIn", "Near", "WorkFor"), symmetric=("Kin", "Near"))
Pair = tuple[Prediction, Example]


def predicted(entities: tuple[Entity, ...] = (), relations: tuple[Relation, ...] = ()) -> Prediction:
    return Prediction(entities, relations, (1.0,) * len(entities), (1.0,) * len(relations))


def random_pair(rng: random.Random) -> Pair:
    """Nested and repeated spans, one span with two types; some of the gold is missed and some invented."""
    size = rng.randint(1, 8)
    words = tuple(rng.choice("xyz") for _ in range(size))

    def entities(count: int) -> list[Entity]:
        starts = [rng.randrange(size) for _ in range(count)]
        return [Entity(s, rng.randint(s + 1, size), rng.choice(SCHEMA.entity_types)) for s in starts]

    def relations(among: list[Entity], count: int) -> list[Relation]:
        kinds = SCHEMA.relation_types
        return [Relation(rng.choice(among), rng.choice(among), rng.choice(kinds)) for _ in range(count if among else 0)]

    gold_entities = entities(rng.randint(0, 5))
    gold_relations = relations(gold_entities, rng.randint(0, 4))
    found = [e for e in gold_entities if rng.random() < 0.7] + entities(rng.randint(0, 2))
    linked = [r for r in gold_relations if r.head in found and r.tail in found] + relations(found, rng.randint(0, 2))
    return predicted(tuple(found), tuple(linked)), Example(words, tuple(gold_entities), tuple(gold_relations))


def random_pairs(count: int, seed: int = 0) -> list[Pair]:
    rng = random.Random(seed)
    return [random_pair(rng) for _ in range(count)]
