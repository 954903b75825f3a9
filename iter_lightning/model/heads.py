"""The three heads: gated feed-forward networks on positions (IsLeft) and on pairs (IsSpan, IsLink).

H hidden, F inner width, O outputs, X / Y rows of first / second operands, P pairs.
`FFN(x) = (act(x W_a) * (x W_i)) W_o`, no biases, dropout before `W_o` (the gated network of Eq. 4-7).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iter_lightning.cancellation import cancellable
from iter_lightning.errors import ConfigError
from iter_lightning.features.lengths import whole_rows
from iter_lightning.model import streamed
from iter_lightning.model.chunked import ChunkedPairs

_CPU_WORKSPACE = 2**21
"""Bytes of inner layers a CPU walks through at a time where nothing is trained: what its caches hold."""
_GPU_WORKSPACE = 2**28
"""The same on a GPU, which wants large products."""
_GPU_CHUNKS = 32
"""How many times the pair heads' memory a GPU may take where nothing is trained."""

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
        self.inner = 2 * width
        self.special: nn.ModuleList | None = None
        self.w_in = nn.Linear(inputs, 2 * width, bias=False)  # W_a above W_i: one product for both
        self.dropout = nn.Dropout(dropout)
        self.w_out = nn.Linear(width, outputs, bias=False)

    def forward(self, x_XH: Tensor) -> Tensor:
        """Logits [X, O], in float32 at least."""
        if torch.is_grad_enabled() or self.training:
            return self.gate(self.w_in(x_XH))
        x_XH, (project,), w_out = self._streamed(x_XH)
        return _float(streamed.row_logits(x_XH, project, w_out, self.activation, self._rows(x_XH)))

    def specialise(self, make: Callable[[Tensor, None], nn.Module]) -> None:
        """Replace the inner projections by layers that `make` builds of a weight; only inference is left."""
        self.special = nn.ModuleList([make(weight, None) for weight in self._weights()])
        del self.w_in

    def _weights(self) -> tuple[Tensor, ...]:
        """What each operand is projected with, [2F, H]."""
        return (self.w_in.weight,)

    def _streamed(self, x_XH: Tensor) -> tuple[Tensor, list[streamed.Project], Tensor]:
        """The operand, the inner projections and W_o, in the type that products are made in."""
        w_out, device = self.w_out.weight, x_XH.device.type
        # autocast leaves `out=` to the caller
        mixed = self.special is None and device != "meta" and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else w_out.dtype
        projects: list[streamed.Project] = list(self.special or ())
        if self.special is None:
            projects = [partial(F.linear, weight=weight.to(dtype)) for weight in self._weights()]
        return x_XH.to(dtype), projects, w_out.to(dtype)

    def _rows(self, x_XH: Tensor, bound: int = _GPU_WORKSPACE) -> int:
        """Inner layers computed at a time where nothing is trained, in at most `bound` bytes."""
        size = min(bound, _CPU_WORKSPACE) if x_XH.device.type == "cpu" else bound
        return max(16, size // (self.inner * x_XH.element_size()))

    def gate(self, inner_X2F: Tensor) -> Tensor:
        """From both inner projections to logits [X, O], in float32 at least."""
        gate, value = inner_X2F.chunk(2, dim=-1)
        return _float(self.w_out(self.dropout(ACTIVATIONS[self.activation](gate) * value)))


class PairFeedForward(GatedFeedForward):
    """`FFN([x; y])` for many pairs of few operands, without building the concatenations.

    W [x; y] = W_x x + W_y y: each operand is projected once and pairs add by index, in chunks of bounded
    memory. A chunk's inner layer is computed again in the backward pass instead of being kept. Where nothing is
    trained `streamed` does the same in place.

    Args:
        inputs: size of one operand; a pair is twice that.
        memory_mb: bound on the inner layers of one chunk, in MiB.
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, activation: str = "relu", dropout: float = 0.3,
        memory_mb: int = 16,
    ) -> None:  # fmt: skip
        super().__init__(2 * inputs, width, outputs, activation, dropout)
        self.memory = memory_mb * 2**20
        self.chunk = max(1, self.memory // (7 * width * 4))  # what a backward pass holds: 7 inner widths

    def forward(  # type: ignore[override]
        self, first_XH: Tensor, second_YH: Tensor, first_P: Tensor, second_P: Tensor, per_second: int | None = None
    ) -> Tensor:
        """Logits [P, O], in float32 at least, of the pairs (first_XH[first_P], second_YH[second_P]).

        Args:
            first_XH, second_YH: operands.
            first_P, second_P: rows of each pair's operands.
            per_second: if given, second_P counts 0, 1, ... with so many pairs each.
        """
        if not (torch.is_grad_enabled() or self.training):
            return self._stream(first_XH, second_YH, first_P, second_P, per_second)
        w_first, w_second = self._weights()
        first_X2F, second_Y2F = F.linear(first_XH, w_first), F.linear(second_YH, w_second)
        if len(first_P) <= self.chunk:
            return self._pairs(first_X2F, second_Y2F, first_P, second_P)
        logits: Tensor = ChunkedPairs.apply(  # type: ignore[no-untyped-call]
            first_X2F, second_Y2F, self.w_out.weight.to(first_X2F.dtype), first_P, second_P, self.activation,
            self.dropout.p if self.training else 0.0, self.chunk,
        )  # fmt: skip
        return _float(logits)

    def _stream(
        self, first_XH: Tensor, second_YH: Tensor, first_P: Tensor, second_P: Tensor, per_second: int | None
    ) -> Tensor:
        at_once = self._at_once(first_XH)
        if per_second is not None and min(len(first_XH), len(second_YH)) > at_once:
            return torch.cat([
                self._stream(first_XH[some], second_YH[part], first, second_P, per_second)
                for part, some, first in streamed.lefts_of(first_P, per_second, len(second_YH), at_once)
            ])  # fmt: skip
        first_XH, (project_first, project_second), w_out = self._streamed(first_XH)
        first_X2F, second_YH = project_first(first_XH), second_YH.to(first_XH.dtype)
        pairs = self._rows(first_XH, self.memory * (1 if first_XH.device.type == "cpu" else _GPU_CHUNKS))
        if per_second is not None:
            return _float(streamed.right_logits(
                first_X2F, second_YH, project_second, w_out, first_P, per_second, self.activation, pairs
            ))  # fmt: skip
        second_Y2F = project_second(second_YH)
        return _float(streamed.pair_logits(first_X2F, second_Y2F, w_out, first_P, second_P, self.activation, pairs))

    def among(self, vectors_EH: Tensor, first_P: Tensor, second_P: Tensor, row_E: Tensor) -> Tensor:
        """Logits [P, O] of all ordered pairs inside each row, `ordered_pairs`, where nothing is trained.

        On a CPU so many entities are projected at a time that they keep the bound on memory, too.
        """
        at_once = self._at_once(vectors_EH)
        if len(row_E) <= at_once:
            logits: Tensor = self(vectors_EH, vectors_EH, first_P, second_P)
            return logits
        return torch.cat([
            self(vectors_EH[some], vectors_EH[some], first_P[pairs] - some.start, second_P[pairs] - some.start)
            for some, pairs in cancellable(whole_rows(torch.bincount(row_E).tolist(), at_once))
        ])  # fmt: skip

    def _at_once(self, x_XH: Tensor) -> int:
        """Operands projected at a time: on a CPU half the bound's worth, on a GPU, where cutting waits for it, all."""
        if x_XH.device.type != "cpu":
            return len(x_XH)
        return max(16, self.memory // (2 * self.inner * x_XH.element_size()))

    def _weights(self) -> tuple[Tensor, ...]:
        return self.w_in.weight.chunk(2, dim=1)

    def _pairs(self, first_X2F: Tensor, second_Y2F: Tensor, first_P: Tensor, second_P: Tensor) -> Tensor:
        # F.embedding is the gather whose backward pass runs in parallel on every device
        return self.gate(F.embedding(first_P, first_X2F) + F.embedding(second_P, second_Y2F))


def _float(logits: Tensor) -> Tensor:
    """In float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
