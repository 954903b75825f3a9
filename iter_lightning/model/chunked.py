"""The pair heads in training: the inner layer of many pairs, in memory that does not grow with their number.

P pairs, F inner width, O outputs, C pairs per chunk.

- The forward and backward passes each go over chunks of pairs in one workspace of [C, 2F], which is allocated once. The
  inner layer is not kept: the backward pass computes it again. (Activation checkpointing keeps as little, but allocates
  memory for every chunk, which fragments the heap of the C library into more than a gigabyte on a CPU.)
- Gradients are summed in float32 or wider and rounded once. In bfloat16, a sum stops growing at 256 times an addend, so
  the error would grow with the number of chunks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from iter_lightning.model.streamed import activate_


class ChunkedPairs(torch.autograd.Function):
    """Compute `dropout(act(gate) * value) W_o^T` with [gate; value] = first[i] + second[j], for pairs (i, j)."""

    @staticmethod
    def forward(
        ctx: Any, first_X2F: Tensor, second_Y2F: Tensor, w_out_OF: Tensor, first_P: Tensor, second_P: Tensor,
        activation: str, dropout: float, chunk: int,
    ) -> Tensor:  # fmt: skip
        """Compute logits [P, O] in the operands' type."""
        ctx.save_for_backward(first_X2F, second_Y2F, w_out_OF, first_P, second_P)
        ctx.activation, ctx.dropout, ctx.chunk = activation, dropout, chunk
        ctx.seed = int(torch.randint(2**62, ()).item()) if dropout else 0
        logits_PO = first_X2F.new_empty(len(first_P), len(w_out_OF))
        work = _Workspace(ctx, first_X2F, second_Y2F)
        for part in _parts(len(first_P), chunk):
            gate, value, keep = work.inner(first_P[part], second_P[part])
            product = activate_(gate, activation).mul_(value)
            if keep is not None:
                product.mul_(keep)
            torch.mm(product, w_out_OF.t(), out=logits_PO[part])
        return logits_PO

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_PO: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of both operands and the output projection."""
        # Allocate sums and workspace once for all chunks.
        first_X2F, second_Y2F, w_out_OF, first_P, second_P = ctx.saved_tensors
        sums = _Sums(first_X2F, second_Y2F, w_out_OF, ctx.chunk)
        work = _Workspace(ctx, first_X2F, second_Y2F)
        width = w_out_OF.shape[1]
        grad_C2F = first_X2F.new_empty(work.size, 2 * width)
        active_CF = first_X2F.new_empty(work.size, width)
        for part in _parts(len(first_P), ctx.chunk):
            # Compute the inner layer again, with the dropout mask of the forward pass.
            gate, value, keep = work.inner(first_P[part], second_P[part])
            grad_gate, grad_value = grad_C2F[: len(gate), :width], grad_C2F[: len(gate), width:]
            active = active_CF[: len(gate)].copy_(gate)
            activate_(active, ctx.activation)

            # Gradient of the product act(gate) * value, then of gate and of value.
            torch.mm(grad_PO[part], w_out_OF, out=grad_value)
            if keep is not None:
                grad_value.mul_(keep)
            torch.mul(grad_value, value, out=grad_gate)
            _differentiate_(ctx.activation, grad_gate, gate, active)
            grad_value.mul_(active)

            # The product itself, which overwrites act(gate), for the gradient of W_o.
            active.mul_(value)
            if keep is not None:
                active.mul_(keep)
            sums.add(grad_PO[part], active, grad_C2F[: len(gate)], first_P[part], second_P[part])
        grads = (total.to(first_X2F.dtype) for total in (sums.first_X2F, sums.second_Y2F, sums.w_out_OF))
        return *grads, None, None, None, None, None


class _Sums:
    """Sums of the chunks' gradients, in float32 or wider."""

    def __init__(self, first_X2F: Tensor, second_Y2F: Tensor, w_out_OF: Tensor, chunk: int) -> None:
        dtype = torch.promote_types(first_X2F.dtype, torch.float32)
        self.first_X2F, self.second_Y2F, self.w_out_OF = (
            torch.zeros_like(tensor, dtype=dtype) for tensor in (first_X2F, second_Y2F, w_out_OF)
        )
        self.wide_C2F = (
            None if dtype == first_X2F.dtype else first_X2F.new_empty(chunk, first_X2F.shape[1], dtype=dtype)
        )

    def add(self, grad_CO: Tensor, product_CF: Tensor, grad_C2F: Tensor, first_C: Tensor, second_C: Tensor) -> None:
        """Add the gradients of a chunk.

        Args:
            grad_CO: gradient of the logits.
            product_CF: input of the output projection.
            grad_C2F: gradient of the inner layer.
            first_C: index of each pair's first operand.
            second_C: index of each pair's second operand.
        """
        self.w_out_OF.addmm_(grad_CO.to(self.w_out_OF.dtype).t(), self._widened(product_CF))
        grad_C2F = self._widened(grad_C2F)
        self.first_X2F.index_add_(0, first_C, grad_C2F)
        self.second_Y2F.index_add_(0, second_C, grad_C2F)

    def _widened(self, values: Tensor) -> Tensor:
        """Convert values to the type of the sums, in the shared buffer."""
        if self.wide_C2F is None:
            return values
        return self.wide_C2F[: values.shape[0], : values.shape[1]].copy_(values)


class _Workspace:
    """Buffers for one chunk, and dropout masks that the forward and backward passes draw from the same seed."""

    def __init__(self, ctx: Any, first_X2F: Tensor, second_Y2F: Tensor) -> None:
        self.first_X2F, self.second_Y2F = first_X2F, second_Y2F
        self.size, self.dropout = ctx.chunk, ctx.dropout
        self.sum_C2F = first_X2F.new_empty(ctx.chunk, first_X2F.shape[1])
        self.other_C2F = torch.empty_like(self.sum_C2F)
        self.generator = torch.Generator(first_X2F.device).manual_seed(ctx.seed) if ctx.dropout else None

    def inner(self, first_C: Tensor, second_C: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compute gate and value [C, F] of the chunk's pairs, and the dropout mask (None without dropout)."""
        count, width = len(first_C), self.sum_C2F.shape[1] // 2
        total, other = self.sum_C2F[:count], self.other_C2F[:count]
        torch.index_select(self.first_X2F, 0, first_C, out=total)
        torch.index_select(self.second_Y2F, 0, second_C, out=other)
        total.add_(other)
        keep = None
        if self.generator is not None:
            keep = other[:, :width].bernoulli_(1 - self.dropout, generator=self.generator).div_(1 - self.dropout)
        gate, value = total[:, :width], total[:, width:]
        return gate, value, keep


def _parts(total: int, chunk: int) -> list[slice]:
    return [slice(start, min(start + chunk, total)) for start in range(0, total, chunk)]


def _differentiate_(activation: str, grad: Tensor, gate: Tensor, active: Tensor) -> None:
    """Multiply `grad` by the activation's derivative at `gate`, in place; `active` is the activation's value."""
    if activation == "relu":
        grad.mul_(gate > 0)
    elif activation == "tanh":
        grad.addcmul_(grad, active.square(), value=-1)
    else:
        grad.copy_(torch.ops.aten.gelu_backward(grad, gate))
