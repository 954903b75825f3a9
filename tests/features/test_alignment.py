"""Test that alignment keeps offsets exact and reports all gold that an encoding cannot express."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.features import Aligner, EncodedExample, Features
from iter_lightning.features.alignment import owner, window_bounds
from iter_lightning.types import Entity, Example, Relation
from tests.builders import (
    COMMON,
    ODD,
    SCHEMA,
    TOKENIZERS,
    build_example,
    encode,
    examples,
    lost_by_omega,
    odd_words,
    random_example,
)

KINDS = sorted(TOKENIZERS)
EDGES = {"wordpiece": (["[CLS]"], ["[SEP]"]), "byte_level": (["<s>"], ["</s>"]), "metaspace": ([], ["</s>"])}


def read_back(window: Features) -> tuple[set[Entity], set[Relation]]:
    """The gold of one window in words, read from its subword positions."""
    word = window.word_of_subword
    spans = [(word[left], word[right] + 1) for left, right in window.spans]
    typed = {(row, SCHEMA.entity_types[kind]) for row, kind in window.span_types}
    links = {
        Relation(Entity(*spans[head], first), Entity(*spans[tail], second), SCHEMA.relation_types[kind])
        for head, tail, kind in window.links
        for row, first in typed
        if row == head
        for other, second in typed
        if other == tail
    }
    return {Entity(*spans[row], name) for row, name in typed}, links


def both_ways(relations: set[Relation]) -> set[Relation]:
    return relations | {Relation(r.tail, r.head, r.type) for r in relations if r.type in SCHEMA.symmetric}


@pytest.mark.parametrize("kind", KINDS)
@given(examples(words=odd_words()), st.integers(1, 4))
def test_gold_comes_back_from_positions(kind: str, gold: Example, omega: int) -> None:
    (encoded,) = encode([gold], omega, kind=kind, max_subwords=2000)
    (window,) = encoded.windows
    entities, relations = read_back(window)
    lost = lost_by_omega(gold, omega)
    assert entities == set(gold.entities) - lost
    assert set(encoded.lost_entities) == lost
    kept = {r for r in gold.relations if r.head not in lost and r.tail not in lost}
    assert relations == both_ways(kept)
    assert set(encoded.lost_relations) == set(gold.relations) - kept
    assert encoded.encoded_gold().entities == tuple(e for e in gold.entities if e not in lost)


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(odd_words(), max_size=14))
def test_every_word_has_subwords_in_order(kind: str, words: list[str]) -> None:
    (encoded,) = encode([Example(tuple(words))], kind=kind, max_subwords=2000)
    (window,) = encoded.windows
    text = [w for w in window.word_of_subword if w >= 0]
    assert text == sorted(text)
    assert set(text) == set(range(len(words)))
    assert len(window.word_of_subword) == len(window.input_ids) == len(window)


@pytest.mark.parametrize("kind", KINDS)
def test_subwords_are_the_tokenizers_own(kind: str) -> None:
    """The ids of a window are what the tokenizer itself makes of the words."""
    tokenizer = TOKENIZERS[kind]()
    (encoded,) = encode([Example(COMMON)], kind=kind)
    assert encoded.windows[0].input_ids == tokenizer(list(COMMON), is_split_into_words=True)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_surround_a_window(kind: str) -> None:
    aligner = Aligner(TOKENIZERS[kind](), SCHEMA, 1, 64, 0)
    prefix, suffix = EDGES[kind]
    assert aligner.tokenizer.convert_ids_to_tokens(aligner.prefix) == prefix
    assert aligner.tokenizer.convert_ids_to_tokens(aligner.suffix) == suffix
    (encoded,) = aligner.encode([Example(())])
    assert encoded.windows[0].word_of_subword == [-1] * (len(prefix) + 1 + len(suffix))


@pytest.mark.parametrize(("kind", "erased"), [("wordpiece", (0, 1, 2, 3, 4)), ("byte_level", (0,)),
                                              ("metaspace", (0, 2, 3, 4))])  # fmt: skip
def test_erased_words_are_read_as_unknown_and_named(kind: str, erased: tuple[int, ...]) -> None:
    words = (*ODD[:5], "London")
    spans = [(place, place + 1, "Loc") for place in range(len(words))]
    (encoded,) = encode([build_example(words, spans)], kind=kind)
    assert encoded.erased_words == erased
    assert not encoded.lost_entities
    window = encoded.windows[0]
    unknown = TOKENIZERS[kind]().unk_token_id
    for place in erased:
        assert [i for i, w in zip(window.input_ids, window.word_of_subword, strict=True) if w == place] == [unknown]


def test_erased_context_words_are_not_named() -> None:
    (encoded,) = encode([Example(("Ada", ""), left_context=("", "the"), right_context=("",))])
    assert encoded.erased_words == (1,)


@given(examples(), st.integers(1, 4))
def test_omega_loss_is_exact(gold: Example, omega: int) -> None:
    (encoded,) = encode([gold], omega)
    lost = lost_by_omega(gold, omega)
    assert encoded.lost_entities == tuple(e for e in gold.entities if e in lost)
    assert encoded.lost_relations == tuple(r for r in gold.relations if r.head in lost or r.tail in lost)
    starts = {e.start for e in gold.entities}
    window = encoded.windows[0]
    assert {window.word_of_subword[left] for left in window.lefts} == starts  # lost entities have gold lefts, too


def test_encoded_gold_keeps_words_and_id() -> None:
    gold = build_example(COMMON, [(0, 3, "Per"), (1, 2, "Loc")], [(0, 1, "Near"), (1, 1, "Near")], id="x")
    (encoded,) = encode([gold], omega=1)
    expected = build_example(COMMON, [(1, 2, "Loc")], [(0, 0, "Near")], id="x")
    assert encoded.encoded_gold() == expected


@pytest.mark.parametrize("annotated", [
    build_example(COMMON, [(0, 1, "Animal")]),
    build_example(COMMON, [(0, 3, "Animal"), (1, 2, "Per")]),  # lost at omega 1 all the same
    build_example(COMMON, [(0, 1, "Per")], [(0, 0, "eats")]),
    build_example(COMMON, [(0, 3, "Per"), (1, 2, "Per")], [(0, 1, "eats")]),
])  # fmt: skip
def test_unknown_types_raise(annotated: Example) -> None:
    with pytest.raises(ValueError, match=r"type '(Animal|eats)' is not in the schema"):
        encode([annotated])


def test_many_examples_keep_their_order() -> None:
    gold = [build_example([COMMON[i % 13]] * (1 + i % 3), [(0, 1, "Per")], id=str(i)) for i in range(2100)]
    encoded = encode(gold)
    assert [e.example.id for e in encoded] == [e.id for e in gold]
    assert [e.windows[0].last_word for e in encoded] == [len(e.words) for e in gold]


# windows -------------------------------------------------------------------------------------------------------------


@st.composite
def window_plans(draw: st.DrawFn) -> tuple[list[int], int, int]:
    budget = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, budget // 2))
    return draw(st.lists(st.integers(1, budget), min_size=1, max_size=60)), budget, overlap


@given(window_plans())
def test_window_bounds(plan: tuple[list[int], int, int]) -> None:
    lengths, budget, overlap = plan
    bounds = window_bounds(np.array(lengths), budget, overlap)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == len(lengths)
    for first, last in bounds:
        assert first < last
        assert sum(lengths[first:last]) <= budget
    for (first, last), (next_first, next_last) in itertools.pairwise(bounds):
        assert first < next_first <= last < next_last  # no gap, and each window reads on
        assert sum(lengths[first : last + 1]) > budget  # windows are as long as they can be
        assert sum(lengths[next_first:last]) <= overlap
        # the overlap stops short only for a word that would exceed it or leave no room to read on
        wider = sum(lengths[next_first - 1 : last])
        assert wider > overlap or wider + lengths[last] > budget


@given(window_plans())
def test_every_span_inside_a_window_has_one_owner(plan: tuple[list[int], int, int]) -> None:
    lengths, budget, overlap = plan
    bounds = window_bounds(np.array(lengths[:25]), budget, overlap)
    windows = [Features([], [], first, last) for first, last in bounds]
    count = bounds[-1][1]
    for start in range(count):
        for end in range(start + 1, count + 1):
            holders = [n for n, (first, last) in enumerate(bounds) if first <= start and end <= last]
            mine = owner(windows, start, end)
            assert (mine in holders) if holders else mine == -1

            def margin(n: int, start: int = start, end: int = end) -> float:
                before = start - bounds[n][0] if n else np.inf
                return min(before, bounds[n][1] - end if n < len(bounds) - 1 else np.inf)

            assert all(margin(mine) >= margin(other) for other in holders)


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_windows_hold_all_words_within_the_limit(kind: str, seed: int, omega: int) -> None:
    rng = random.Random(seed)
    limit = rng.randint(20, 30)
    gold = random_example(rng, words=40, entities=12, relations=20, longest=8)
    (encoded,) = encode([gold], omega, limit, rng.randint(0, 9), kind)
    assert len(encoded.windows) > 1
    assert {w for f in encoded.windows for w in f.word_of_subword if w >= 0} == set(range(40))
    for window in encoded.windows:
        assert len(window) <= limit
        assert [w for w in window.word_of_subword if w >= 0][:: len(window)] == [window.first_word]
        entities, relations = read_back(window)
        assert entities <= set(gold.entities)
        assert relations <= both_ways(set(gold.relations))
    assert_losses_have_reasons(encoded, omega)


def assert_losses_have_reasons(encoded: EncodedExample, omega: int) -> None:
    """An entity is expressed exactly if its owner's gold holds it; a relation, if that of its hull holds both."""
    gold = encoded.example
    held = [read_back(w)[0] for w in encoded.windows]
    for entity in gold.entities:
        mine = owner(encoded.windows, entity.start, entity.end)
        assert (entity in encoded.lost_entities) == (mine < 0 or entity not in held[mine])
        if mine >= 0 and entity in encoded.lost_entities:
            assert entity in lost_by_omega(gold, omega)
    for relation in gold.relations:
        pair = {relation.head, relation.tail}
        mine = owner(encoded.windows, min(e.start for e in pair), max(e.end for e in pair))
        lost = mine < 0 or not pair <= held[mine] or bool(pair & set(encoded.lost_entities))
        assert (relation in encoded.lost_relations) == lost


