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
from iter_lightning.model.label_layers import LabelLinear

_CPU_WORKSPACE = 2**21
"""Bytes of inner layers that inference computes at a time on a CPU, so that they fit into its caches."""
_GPU_WORKSPACE = 2**28
"""The same on a GPU, which is faster with large products."""
_GPU_CHUNKS = 32
"""Factor on the pair heads' memory limit for inference on a GPU."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "tanh": torch.tanh}
"""Name -> function; the search space of Appendix D."""


class GatedFeedForward(nn.Module):
    """Apply `FFN` to single vectors.

    Args:
        inputs: size of x.
        width: size of the inner layer.
        outputs: number of logits.
        activation: relu, gelu or tanh.
        dropout: dropout probability before the output projection.
        bias: whether the output projection has a bias, as those of open models do.

    Raises:
        ConfigError: `activation` has another value.
    """

    w_out: nn.Linear | LabelLinear

    def __init__(
        self, inputs: int, width: int, outputs: int, activation: str = "relu", dropout: float = 0.3, bias: bool = False
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(f"activation: expected one of {', '.join(ACTIVATIONS)}, found {activation!r}")
        self.activation = activation
        self.inner = 2 * width
        self.replaced_projections: nn.ModuleList | None = None
        self.w_in = nn.Linear(inputs, 2 * width, bias=False)  # W_a and W_i stacked: one product for both
        self.dropout = nn.Dropout(dropout)
        self.w_out = nn.Linear(width, outputs, bias=bias)

    def forward(self, x_XH: Tensor) -> Tensor:
        """Compute logits [X, O], in float32 or wider."""
        if torch.is_grad_enabled() or self.training:
            return self.gate(self.w_in(x_XH))
        x_XH, (project,), w_out = self._streamed(x_XH)
        return self._biased(streamed.row_logits(x_XH, project, w_out, self.activation, self._rows(x_XH)))

    def _biased(self, logits: Tensor) -> Tensor:
        """Add the bias to products that were computed without it, in float32 or wider."""
        return _float(logits) if self.w_out.bias is None else _float(logits) + self.w_out.bias

    def replace_projections(self, make: Callable[[Tensor, None], nn.Module]) -> None:
        """Replace the inner projections by layers that `make` builds from each weight; training is then impossible."""
        self.replaced_projections = nn.ModuleList([make(weight, None) for weight in self._weights()])
        del self.w_in

    def _weights(self) -> tuple[Tensor, ...]:
        """Return the projection weight [2F, H] of each operand."""
        return (self.w_in.weight,)

    def _streamed(self, x_XH: Tensor) -> tuple[Tensor, list[streamed.Project], Tensor]:
        """Return the operand, the inner projections and W_o, all in the type that products are computed in."""
        w_out, device = self.w_out.weight, x_XH.device.type
        # autocast does not cast products with `out=`
        mixed = self.replaced_projections is None and device != "meta" and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else w_out.dtype
        projects: list[streamed.Project] = list(self.replaced_projections or ())
        if self.replaced_projections is None:
            projects = [partial(F.linear, weight=weight.to(dtype)) for weight in self._weights()]
        return x_XH.to(dtype), projects, w_out.to(dtype)

    def _rows(self, x_XH: Tensor, bound: int = _GPU_WORKSPACE) -> int:
        """Return how many inner layers inference computes at a time, in at most `bound` bytes."""
        size = min(bound, _CPU_WORKSPACE) if x_XH.device.type == "cpu" else bound
        return max(16, size // (self.inner * x_XH.element_size()))

    def gate(self, inner_X2F: Tensor) -> Tensor:
        """Compute logits [X, O] from both inner projections, in float32 or wider."""
        gate, value = inner_X2F.chunk(2, dim=-1)
        return _float(self.w_out(self.dropout(ACTIVATIONS[self.activation](gate) * value)))


class PairFeedForward(GatedFeedForward):
    """Apply `FFN([x; y])` to many pairs of few operands, without building the concatenations.

    W [x; y] = W_x x + W_y y: each operand is projected once, and the projections of a pair are added. Pairs are
    computed in chunks, so that memory is bounded. In training, a chunk's inner layer is computed again in the backward
    pass instead of being kept (`chunked`). In inference, it is computed in place (`streamed`).

    Args:
        inputs: size of one operand; a pair has twice this size.
        width: size of the inner layer.
        outputs: number of logits.
        activation: relu, gelu or tanh.
        dropout: dropout probability before the output projection.
        bias: see `GatedFeedForward`.
        memory_mb: upper limit in MiB for the inner layers of one chunk.
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, activation: str = "relu", dropout: float = 0.3,
        bias: bool = False, memory_mb: int = 16,
    ) -> None:  # fmt: skip
        super().__init__(2 * inputs, width, outputs, activation, dropout, bias)
        self.memory = memory_mb * 2**20
        self.chunk = max(1, self.memory // (7 * width * 4))  # a backward pass keeps 7 inner widths per pair

    def forward(  # type: ignore[override]
        self, first_XH: Tensor, second_YH: Tensor, first_P: Tensor, second_P: Tensor, per_second: int | None = None
    ) -> Tensor:
        """Compute the logits of the pairs (first_XH[first_P], second_YH[second_P]).

        Args:
            first_XH: first operands.
            second_YH: second operands.
            first_P: index of each pair's first operand.
            second_P: index of each pair's second operand.
            per_second: if given, second_P is 0, 1, ..., each repeated this many times.

        Returns:
            [P, O], in float32 or wider.
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
        return self._biased(logits)

    def _stream(
        self, first_XH: Tensor, second_YH: Tensor, first_P: Tensor, second_P: Tensor, per_second: int | None
    ) -> Tensor:
        """Compute `forward` without gradients, in bounded memory."""
        # On a CPU, split many operands into portions: some rights at a time, with the lefts that they pair with.
        at_once = self._at_once(first_XH)
        if per_second is not None and min(len(first_XH), len(second_YH)) > at_once:
            return torch.cat([
                self._stream(first_XH[some], second_YH[part], first, second_P, per_second)
                for part, some, first in streamed.lefts_of(first_P, per_second, len(second_YH), at_once)
            ])  # fmt: skip

        # Project the first operands at once, since few are lefts.
        first_XH, (project_first, project_second), w_out = self._streamed(first_XH)
        first_X2F, second_YH = project_first(first_XH), second_YH.to(first_XH.dtype)
        pairs = self._rows(first_XH, self.memory * (1 if first_XH.device.type == "cpu" else _GPU_CHUNKS))

        # IsSpan: pairs are ordered by right, so each right is projected when it is needed.
        if per_second is not None:
            return self._biased(streamed.right_logits(
                first_X2F, second_YH, project_second, w_out, first_P, per_second, self.activation, pairs
            ))  # fmt: skip

        # IsLink: pairs are in any order, so the second operands are projected at once, too.
        second_Y2F = project_second(second_YH)
        return self._biased(
            streamed.pair_logits(first_X2F, second_Y2F, w_out, first_P, second_P, self.activation, pairs)
        )

    def logits_within_rows(self, vectors_EH: Tensor, first_P: Tensor, second_P: Tensor, row_E: Tensor) -> Tensor:
        """Compute the logits of all ordered pairs inside each row, without gradients.

        On a CPU, the rows are split into portions, so that the projected entities respect the memory limit, too.

        Args:
            vectors_EH: the vector of each entity.
            first_P: index of each pair's first entity; see `brackets.ordered_pairs`.
            second_P: index of each pair's second entity.
            row_E: row of each entity, ascending.

        Returns:
            [P, O], in float32 or wider.
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
        """Return how many operands are projected at a time.

        On a CPU they take half the memory limit. On a GPU it is all of them, because splitting would wait for the GPU.
        """
        if x_XH.device.type != "cpu":
            return len(x_XH)
        return max(16, self.memory // (2 * self.inner * x_XH.element_size()))

    def _weights(self) -> tuple[Tensor, ...]:
        return self.w_in.weight.chunk(2, dim=1)

    def _pairs(self, first_X2F: Tensor, second_Y2F: Tensor, first_P: Tensor, second_P: Tensor) -> Tensor:
        # F.embedding gathers rows, and its backward pass runs in parallel on every device
        return self.gate(F.embedding(first_P, first_X2F) + F.embedding(second_P, second_Y2F))


def _float(logits: Tensor) -> Tensor:
    """Convert logits to float32 unless their type is wider."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
