from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.apps.onnx.graphs import default_threads, nearest_lefts, ordered_pairs
from iter_lightning.features.lengths import whole_rows
from iter_lightning.model import brackets


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 8))
def test_nearest_lefts_equals_torch(kinds: list[int], omega: int, length: int) -> None:
    """Each slot is nothing, a left, a right, or both."""
    slots = np.array(kinds + [0] * (-len(kinds) % length))
    lefts, rights = np.flatnonzero(slots % 2 == 1), np.flatnonzero(slots >= 2)
    is_left = torch.from_numpy(slots % 2 == 1).view(-1, length)
    theirs = brackets.span_candidates(is_left, torch.from_numpy(lefts), torch.from_numpy(rights), omega, "valid")
    left_row, right_row = nearest_lefts(lefts, rights, length, omega)
    assert lefts[left_row].tolist() == theirs.left_slot_C.tolist()
    assert rights[right_row].tolist() == theirs.right_slot_C.tolist()


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(1, 9))
def test_ordered_pairs_equals_torch(rows: list[int], limit: int) -> None:
    row = np.sort(np.array(rows, dtype=np.int64))
    head, tail = ordered_pairs(row)
    theirs = brackets.ordered_pairs(torch.from_numpy(row), torch.from_numpy(row), 7)
    assert (head.tolist(), tail.tolist()) == (theirs[0].tolist(), theirs[1].tolist())
    found = [
        pair
        for some, pairs in whole_rows(np.bincount(row).tolist(), limit)
        for pair in zip(head[pairs], tail[pairs], strict=True)
        if some.start <= min(pair) and max(pair) < some.stop
    ]
    assert found == list(zip(head, tail, strict=True))


def test_default_threads_reads_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= default_threads() <= (os.cpu_count() or 1)
