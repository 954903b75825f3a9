"""Which lefts and which entities pair, in numpy; `model.brackets` says the same for tensors.

D decided lefts, M eligible rights, W omega, C candidates, E entities, P pairs. A *slot* is `row * N + position`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def nearest_lefts(
    left_slots_D: np.ndarray, right_slots_M: np.ndarray, length: int, omega: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each right with its `omega` closest lefts of the same row, nearest first.

    Args:
        left_slots_D, right_slots_M: ascending.
        length: N.
        omega: W.

    Returns:
        left_row_C and right_row_C: rows of `left_slots_D` and of `right_slots_M`.
    """
    first_M = np.searchsorted(left_slots_D, right_slots_M - right_slots_M % length)
    nearest_M = np.searchsorted(left_slots_D, right_slots_M, side="right") - 1
    left_row_MW = nearest_M[:, None] - np.arange(omega)
    valid_MW = left_row_MW >= first_M[:, None]
    return left_row_MW[valid_MW], np.nonzero(valid_MW)[0]


def ordered_pairs(row_E: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All ordered pairs of entities inside one row, heads ascending; entities are grouped by row."""
    count_B = np.bincount(row_E)
    width_E = count_B[row_E]
    head_P = np.arange(len(row_E)).repeat(width_E)
    offset_E = width_E.cumsum() - width_E
    first_E = (count_B.cumsum() - count_B)[row_E]
    return head_P, np.arange(len(head_P)) - offset_E[head_P] + first_E[head_P]


def chunks(total: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size`."""
    return (slice(start, min(start + size, total)) for start in range(0, total, size))
