"""The heads in inference: inner layers are computed in chunks, in one workspace that fits into the processor's cache.

X rows, H hidden, F inner width, O outputs, P pairs, W pairs per right.

On a CPU, the temporary tensors of these wide layers cost more than their products, because each is written to and read
from memory that was just mapped. Here each chunk is projected, gated and reduced in place. The results equal those of
`GatedFeedForward` and `PairFeedForward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Project = Callable[[Tensor], Tensor]
"""Maps rows [X, H] to inner layers [X, 2F]."""


def row_logits(x_XH: Tensor, project: Project, w_out_OF: Tensor, activation: str, rows: int) -> Tensor:
    """Compute logits [X, O] of single vectors, `rows` of them at a time."""
    logits_XO = x_XH.new_empty(len(x_XH), len(w_out_OF))
    for part in chunks(len(x_XH), rows):
        torch.mm(gate_(project(x_XH[part]), activation), w_out_OF.t(), out=logits_XO[part])
    return logits_XO


def right_logits(
    left_X2F: Tensor, right_YH: Tensor, project: Project, w_out_OF: Tensor, left_P: Tensor, per_right: int,
    activation: str, pairs: int,
) -> Tensor:  # fmt: skip
    """Compute the logits of pairs that are ordered by right, `per_right` pairs each.

    Rights are projected chunk by chunk, because there are many: almost every word may end an entity.

    Args:
        left_X2F: projected lefts.
        right_YH: rights before projection.
        project: projection of the rights.
        w_out_OF: output projection.
        left_P: index of each pair's left.
        per_right: number of pairs per right.
        activation: relu, gelu or tanh.
        pairs: most pairs in a chunk.

    Returns:
        logits [P, O].
    """
    # Allocate the logits, and one workspace that the largest chunk fits into.
    logits_PO = left_X2F.new_empty(len(left_P), len(w_out_OF))
    parts = list(chunks(len(right_YH), max(1, pairs // per_right)))
    largest = max((part.stop - part.start for part in parts), default=0)
    work = left_X2F.new_empty(largest * per_right, left_X2F.shape[1])
    for part in parts:
        chosen = slice(part.start * per_right, part.stop * per_right)
        # Copy the projected left of each pair, add its projected right, then gate and reduce to logits.
        inner = torch.index_select(left_X2F, 0, left_P[chosen], out=work[: chosen.stop - chosen.start])
        inner.view(part.stop - part.start, per_right, -1).add_(project(right_YH[part]).unsqueeze(1))
        torch.mm(gate_(inner, activation), w_out_OF.t(), out=logits_PO[chosen])
    return logits_PO


def pair_logits(
    first_X2F: Tensor, second_Y2F: Tensor, w_out_OF: Tensor, first_P: Tensor, second_P: Tensor, activation: str,
    pairs: int,
) -> Tensor:  # fmt: skip
    """Compute logits [P, O] of arbitrary pairs of projected operands, `pairs` of them at a time."""
    logits_PO = first_X2F.new_empty(len(first_P), len(w_out_OF))
    work, other = first_X2F.new_empty(2, min(pairs, len(first_P)), first_X2F.shape[1]).unbind()
    for part in chunks(len(first_P), pairs):
        # Copy the first operand of each pair, add the second, then gate and reduce to logits.
        count = part.stop - part.start
        inner = torch.index_select(first_X2F, 0, first_P[part], out=work[:count])
        inner.add_(torch.index_select(second_Y2F, 0, second_P[part], out=other[:count]))
        torch.mm(gate_(inner, activation), w_out_OF.t(), out=logits_PO[part])
    return logits_PO


def lefts_of(left_P: Tensor, per_right: int, rights: int, at_once: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Split rights into portions, each with the lefts that they pair with.

    The lefts of a portion are contiguous, because rights and lefts are both in text order.

    Yields:
        slice of rights, slice of lefts, and each pair's index among these lefts.
    """
    for part in chunks(rights, at_once):
        chosen_P = left_P[part.start * per_right : part.stop * per_right]
        low, high = int(chosen_P.min()), int(chosen_P.max())
        yield part, slice(low, high + 1), chosen_P - low


def gate_(inner_X2F: Tensor, activation: str) -> Tensor:
    """Compute `act(gate) * value` [X, F], overwriting the gate."""
    gate_XF, value_XF = inner_X2F.chunk(2, dim=1)
    return activate_(gate_XF, activation).mul_(value_XF)


def activate_(x: Tensor, activation: str) -> Tensor:
    """Apply an activation in place; see `heads.ACTIVATIONS`."""
    if activation == "gelu":
        return x.copy_(F.gelu(x))
    return x.clamp_(min=0) if activation == "relu" else x.tanh_()


def chunks(total: int, size: int) -> Iterator[slice]:
    """Split a range into consecutive slices of about equal length, at most `size`."""
    count = -(-total // size)
    return (slice(total * i // count, total * (i + 1) // count) for i in range(count))