def test_an_entity_only_a_window_that_does_not_decide_expresses_is_lost() -> None:
    """The crossing entity [4, 8) hides [2, 5) from omega 1; a window that ends at 7 does not see it."""
    gold = build_example(["a"] * 12, [(2, 5, "Per"), (4, 8, "Per")])
    (encoded,) = encode([gold], 1, max_subwords=9, overlap=3)  # windows of 7 words: [0, 7), [4, 11), [8, 12)
    assert [(w.first_word, w.last_word) for w in encoded.windows] == [(0, 7), (4, 11), (8, 12)]
    assert not encoded.lost_entities
    shifted = build_example(["a"] * 12, [(4, 6, "Per"), (5, 8, "Per")])
    (encoded,) = encode([shifted], 1, max_subwords=9, overlap=3)
    first, second, _ = encoded.windows
    assert len(first.spans) == 1
    assert owner(encoded.windows, 4, 6) == 0
    assert len(second.spans) == 1  # [5, 8) alone
    assert not encoded.lost_entities
    later = build_example(["a"] * 12, [(5, 7, "Per"), (6, 9, "Per")])
    (encoded,) = encode([later], 1, max_subwords=9, overlap=3)
    assert len(encoded.windows[0].spans) == 1  # [0, 7) holds [5, 7) and not [6, 9)
    assert owner(encoded.windows, 5, 7) == 1
    assert encoded.lost_entities == (Entity(5, 7, "Per"),)


