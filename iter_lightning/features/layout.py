"""Pad windows into numpy arrays.

Shape suffixes: B windows, N subwords, L eligible left brackets, M eligible right brackets, F subwords of all windows.
A *slot* is the index `row * N + position`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from iter_lightning.features.alignment import EncodedExample


@dataclass(frozen=True)
class Layout:
    """Hold padded windows. The fields have the same meaning as in `batching.Batch`."""

    input_ids_BN: np.ndarray
    mask_BN: np.ndarray
    word_BN: np.ndarray
    left_slots_L: np.ndarray
    right_slots_M: np.ndarray
    filled_slots_F: np.ndarray


def lay_out(windows: Sequence[tuple[EncodedExample, int]], pad_id: int, respect_word_boundaries: bool = True) -> Layout:
    """Pad windows to the longest one and find the slots where brackets are allowed; see `batching.collate`."""
    features = [encoded.windows[number] for encoded, number in windows]
    width = max(len(f) for f in features)
    input_ids = np.array([f.input_ids + [pad_id] * (width - len(f)) for f in features], dtype=np.int64)
    word = np.array([f.word_of_subword + [-1] * (width - len(f)) for f in features], dtype=np.int64)
    mask = np.arange(width) < np.array([len(f) for f in features])[:, None]
    # brackets are allowed at the words of the window, and optionally only at word boundaries
    left = right = word >= 0
    if respect_word_boundaries:
        edge = np.full((len(features), 1), -1)
        left = left & (word != np.concatenate([edge, word[:, :-1]], axis=1))
        right = right & (word != np.concatenate([word[:, 1:], edge], axis=1))
    return Layout(input_ids, mask, word, *(np.flatnonzero(slots) for slots in (left, right, mask)))


def example_of_rows(windows: Sequence[tuple[EncodedExample, int]]) -> list[int]:
    """Number the examples of a batch.

    Args:
        windows: (example, window number) of each row; the windows of one example are neighbors, in ascending order.

    Returns:
        for each row, the position of its example among the examples of the batch.
    """
    numbers: list[int] = []
    for row, (encoded, window) in enumerate(windows):
        starts = row == 0 or encoded is not windows[row - 1][0] or window <= windows[row - 1][1]
        numbers.append(starts + (numbers[-1] if row else -1))
    return numbers
