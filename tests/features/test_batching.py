"""Batches against a naive padding loop, and the sampler's promises."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.features import Batch, LengthBatchSampler, collate
from iter_lightning.features.batching import length_batches
from iter_lightning.types import Example
from tests.builders import SCHEMA, batch_of, encode, examples, random_example


def random_batch(seed: int = 0, **options: bool) -> Batch:
    rng = random.Random(seed)
    gold = [random_example(rng, words=rng.choice([0, 1, 5, 40]), id=str(i), vocabulary=("London", "Ulan-Bator"))
            for i in range(5)]  # fmt: skip
    return batch_of(encode(gold, 2, 24, 6), **options)


@given(
    st.lists(examples(max_words=8, words=st.sampled_from(("London", "Ulan-Bator"))), min_size=1, max_size=4),
    st.booleans(),
    st.integers(1, 3),
)
def test_collate_is_a_padding_loop(gold: list[Example], respect: bool, omega: int) -> None:
    encoded = encode(gold, omega, 32, 6)
    batch = batch_of(encoded, 0, respect)
    windows = [(e, n) for e in encoded for n in range(len(e.windows))]
    assert [(id(e), n) for e, n in batch.windows] == [(id(e), n) for e, n in windows]
    assert len(batch) == len(windows)
    assert [id(e) for e in batch.examples] == [id(e) for e in encoded]
    width = max(len(e.windows[n]) for e, n in windows)
    assert batch.input_ids_BN.shape == (len(windows), width)
    lefts: list[int] = []
    rights: list[int] = []
    gold_lefts: list[int] = []
    spans: list[list[int]] = []
    types: list[list[int]] = []
    links: list[list[int]] = []
    for row, (example, number) in enumerate(windows):
        f = example.windows[number]
        for place in range(width):
            inside = place < len(f)
            assert batch.mask_BN[row, place] == inside
            assert batch.input_ids_BN[row, place] == (f.input_ids[place] if inside else 0)
            word = f.word_of_subword[place] if inside else -1
            assert batch.word_BN[row, place] == word
            if word < 0:
                continue
            if not respect or f.word_of_subword[place - 1] != word:
                lefts.append(row * width + place)
            if not respect or f.word_of_subword[place + 1] != word:
                rights.append(row * width + place)
        gold_lefts += [row * width + left for left in f.lefts]
        base = len(spans)
        spans += [[row, left, right] for left, right in f.spans]
        types += [[base + span, kind] for span, kind in f.span_types]
        links += [[base + head, base + tail, kind] for head, tail, kind in f.links]
    assert batch.left_slots_L.tolist() == lefts
    assert batch.right_slots_M.tolist() == rights
    assert batch.gold_left_slots_G.tolist() == gold_lefts
    assert batch.gold_spans_S3.tolist() == spans
    assert batch.gold_types_T2.tolist() == types
    assert batch.gold_links_K3.tolist() == links
    assert batch.gold_spans_S3.shape[1:] == batch.gold_links_K3.shape[1:] == (3,)
    assert set(gold_lefts) <= set(lefts)
    assert {row * width + right for row, _, right in spans} <= set(rights)


def test_text_at_both_borders_is_eligible_without_special_tokens() -> None:
    (encoded,) = encode([Example(("London", "Ulan-Bator"))], kind="metaspace")
    f = encoded.windows[0]
    assert f.word_of_subword[0] == 0
    batch = collate([(encoded, 0)], 0)
    assert batch.left_slots_L.tolist() == [0, f.word_of_subword.index(1)]
    assert batch.right_slots_M.tolist() == [f.word_of_subword.index(1) - 1, len(f) - 2]


def test_to_and_pin_keep_every_value() -> None:
    batch = random_batch()
    moved = batch.to("meta")
    copies = [batch.to("cpu")]
    if torch.cuda.is_available():
        copies.append(batch.pin_memory())
    for name, value in vars(batch).items():
        if isinstance(value, torch.Tensor):
            assert getattr(moved, name).is_meta == (name != "word_BN")  # which the host alone reads
            assert getattr(moved, name).shape == value.shape
            assert all(torch.equal(getattr(copy, name), value) for copy in copies)
        else:
            assert getattr(moved, name) is value


def test_index_tensors_are_long_even_when_empty() -> None:
    batch = batch_of(encode([Example(())]))
    for name, value in vars(batch).items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == (torch.bool if name == "mask_BN" else torch.long), name
    assert len(batch.left_slots_L) == len(batch.right_slots_M) == 0
    assert SCHEMA.entity_types


# samplers ------------------------------------------------------------------------------------------------------------

lengths_lists = st.lists(st.integers(1, 60), max_size=80)
budgets = st.one_of(st.none(), st.integers(1, 200))


@given(lengths_lists, st.one_of(st.none(), st.integers(1, 9)), budgets)
def test_length_batches(lengths: list[int], size: int | None, max_tokens: int | None) -> None:
    order = list(range(len(lengths)))
    random.Random(len(lengths)).shuffle(order)
    batches = length_batches(lengths, order, size, max_tokens)
    assert [item for batch in batches for item in batch] == order
    for batch in batches:
        assert 1 <= len(batch) <= (size or len(lengths))
        padded = len(batch) * max(lengths[i] for i in batch)
        assert max_tokens is None or padded <= max_tokens or len(batch) == 1
    for batch, following in itertools.pairwise(batches):  # greedy: the next item did not fit
        grown = [*batch, following[0]]
        too_long = max_tokens is not None and len(grown) * max(lengths[i] for i in grown) > max_tokens
        assert (size is not None and len(grown) > size) or too_long


@given(lengths_lists, st.integers(1, 9), budgets, st.integers(1, 4))
def test_unshuffled_ranks_share_every_item_once(
    lengths: list[int], size: int, max_tokens: int | None, world: int
) -> None:
    samplers = [
        LengthBatchSampler(lengths, size, max_tokens=max_tokens, rank=rank, world_size=world) for rank in range(world)
    ]
    assert sorted(i for s in samplers for batch in s for i in batch) == list(range(len(lengths)))
    for s in samplers:
        assert len(s) == len(list(s))
        assert all(len(b) <= size for b in s)


@given(lengths_lists, st.integers(1, 9), budgets, st.integers(1, 4), st.integers(0, 3), st.integers(0, 3))
def test_shuffled_ranks_get_equal_shares(
    lengths: list[int], size: int, max_tokens: int | None, world: int, seed: int, epoch: int
) -> None:
    def batches(rank: int) -> list[list[int]]:
        sampler = LengthBatchSampler(
            lengths, size, max_tokens=max_tokens, shuffle=True, seed=seed, bucket_batches=2, rank=rank, world_size=world
        )
        sampler.set_epoch(epoch)
        assert len(sampler) == len(list(sampler))
        return list(sampler)

    ranks = [batches(rank) for rank in range(world)]
    assert len({len(r) for r in ranks}) == 1
    assert ranks == [batches(rank) for rank in range(world)]  # on every machine the same
    seen = [i for r in ranks for b in r for i in b]
    assert set(seen) == set(range(len(lengths)))
    if world == 1:
        assert len(seen) == len(lengths)
    repeated = len(seen) - len(lengths)
    assert repeated <= (world - 1) * size
    for b in (b for r in ranks for b in r):
        assert max_tokens is None or len(b) == 1 or len(b) * max(lengths[i] for i in b) <= max_tokens


def padded(lengths: list[int], batch: list[int]) -> int:
    return len(batch) * max(lengths[i] for i in batch)


@given(
    lengths_lists, st.one_of(st.none(), st.integers(1, 9)), st.integers(1, 200), st.integers(2, 4), st.integers(0, 3),
    st.integers(1, 3),
)  # fmt: skip
def test_ranks_do_equal_work_in_a_step(
    lengths: list[int], size: int | None, max_tokens: int, world: int, seed: int, bucket_batches: int
) -> None:
    options: dict[str, Any] = {
        "max_tokens": max_tokens, "shuffle": True, "seed": seed, "bucket_batches": bucket_batches,
    }  # fmt: skip
    ranks = [list(LengthBatchSampler(lengths, size, rank=rank, world_size=world, **options)) for rank in range(world)]
    steps = [[padded(lengths, batch) for batch in step] for step in zip(*ranks, strict=True)]
    spread = sum(max(step) - min(step) for step in steps)
    longest = sum(map(max, steps))  # what an epoch takes
    # no dealing of the same batches does better: sort them, take neighbours
    best = [step[i : i + world] for step in [sorted(itertools.chain(*steps))] for i in range(0, len(step), world)]
    assert spread == sum(max(step) - min(step) for step in best)
    assert longest == sum(map(max, best))
    whole = sorted(itertools.chain(*steps))
    assert spread <= (whole[-1] - whole[0] if whole else 0)  # of all steps together no more than between two batches
    dealt = list(LengthBatchSampler(lengths, size, **options))  # as one process takes them
    dealt += [dealt[i % len(dealt)] for i in range(-len(dealt) % world)]
    assert sorted(map(sorted, dealt)) == sorted(sorted(batch) for rank in ranks for batch in rank)
    robin = [[padded(lengths, batch) for batch in dealt[i : i + world]] for i in range(0, len(dealt), world)]
    assert longest <= sum(map(max, robin))


def test_steps_come_in_random_order() -> None:
    lengths = [1 + i % 50 for i in range(400)]
    sampler = LengthBatchSampler(lengths, 4, shuffle=True, rank=0, world_size=2)
    sizes = [padded(lengths, batch) for batch in sampler]
    assert sizes != sorted(sizes)
    assert sizes != sorted(sizes, reverse=True)
    sampler.set_epoch(1)
    assert sizes != [padded(lengths, batch) for batch in sampler]


def test_one_process_keeps_its_order() -> None:
    """Pinned: runs that are there were made in this order."""
    lengths = [1 + i * 7 % 11 for i in range(13)]
    assert list(LengthBatchSampler(lengths, 3, max_tokens=24, shuffle=True, seed=1, bucket_batches=2)) == [
        [8],
        [10],
        [0],
        [2, 5, 11],
        [6, 12],
        [3, 9],
        [1, 4, 7],
    ]


@pytest.mark.parametrize("bucket_batches", [1, 16])
def test_a_token_budget_alone_decides(bucket_batches: int) -> None:
    rng = random.Random(0)
    lengths = [rng.randint(5, 60) for _ in range(2000)]
    batches = list(LengthBatchSampler(lengths, None, max_tokens=1024, shuffle=True, bucket_batches=bucket_batches))
    assert sorted(itertools.chain(*batches)) == list(range(2000))
    sizes = [padded(lengths, batch) for batch in batches]
    assert max(sizes) <= 1024
    assert sum(sizes) > 0.93 * 1024 * len(sizes)  # filled, at the borders of buckets, too
    assert (sum(sizes) < 1.1 * sum(lengths)) == (bucket_batches > 1)
    with pytest.raises(ValueError, match="expected batch_size or max_tokens"):
        LengthBatchSampler(lengths, None)


def test_epochs_and_seeds_differ() -> None:
    lengths = [1 + i % 7 for i in range(60)]
    seen = set()
    for seed in (0, 1):
        for epoch in (0, 1):
            sampler = LengthBatchSampler(lengths, 4, shuffle=True, seed=seed)
            sampler.sampler.set_epoch(epoch)  # the way Lightning finds it
            seen.add(str(list(sampler)))
    assert len(seen) == 4


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_hold_similar_lengths(shuffle: bool) -> None:
    rng = random.Random(0)
    lengths = [rng.randint(1, 100) for _ in range(640)]
    whole = sum(padded(lengths, batch) for batch in LengthBatchSampler(lengths, 8, shuffle=shuffle))
    assert whole < 1.1 * sum(lengths)
