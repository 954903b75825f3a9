"""Augment training sentences."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from iter_lightning.types import Entity, Example, Relation


def swap_mentions(examples: Sequence[Example], probability: float, seed: int | str) -> list[Example]:
    """Replace some mentions by mentions of the same type from other examples.

    Mentions that overlap others are neither replaced nor used as replacements, because nested annotation would be lost.
    Types, relations, ids, and context do not change.

    Args:
        examples: Annotated examples.
        probability: Probability of each mention to be replaced, in [0, 1].
        seed: Seed of the random choices. The same seed gives the same result on every machine.

    Returns:
        One example for each given one, in the same order.

    Example:
        >>> sentence = Example(("Ada", "sings"), (Entity(0, 1, "Peop"),))
        >>> other = Example(("Bo", "Li", "sleeps"), (Entity(0, 2, "Peop"),))
        >>> swapped = swap_mentions([sentence, other], probability=1.0, seed=1)
        >>> [example.words[-1] for example in swapped]
        ['sings', 'sleeps']
    """
    mentions: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for example in examples:
        for entity in filter(partial(_stands_alone, entities=example.entities), example.entities):
            mentions[entity.type].append(example.words[entity.start : entity.end])
    rng = random.Random(f"mentions/{seed}")
    swapped = []
    for example in examples:
        chosen = {
            entity: rng.choice(mentions[entity.type])
            for entity in sorted(set(example.entities))
            if rng.random() < probability and _stands_alone(entity, example.entities)
        }
        swapped.append(_with_mentions(example, chosen) if chosen else example)
    return swapped


def _stands_alone(entity: Entity, entities: Sequence[Entity]) -> bool:
    return all(other == entity or other.end <= entity.start or entity.end <= other.start for other in entities)


def _with_mentions(example: Example, chosen: dict[Entity, tuple[str, ...]]) -> Example:
    """Return the example with new words for the `chosen` entities, which do not overlap."""
    words: list[str] = []
    new_offset: list[int] = []  # new position of each word
    starting = {entity.start: entity for entity in chosen}
    place = 0
    while place < len(example.words):
        entity = starting.get(place)
        end = entity.end if entity else place + 1
        new_offset.extend([len(words)] * (end - place))
        words.extend(chosen[entity] if entity else example.words[place:end])
        place = end
    new_offset.append(len(words))
    moved = {e: Entity(new_offset[e.start], new_offset[e.end], e.type) for e in example.entities}
    return Example(
        words=tuple(words),
        entities=tuple(moved[e] for e in example.entities),
        relations=tuple(Relation(moved[r.head], moved[r.tail], r.type) for r in example.relations),
        id=example.id,
        left_context=example.left_context,
        right_context=example.right_context,
    )
