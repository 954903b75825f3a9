"""Index arithmetic against loops over the paper's definitions."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iter_lightning.model.brackets import SpanCandidates, candidate_rows, nearest_lefts, ordered_pairs, span_candidates

omegas = st.integers(1, 4)


@st.composite
def left_masks(draw: st.DrawFn) -> Tensor:
    rows, length = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    density = draw(st.sampled_from([0, 1, 2, 5]))  # none, every position, some, few
    values = [density > 0 and draw(st.integers(0, density - 1)) == 0 for _ in range(rows * length)]
    return torch.tensor(values).view(rows, length)


def paper_lefts(is_left: list[bool], m: int, omega: int) -> list[int]:
    """The set N below Eq. 12: n_i = max {j | j <= m, a left at j, j not among the earlier ones}."""
    chosen: list[int] = []
    for _ in range(omega):
        left = [j for j in range(len(is_left)) if j <= m and is_left[j] and j not in chosen]
        if left:
            chosen.append(max(left))
    return chosen


@given(left_masks(), omegas)
def test_nearest_lefts(is_left_BN: Tensor, omega: int) -> None:
    position_BNW, valid_BNW = nearest_lefts(is_left_BN, omega)
    assert position_BNW.shape == valid_BNW.shape == (*is_left_BN.shape, omega)
    for row, lefts in enumerate(is_left_BN.tolist()):
        for m in range(len(lefts)):
            expected = paper_lefts(lefts, m, omega)
            padding = omega - len(expected)
            assert position_BNW[row, m].tolist() == expected + [0] * padding
            assert valid_BNW[row, m].tolist() == [True] * len(expected) + [False] * padding


def eligible(is_left_BN: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Eligible lefts (a superset of the lefts, never empty: every word has both brackets) and eligible rights."""
    generator = torch.Generator().manual_seed(seed)
    more = is_left_BN.flatten() | (torch.rand(is_left_BN.numel(), generator=generator) < 0.4)
    more[0] = True
    rights = torch.rand(is_left_BN.numel(), generator=generator) < 0.6
    return more.nonzero().squeeze(1), rights.nonzero().squeeze(1)


def valid_pairs(candidates: SpanCandidates) -> list[tuple[int, int]]:
    columns = (candidates.left_slot_C, candidates.right_slot_C, candidates.valid_C)
    return [(n, m) for n, m, valid in zip(*(c.tolist() for c in columns), strict=True) if valid]


@given(left_masks(), omegas, st.integers(0, 99))
def test_span_candidates(is_left_BN: Tensor, omega: int, seed: int) -> None:
    left_slots, right_slots = eligible(is_left_BN, seed)
    length = is_left_BN.shape[1]
    expected = [
        (slot - slot % length + n, slot)
        for slot in right_slots.tolist()
        for n in paper_lefts(is_left_BN[slot // length].tolist(), slot % length, omega)
    ]
    valid, paired, loose = (
        span_candidates(is_left_BN, left_slots, right_slots, omega, keep) for keep in ("valid", "paired", "all")
    )
    assert valid_pairs(valid) == valid_pairs(paired) == valid_pairs(loose) == expected
    assert valid.valid_C.all()
    assert len(loose.valid_C) == len(right_slots) * omega
    for compact in (valid, paired):
        assert compact.left_slots_L.tolist() == is_left_BN.flatten().nonzero().squeeze(1).tolist()
        assert set(compact.right_slots_M.tolist()) == {right for _, right in expected}  # nothing is projected in vain
    for even in (paired, loose):
        rows = torch.arange(len(even.right_slots_M)).repeat_interleave(omega)
        assert even.per_right == omega
        assert torch.equal(even.right_row_C, rows)


@pytest.mark.parametrize("keep", ["valid", "paired", "all"])
@given(left_masks(), omegas, st.integers(0, 99))
def test_candidate_rows(keep: str, is_left_BN: Tensor, omega: int, seed: int) -> None:
    candidates = span_candidates(is_left_BN, *eligible(is_left_BN, seed), omega, keep)
    rows, length = is_left_BN.shape
    spans = [(b, n, m) for b in range(rows) for n in range(length) for m in range(n, length)]
    found = candidate_rows(candidates, torch.tensor(spans), length).tolist()
    pairs = list(zip(candidates.left_slot_C.tolist(), candidates.right_slot_C.tolist(), strict=True))
    expected = valid_pairs(candidates)
    for (b, n, m), row in zip(spans, found, strict=True):
        pair = (b * length + n, b * length + m)
        if pair in expected:
            assert pairs[row] == pair
            assert candidates.valid_C[row]
        else:
            assert row == -1


@pytest.mark.parametrize("keep", ["valid", "paired", "all"])
def test_no_spans_and_no_candidates(keep: str) -> None:
    nothing = torch.zeros(2, 5, dtype=torch.bool)
    every = torch.arange(10)
    candidates = span_candidates(nothing, every, every, 3, keep)
    assert valid_pairs(candidates) == []
    assert candidate_rows(candidates, torch.tensor([[0, 1, 2]]), 5).tolist() == [-1]
    assert candidate_rows(candidates, torch.empty(0, 3, dtype=torch.long), 5).shape == (0,)
    none = torch.empty(0, dtype=torch.long)
    assert len(span_candidates(nothing, none, none, 3, keep).valid_C) == 0


rows_of = st.lists(st.integers(0, 4), max_size=9).map(sorted)


@given(rows_of, rows_of)
def test_ordered_pairs(head_rows: list[int], tail_rows: list[int]) -> None:
    heads, tails = (torch.tensor(rows, dtype=torch.long) for rows in (head_rows, tail_rows))
    head_P, tail_P, offset_E = ordered_pairs(heads, tails, 5)
    product = itertools.product(range(len(head_rows)), range(len(tail_rows)))
    expected = [(h, t) for h, t in product if head_rows[h] == tail_rows[t]]
    assert list(zip(head_P.tolist(), tail_P.tolist(), strict=True)) == expected
    for place, (h, t) in enumerate(expected):
        rank = t - tail_rows.index(tail_rows[t])
        assert offset_E[h] + rank == place


@given(rows_of)
def test_ordered_pairs_of_one_set_hold_self_pairs(rows: list[int]) -> None:
    of = torch.tensor(rows, dtype=torch.long)
    head_P, tail_P, _ = ordered_pairs(of, of, 5)
    pairs = set(zip(head_P.tolist(), tail_P.tolist(), strict=True))
    assert pairs == {(h, t) for h in range(len(rows)) for t in range(len(rows)) if rows[h] == rows[t]}
    assert len(pairs) == len(head_P)
