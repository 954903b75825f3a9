"""Index arithmetic for brackets and pairs: which left brackets a right bracket may pair with. No parameters.

B rows, N subwords, W omega, L lefts to project, M rights to project, C candidate pairs, E entities, P pairs.
A *slot* is `row * N + position`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def nearest_lefts(is_left_BN: Tensor, omega: int) -> tuple[Tensor, Tensor]:
    """Find the `omega` closest lefts n <= m of every position m, nearest first (the set N below Eq. 12).

    With `c` the prefix count of lefts, the k-th closest left of m is the (c[m] - k)-th left: O(N * omega).

    Args:
        is_left_BN: bool, the lefts.
        omega: number of lefts per position.

    Returns:
        position_BNW (long; 0 if there are fewer lefts) and valid_BNW (bool).
    """
    # Count the lefts up to each position.
    batch, length = is_left_BN.shape
    count_BN = is_left_BN.long().cumsum(dim=1)
    positions_N = torch.arange(length, device=is_left_BN.device).expand(batch, length)

    # Build a table of each row's lefts: the j-th left goes to column j. All other positions write to a spare column,
    # which is cut off afterwards.
    column_BN = torch.where(is_left_BN, count_BN - 1, length)
    table_BN = torch.zeros(batch, length + 1, dtype=torch.long, device=is_left_BN.device)
    table_BN = table_BN.scatter(1, column_BN, positions_N)[:, :length]

    # Look up the lefts number c[m] - 1, c[m] - 2, ... of each position; negative numbers mean "no such left".
    rank_BNW = count_BN.unsqueeze(2) - 1 - torch.arange(omega, device=is_left_BN.device)
    valid_BNW = rank_BNW >= 0
    flat = rank_BNW.clamp(min=0).flatten(1)
    return table_BN.gather(1, flat).view_as(rank_BNW) * valid_BNW, valid_BNW


@dataclass(frozen=True)
class SpanCandidates:
    """The (left, right) pairs that IsSpan scores."""

    left_slots_L: Tensor
    """Slots of the lefts to project."""
    right_slots_M: Tensor
    """Slots of the rights to project."""
    left_row_C: Tensor
    """Index into `left_slots_L` of each candidate."""
    right_row_C: Tensor
    """Index into `right_slots_M` of each candidate."""
    valid_C: Tensor
    """Bool; False if the candidate has no left."""
    per_right: int | None
    """Number of candidates per right, which are ordered by right; None if it varies."""

    @property
    def left_slot_C(self) -> Tensor:
        """Return the slot of each candidate's left bracket."""
        return self.left_slots_L[self.left_row_C]

    @property
    def right_slot_C(self) -> Tensor:
        """Return the slot of each candidate's right bracket."""
        return self.right_slots_M[self.right_row_C]


def span_candidates(
    is_left_BN: Tensor, left_slots_L: Tensor, right_slots_M: Tensor, omega: int, keep: str = "all"
) -> SpanCandidates:
    """Pair every eligible right with each of its `omega` closest lefts.

    Args:
        is_left_BN: bool, the lefts (gold or predicted).
        left_slots_L: slots where a left is allowed.
        right_slots_M: slots where a right is allowed.
        omega: number of lefts per right.
        keep: `all` keeps every combination. `paired` drops rights without a left, and slots that are not a left.
            `valid` also drops candidates without a left. `paired` and `valid` wait for the device.

    Returns:
        the candidates, ordered by right.
    """
    # Find the lefts of each right, as slots.
    length = is_left_BN.shape[1]
    position_BNW, valid_BNW = nearest_lefts(is_left_BN, omega)
    position_MW = position_BNW.flatten(0, 1)[right_slots_M]
    valid_MW = valid_BNW.flatten(0, 1)[right_slots_M]
    left_slot_MW = (right_slots_M - right_slots_M % length).unsqueeze(1) + position_MW

    # Drop rights without any left (the nearest one comes first), and slots that are not a left.
    if keep != "all":
        left_slots_L = is_left_BN.flatten().nonzero().squeeze(1)
        used_M = valid_MW[:, 0]
        right_slots_M, left_slot_MW, valid_MW = right_slots_M[used_M], left_slot_MW[used_M], valid_MW[used_M]

    # Express each candidate by its indices into the lefts and the rights. A candidate without a left gets the nearest
    # left of its right instead of index 0, so that neighboring rights use neighboring lefts; `valid_C` excludes it.
    row_of_slot = torch.zeros(is_left_BN.numel(), dtype=torch.long, device=is_left_BN.device)
    row_of_slot[left_slots_L] = torch.arange(len(left_slots_L), device=is_left_BN.device)
    left_row_MW = row_of_slot[left_slot_MW]
    left_row_C = torch.where(valid_MW, left_row_MW, left_row_MW[:, :1]).flatten()
    right_row_C = torch.arange(len(right_slots_M), device=is_left_BN.device).repeat_interleave(omega)
    valid_C = valid_MW.flatten()

    # Drop candidates without a left.
    if keep == "valid":
        left_row_C, right_row_C, valid_C = left_row_C[valid_C], right_row_C[valid_C], valid_C[valid_C]
    per_right = None if keep == "valid" and omega > 1 else omega
    return SpanCandidates(left_slots_L, right_slots_M, left_row_C, right_row_C, valid_C, per_right)


def candidate_rows(candidates: SpanCandidates, spans_S3: Tensor, length: int) -> Tensor:
    """Find the index of the candidate for each span.

    Args:
        candidates: the candidates to search.
        spans_S3: (row, left, right) of each span.
        length: N, subwords per row.

    Returns:
        index_S, -1 for a span that is not a valid candidate.
    """
    # Give each candidate and each span a unique key.
    key_C = candidates.left_slot_C * length + candidates.right_slot_C % length
    key_C = torch.where(candidates.valid_C, key_C, -1)
    key_S = (spans_S3[:, 0] * length + spans_S3[:, 1]) * length + spans_S3[:, 2]
    if not len(key_C) or not len(key_S):
        return torch.full_like(key_S, -1)

    # Look the spans up in the sorted keys.
    ordered, order = key_C.sort()
    place = torch.searchsorted(ordered, key_S).clamp(max=len(ordered) - 1)
    return torch.where(ordered[place] == key_S, order[place], -1)


def ordered_pairs(row_of_head_E: Tensor, row_of_tail_E: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Build all (head, tail) index pairs inside one row; heads and tails must be sorted by row.

    Args:
        row_of_head_E: the row of each head.
        row_of_tail_E: the row of each tail (the same tensor if both are entities).
        rows: number of rows.

    Returns:
        head_P, tail_P and offset_E: the pair of head h and the t-th tail of its row is `offset_E[h] + t`.
    """
    device = row_of_head_E.device
    # Count the tails of each row, and find its first tail.
    tails_B = torch.bincount(row_of_tail_E, minlength=rows)
    first_tail_B = tails_B.cumsum(0) - tails_B

    # Each head has as many pairs as its row has tails; its pairs start at the sum of the counts before it.
    width_E = tails_B[row_of_head_E]
    offset_E = width_E.cumsum(0) - width_E

    # Repeat each head for its tails; tails count up from the first tail of the row.
    head_P = torch.arange(len(row_of_head_E), device=device).repeat_interleave(width_E)
    tail_P = torch.arange(len(head_P), device=device) - offset_E[head_P] + first_tail_B[row_of_head_E[head_P]]
    return head_P, tail_P, offset_E
