"""The factorised, chunked pair head is the concatenated one, to rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from iter_lightning.errors import ConfigError
from iter_lightning.model.brackets import ordered_pairs
from iter_lightning.model.heads import ACTIVATIONS, GatedFeedForward, PairFeedForward

CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-9}


def concatenated(head: GatedFeedForward, x_XH: Tensor) -> Tensor:
    """Eq. 3 as printed: (f(x W_a) * (x W_i)) W_o."""
    w_a, w_i = head.w_in.weight.chunk(2, dim=0)
    return (ACTIVATIONS[head.activation](x_XH @ w_a.T) * (x_XH @ w_i.T)) @ head.w_out.weight.T


def pair_problem(pairs: int = 23, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(pairs)
    first, second = torch.randn(7, 5, dtype=dtype), torch.randn(9, 5, dtype=dtype)
    return first.requires_grad_(), second.requires_grad_(), torch.randint(7, (pairs,)), torch.randint(9, (pairs,))


def pair_head(activation: str = "relu", dropout: float = 0.0, chunk: int | None = None) -> PairFeedForward:
    torch.manual_seed(1)
    head = PairFeedForward(5, 11, 3, activation, dropout).double()
    head.chunk = chunk or head.chunk
    return head


def gradients(head: PairFeedForward, problem: tuple[Tensor, Tensor, Tensor, Tensor], logits: Tensor) -> list[Tensor]:
    weights = torch.randn(logits.shape, dtype=logits.dtype, generator=torch.Generator().manual_seed(2))
    return list(torch.autograd.grad((logits * weights).sum(), [*problem[:2], *head.parameters()]))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gated_feed_forward_is_equation_3(activation: str) -> None:
    torch.manual_seed(0)
    head = GatedFeedForward(5, 11, 3, activation, 0.0).double()
    x_XH = torch.randn(8, 5, dtype=torch.float64)
    torch.testing.assert_close(head(x_XH), concatenated(head, x_XH), **CLOSE)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("pairs", [0, 1, 23])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_pair_feed_forward_is_the_concatenated_one(activation: str, pairs: int, chunk: int | None) -> None:
    head, problem = pair_head(activation, chunk=chunk), pair_problem(pairs)
    first, second, i, j = problem
    logits, expected = head(*problem), concatenated(head, torch.cat([first[i], second[j]], dim=1))
    assert logits.dtype == torch.float64
    torch.testing.assert_close(logits, expected, **CLOSE)
    with torch.no_grad():
        torch.testing.assert_close(head(*problem), expected, **CLOSE)
    for mine, theirs in zip(gradients(head, problem, logits), gradients(head, problem, expected), strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)


@pytest.mark.parametrize("per_second", [1, 3])
@pytest.mark.parametrize("memory", [1, 10**9])
def test_rights_with_their_nearest_lefts_are_any_pairs(per_second: int, memory: int) -> None:
    """Where nothing is trained operands are projected a few at a time, if memory is bounded so."""
    torch.manual_seed(0)
    head = pair_head().eval()
    head.memory = memory
    first, second = torch.randn(120, 5, dtype=torch.float64), torch.randn(300, 5, dtype=torch.float64)
    nearest = (torch.arange(300) * 120 // 300).unsqueeze(1) - torch.arange(per_second)
    first_P, second_P = nearest.clamp(min=0).flatten(), torch.arange(300).repeat_interleave(per_second)
    check(head, first, second, first_P, second_P, per_second)
    every = (torch.arange(300).unsqueeze(1) - torch.arange(per_second)).clamp(min=0).flatten()  # each word is a left
    check(head, torch.randn(300, 5, dtype=torch.float64), second, every, second_P, per_second)


def check(
    head: PairFeedForward, first: Tensor, second: Tensor, first_P: Tensor, second_P: Tensor, per_second: int
) -> None:
    with torch.no_grad():
        found = head(first, second, first_P, second_P, per_second)
    torch.testing.assert_close(found, concatenated(head, torch.cat([first[first_P], second[second_P]], dim=1)), **CLOSE)


@pytest.mark.parametrize("memory", [1, 10**9])
def test_pairs_among_the_entities_of_a_row_are_any_pairs(memory: int) -> None:
    torch.manual_seed(0)
    head = pair_head().eval()
    head.memory = memory
    vectors = torch.randn(61, 5, dtype=torch.float64)
    row_E = torch.tensor([0] * 3 + [2] * 40 + [3] * 10 + [5] * 8)
    first_P, second_P, _ = ordered_pairs(row_E, row_E, 6)
    with torch.no_grad():
        found = head.logits_within_rows(vectors, first_P, second_P, row_E)
    expected = concatenated(head, torch.cat([vectors[first_P], vectors[second_P]], dim=1))
    torch.testing.assert_close(found, expected, **CLOSE)


def test_no_operands_at_all() -> None:
    none, index = torch.empty(0, 5, dtype=torch.float64, requires_grad=True), torch.empty(0, dtype=torch.long)
    logits = pair_head()(none, none, index, index)
    assert logits.shape == (0, 3)
    logits.sum().backward()


def test_memory_bounds_a_chunk() -> None:
    assert PairFeedForward(5, 2**18, 3, memory_mb=1).chunk == 1
    head = PairFeedForward(5, 2**10, 3, memory_mb=64)
    assert head.chunk == 64 * 2**20 // (7 * 2**10 * 4)  # seven float32 inner layers a pair


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_backward_sees_the_forward_passs_dropout(chunk: int) -> None:
    """Chunks are computed twice; the second time must drop what the first time dropped.

    The output weights are linear in the inner layer: sum(logits) = sum(w_out * its gradient) only if both
    passes used one mask.
    """
    head, problem = pair_head(dropout=0.5, chunk=chunk), pair_problem()
    torch.manual_seed(3)
    logits = head(*problem)
    (gradient,) = torch.autograd.grad(logits.sum(), [head.w_out.weight])
    torch.testing.assert_close((gradient * head.w_out.weight).sum(), logits.sum(), **CLOSE)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_dropout_gradients_are_those_of_the_function(chunk: int) -> None:
    """Finite differences of the forward pass under one seed."""
    head, problem = pair_head("tanh", dropout=0.5, chunk=chunk), pair_problem(8)

    def total() -> Tensor:
        torch.manual_seed(4)
        return (head(*problem) ** 2).sum()

    gradient = torch.autograd.grad(total(), [problem[0]])[0]
    direction = torch.randn(gradient.shape, dtype=gradient.dtype, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        problem[0].add_(direction, alpha=1e-6)
    above = total()  # with gradients on: that is the pass whose masks were drawn
    with torch.no_grad():
        problem[0].sub_(direction, alpha=2e-6)
    below = total()
    assert ((above - below) / 2e-6).item() == pytest.approx((gradient * direction).sum().item(), rel=1e-5)


def test_dropout_is_off_in_evaluation() -> None:
    head, problem = pair_head(dropout=0.9).eval(), pair_problem()
    assert torch.equal(head(*problem), head(*problem))
    first, second, i, j = problem
    torch.testing.assert_close(head(*problem), concatenated(head, torch.cat([first[i], second[j]], dim=1)), **CLOSE)


@pytest.mark.parametrize(("dtype", "expected"), [
    (torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float32, torch.float32),
    (torch.float64, torch.float64),
])  # fmt: skip
def test_logits_have_single_precision_at_least(dtype: torch.dtype, expected: torch.dtype) -> None:
    assert GatedFeedForward(5, 11, 3).to(dtype)(torch.ones(2, 5, dtype=dtype)).dtype == expected


@pytest.mark.parametrize("head", [GatedFeedForward, PairFeedForward])
def test_an_unknown_activation_raises(head: type[GatedFeedForward]) -> None:
    with pytest.raises(ConfigError, match="activation: expected one of relu, gelu, tanh, found 'swish'"):
        head(5, 11, 3, "swish")


def test_heads_have_no_biases() -> None:
    assert {name for name, _ in pair_head().named_parameters()} == {"w_in.weight", "w_out.weight"}