def test_giant_words_are_clipped_and_named() -> None:
    giant = "abcdefghij" * 5
    gold = build_example(["Ada", giant, "London"], [(0, 1, "Per"), (1, 2, "Org"), (2, 3, "Loc")], [(0, 2, "LiveIn")])
    (encoded,) = encode([gold], max_subwords=22)
    tokenizer = TOKENIZERS["wordpiece"]()
    assert encoded.clipped_words == (1,)
    assert not encoded.lost_entities
    assert encoded.lost_relations == gold.relations  # no window holds both arguments
    middle = [w for w in encoded.windows if w.first_word == 1]
    assert len(middle) == 1
    pieces = tokenizer.convert_ids_to_tokens(middle[0].input_ids)[1:-1]
    whole = tokenizer.tokenize(giant)
    assert pieces == whole[:10] + whole[-10:]


@pytest.mark.parametrize(("overlap", "limit"), [(11, 22), (-1, 22), (64, 100)])
def test_an_overlap_past_half_a_window_raises(overlap: int, limit: int) -> None:
    with pytest.raises(ConfigError, match="cannot overlap"):
        encode([], max_subwords=limit, overlap=overlap)


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(EncoderError, match="Slow is not a fast one"):
        Aligner(Slow(), SCHEMA, 1, 64)  # type: ignore[arg-type]


