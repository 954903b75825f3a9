"""The heads where nothing is trained: inner layers walk through one workspace that fits into the processor's cache.

X rows, H hidden, F inner width, O outputs, P pairs, W pairs a right. On a CPU the temporaries of these wide layers cost
more than their products: every one is written to and read from memory that was just mapped. Here each chunk is
projected, gated and reduced in place; the results are those of `GatedFeedForward` and `PairFeedForward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Project = Callable[[Tensor], Tensor]
"""Rows [X, H] to inner layers [X, 2F]."""


def row_logits(x_XH: Tensor, project: Project, w_out_OF: Tensor, activation: str, rows: int) -> Tensor:
    """Logits [X, O] of single vectors, `rows` at a time."""
    logits_XO = x_XH.new_empty(len(x_XH), len(w_out_OF))
    for part in chunks(len(x_XH), rows):
        torch.mm(gate_(project(x_XH[part]), activation), w_out_OF.t(), out=logits_XO[part])
    return logits_XO


def right_logits(
    left_X2F: Tensor, right_YH: Tensor, project: Project, w_out_OF: Tensor, left_P: Tensor, per_right: int,
    activation: str, pairs: int,
) -> Tensor:  # fmt: skip
    """Logits [P, O] of pairs that come `per_right` to each right, rights in order.

    Rights are projected chunk by chunk, because there are many: almost every word may end an entity.

    Args:
        left_X2F: projected lefts.
        right_YH: rights as they are, for `project`.
        left_P: row of each pair's left.
        pairs: of a chunk, at most.
    """
    logits_PO = left_X2F.new_empty(len(left_P), len(w_out_OF))
    parts = list(chunks(len(right_YH), max(1, pairs // per_right)))
    largest = max((part.stop - part.start for part in parts), default=0)
    work = left_X2F.new_empty(largest * per_right, left_X2F.shape[1])
    for part in parts:
        chosen = slice(part.start * per_right, part.stop * per_right)
        inner = torch.index_select(left_X2F, 0, left_P[chosen], out=work[: chosen.stop - chosen.start])
        inner.view(part.stop - part.start, per_right, -1).add_(project(right_YH[part]).unsqueeze(1))
        torch.mm(gate_(inner, activation), w_out_OF.t(), out=logits_PO[chosen])
    return logits_PO


def pair_logits(
    first_X2F: Tensor, second_Y2F: Tensor, w_out_OF: Tensor, first_P: Tensor, second_P: Tensor, activation: str,
    pairs: int,
) -> Tensor:  # fmt: skip
    """Logits [P, O] of any pairs of projected operands, `pairs` at a time."""
    logits_PO = first_X2F.new_empty(len(first_P), len(w_out_OF))
    work, other = first_X2F.new_empty(2, min(pairs, len(first_P)), first_X2F.shape[1]).unbind()
    for part in chunks(len(first_P), pairs):
        count = part.stop - part.start
        inner = torch.index_select(first_X2F, 0, first_P[part], out=work[:count])
        inner.add_(torch.index_select(second_Y2F, 0, second_P[part], out=other[:count]))
        torch.mm(gate_(inner, activation), w_out_OF.t(), out=logits_PO[part])
    return logits_PO


def lefts_of(left_P: Tensor, per_right: int, rights: int, at_once: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Rights, `at_once` of them, with the lefts they pair with and each pair's place among those.

    Lefts lie next to each other, as rights and their lefts both are in the order of the text.
    """
    for part in chunks(rights, at_once):
        chosen_P = left_P[part.start * per_right : part.stop * per_right]
        low, high = int(chosen_P.min()), int(chosen_P.max())
        yield part, slice(low, high + 1), chosen_P - low


def gate_(inner_X2F: Tensor, activation: str) -> Tensor:
    """`act(gate) * value` [X, F], written over the gate."""
    gate_XF, value_XF = inner_X2F.chunk(2, dim=1)
    return activate_(gate_XF, activation).mul_(value_XF)


def activate_(x: Tensor, activation: str) -> Tensor:
    """In place; see `heads.ACTIVATIONS`."""
    if activation == "gelu":
        return x.copy_(F.gelu(x))
    return x.clamp_(min=0) if activation == "relu" else x.tanh_()


def chunks(total: int, size: int) -> Iterator[slice]:
    """Consecutive slices of about equal length, at most `size`."""
    count = -(-total // size)
    return (slice(total * i // count, total * (i + 1) // count) for i in range(count))
