"""Swapped mentions: types, relations and all other words stay."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.features.augmentation import swap_mentions
from iter_lightning.types import Entity, Example
from tests.builders import SCHEMA, build_example, random_example


def outside(example: Example) -> list[str]:
    covered = {i for e in example.entities for i in range(e.start, e.end)}
    return [word for i, word in enumerate(example.words) if i not in covered]


def types(example: Example) -> tuple[list[str], list[tuple[str, str, str]]]:
    return [e.type for e in example.entities], [(r.head.type, r.type, r.tail.type) for r in example.relations]


@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(0, 3))
def test_only_mentions_change_and_only_to_mentions_of_their_type(number: int, probability: float, seed: int) -> None:
    rng = random.Random(number)
    examples = [random_example(rng, SCHEMA) for _ in range(6)]
    known = {(e.type, x.words[e.start : e.end]) for x in examples for e in x.entities}
    swapped = swap_mentions(examples, probability, seed)
    assert swapped == swap_mentions(examples, probability, seed)
    for before, after in zip(examples, swapped, strict=True):
        assert types(after) == types(before)
        assert outside(after) == outside(before)
        assert {(e.type, after.words[e.start : e.end]) for e in after.entities} <= known
        index = {e: i for i, e in enumerate(before.entities)}
        moved = {e: i for i, e in enumerate(after.entities)}
        assert [(index[r.head], index[r.tail]) for r in before.relations] == [
            (moved[r.head], moved[r.tail]) for r in after.relations
        ]


def test_by_hand() -> None:
    long = build_example(["New", "York", "City", "is", "big"], [(0, 3, "Loc")])
    pair = build_example(["Ada", "of", "Rome", "!"], [(0, 1, "Per"), (2, 3, "Loc")], [(0, 1, "LiveIn")])
    seen = {swap_mentions([long, pair], 1.0, seed)[1].words for seed in range(20)}
    assert seen == {("Ada", "of", "Rome", "!"), ("Ada", "of", "New", "York", "City", "!")}
    (after,) = {swap_mentions([long, pair], 1.0, seed)[1] for seed in range(20)} - {pair}
    assert after == build_example(
        ["Ada", "of", "New", "York", "City", "!"], [(0, 1, "Per"), (2, 5, "Loc")], [(0, 1, "LiveIn")]
    )


def test_nothing_is_swapped_without_a_chance_and_nested_mentions_stay() -> None:
    nested = build_example(["Bank", "of", "London", "and", "Ada"], [(0, 3, "Org"), (2, 3, "Loc"), (4, 5, "Per")])
    other = build_example(["Paris", "Inc", "Bob"], [(0, 1, "Loc"), (0, 2, "Org"), (2, 3, "Per")])
    assert swap_mentions([nested, other], 0.0, 1) == [nested, other]
    for seed in range(10):
        first, _ = swap_mentions([nested, other], 1.0, seed)
        assert first.words[:4] == nested.words[:4]
        assert first.entities[:2] == nested.entities[:2]


def test_no_mention_brings_unannotated_entities_along() -> None:
    """What lies inside a nested mention would be trained as no entity, were the mention put elsewhere."""
    mayor = Example(("mayor", "of", "Paris"), (Entity(0, 3, "Role"), Entity(2, 3, "Loc")))
    king = Example(("the", "king"), (Entity(1, 2, "Role"),))
    assert swap_mentions([mayor, king], 1.0, 0) == [mayor, king]