# context -------------------------------------------------------------------------------------------------------------


def context_of(encoded: EncodedExample) -> tuple[list[str], list[str]]:
    """The context words read before and after the example's own (every word is one subword here)."""
    (window,) = encoded.windows
    own = [i for i, w in enumerate(window.word_of_subword) if w >= 0]
    tokens: list[str] = [*TOKENIZERS["wordpiece"]().convert_ids_to_tokens(window.input_ids)]
    return tokens[1 : own[0]], tokens[own[-1] + 1 : -1]


@pytest.mark.parametrize(("limit", "left", "right"), [
    (99, "the University of London", "and her brother"),
    (9, "University of London", "and her brother"),
    (8, "of London", "and her brother"),
    (6, "London", "and her"),
    (5, "London", "and"),
    (4, "", "and"),
    (3, "", ""),
])  # fmt: skip
def test_context_is_read_but_is_no_text(limit: int, left: str, right: str) -> None:
    gold = Example(
        ("Ada",), (Entity(0, 1, "Per"),), left_context=("the", "University", "of", "London"),
        right_context=("and", "her", "brother"),
    )  # fmt: skip
    (encoded,) = encode([gold], max_subwords=limit)
    assert context_of(encoded) == (left.split(), right.split())
    window = encoded.windows[0]
    place = 1 + len(left.split())
    assert [i for i, w in enumerate(window.word_of_subword) if w >= 0] == [place]
    assert window.spans == ((place, place),)
    assert not encoded.lost_entities


def test_room_one_side_leaves_is_the_others() -> None:
    gold = Example(("Ada",), left_context=("the",) * 8, right_context=("and",))
    assert [len(side) for side in context_of(encode([gold], max_subwords=9)[0])] == [5, 1]
    gold = Example(("Ada",), left_context=("the",), right_context=("and",) * 8)
    assert [len(side) for side in context_of(encode([gold], max_subwords=9)[0])] == [1, 5]


def test_context_goes_before_any_word_does() -> None:
    words = ("Ada", "lives", "in", "London") * 5
    (bare,) = encode([Example(words)], max_subwords=12, overlap=3)
    (with_context,) = encode(
        [Example(words, left_context=("the",) * 5, right_context=("of",) * 5)], max_subwords=12, overlap=3
    )
    assert with_context.windows == bare.windows
    assert len(bare.windows) > 1


def test_long_texts_raise_no_false_alarm(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = TOKENIZERS["wordpiece"]()
    limit, tokenizer.model_max_length = tokenizer.model_max_length, 16
    try:
        (encoded,) = encode([Example(("the",) * 50)], max_subwords=16)
    finally:
        tokenizer.model_max_length = limit
    assert len(encoded.windows) == 4
    assert "longer than" not in caplog.text
