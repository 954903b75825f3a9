"""The three heads: gated feed-forward networks on positions (IsLeft) and on pairs (IsSpan, IsLink).

H hidden, F inner width, O outputs, X / Y rows of first / second operands, P pairs.
`FFN(x) = (act(x W_a) * (x W_i)) W_o`, no biases, dropout before `W_o` (the gated network of Eq. 4-7).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iter_lightning.errors import ConfigError
from iter_lightning.model.chunked import ChunkedPairs

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "tanh": torch.tanh}
"""The search space of Appendix D."""


class GatedFeedForward(nn.Module):
    """`FFN` on single vectors.

    Args:
        inputs, width, outputs: sizes of x, of the inner layer, and of the logits.
        activation: relu, gelu or tanh.
        dropout: probability, before the output projection.
    """

    def __init__(self, inputs: int, width: int, outputs: int, activation: str = "relu", dropout: float = 0.3) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(f"activation {activation!r} is none of {', '.join(ACTIVATIONS)}")
        self.activation = activation
        self.w_in = nn.Linear(inputs, 2 * width, bias=False)  # W_a above W_i: one product for both
        self.dropout = nn.Dropout(dropout)
        self.w_out = nn.Linear(width, outputs, bias=False)

    def forward(self, x_XH: Tensor) -> Tensor:
        """Logits [X, O], in float32 at least."""
        return self.gate(self.w_in(x_XH))

    def gate(self, inner_X2F: Tensor) -> Tensor:
        """From both inner projections to logits [X, O], in float32 at least."""
        gate, value = inner_X2F.chunk(2, dim=-1)
        logits: Tensor = self.w_out(self.dropout(ACTIVATIONS[self.activation](gate) * value))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


class PairFeedForward(GatedFeedForward):
    """`FFN([x; y])` for many pairs of few operands, without building the concatenations.

    W [x; y] = W_x x + W_y y: each operand is projected once and pairs add by index, in chunks of bounded
    memory. A chunk's inner layer is computed again in the backward pass instead of being kept.

    Args:
        inputs: size of one operand; a pair is twice that.
        memory_mb: bound on the inner layers of one chunk, in MiB.
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, activation: str = "relu", dropout: float = 0.3,
        memory_mb: int = 16,
    ) -> None:  # fmt: skip
        super().__init__(2 * inputs, width, outputs, activation, dropout)
        self.chunk = max(1, memory_mb * 2**20 // (7 * width * 4))  # what a backward pass holds: 7 inner widths

    def forward(self, first_XH: Tensor, second_YH: Tensor, first_P: Tensor, second_P: Tensor) -> Tensor:  # type: ignore[override]
        """Logits [P, O], in float32 at least, of the pairs (first_XH[first_P], second_YH[second_P])."""
        w_first, w_second = self.w_in.weight.chunk(2, dim=1)
        first_X2F, second_Y2F = F.linear(first_XH, w_first), F.linear(second_YH, w_second)
        if len(first_P) <= self.chunk:
            return self._pairs(first_X2F, second_Y2F, first_P, second_P)
        # also where nothing is trained: its one workspace does not fragment the heap as a list of chunks does
        logits: Tensor = ChunkedPairs.apply(  # type: ignore[no-untyped-call]
            first_X2F, second_Y2F, self.w_out.weight.to(first_X2F.dtype), first_P, second_P, self.activation,
            self.dropout.p if self.training else 0.0, self.chunk,
        )  # fmt: skip
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _pairs(self, first_X2F: Tensor, second_Y2F: Tensor, first_P: Tensor, second_P: Tensor) -> Tensor:
        # F.embedding is the gather whose backward pass runs in parallel on every device
        return self.gate(F.embedding(first_P, first_X2F) + F.embedding(second_P, second_Y2F))
