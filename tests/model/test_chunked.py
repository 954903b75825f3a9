"""Chunks of pairs: what they add up to in half precision, and when they are computed twice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from iter_lightning.model.chunked import ChunkedPairs
from iter_lightning.model.heads import PairFeedForward

HIDDEN, WIDTH, OUTPUTS, ENTITIES, PAIRS = 16, 48, 5, 20, 6000


def operands(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Both projected operands, the output weights, the pairs, and the logits' gradients."""
    torch.manual_seed(0)
    first, second = torch.randn(ENTITIES, 2 * WIDTH), torch.randn(ENTITIES, 2 * WIDTH)
    w_out, grad = torch.randn(OUTPUTS, WIDTH) / 7, torch.randn(PAIRS, OUTPUTS)
    i, j = torch.randint(ENTITIES, (2, PAIRS))
    return first.to(dtype), second.to(dtype), w_out.to(dtype), i, j, grad.to(dtype)


def gradients(
    first: Tensor, second: Tensor, w_out: Tensor, i: Tensor, j: Tensor, grad: Tensor, chunk: int
) -> tuple[Tensor, ...]:
    leaves = [tensor.clone().requires_grad_() for tensor in (first, second, w_out)]
    logits = ChunkedPairs.apply(*leaves, i, j, "relu", 0.0, chunk)  # type: ignore[no-untyped-call]
    return torch.autograd.grad(logits, leaves, grad)


def exact_sums(first: Tensor, second: Tensor, w_out: Tensor, i: Tensor, j: Tensor, grad: Tensor) -> list[Tensor]:
    """The gradients of single pairs as they are, added up in float64."""
    own = torch.arange(len(i))
    of_pairs = gradients(first[i], second[j], w_out, own, own, grad, PAIRS)
    gate, value = (first[i] + second[j]).chunk(2, dim=1)
    return [
        torch.zeros_like(first, dtype=torch.float64).index_add_(0, i, of_pairs[0].double()),
        torch.zeros_like(second, dtype=torch.float64).index_add_(0, j, of_pairs[1].double()),
        grad.double().T @ (gate.relu() * value).double(),
    ]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("chunk", [7, 500, PAIRS])
def test_sums_of_gradients_are_rounded_once(dtype: torch.dtype, chunk: int) -> None:
    problem = operands(dtype)
    for found, exact in zip(gradients(*problem, chunk), exact_sums(*problem), strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), exact, rtol=torch.finfo(dtype).eps, atol=2e-3)


@pytest.mark.parametrize("chunk", [7, 500])
def test_chunks_under_autocast_are_no_worse_than_one_piece(chunk: int) -> None:
    def run(pairs_at_once: int, half: bool) -> list[Tensor]:
        torch.manual_seed(1)
        head = PairFeedForward(HIDDEN, WIDTH, OUTPUTS, dropout=0.0)
        head.chunk = pairs_at_once
        x, y = torch.randn(ENTITIES, HIDDEN).requires_grad_(), torch.randn(ENTITIES, HIDDEN).requires_grad_()
        i, j = torch.randint(ENTITIES, (2, PAIRS))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = head(x, y, i, j)
        loss = (logits * torch.randn(logits.shape)).sum()
        return list(torch.autograd.grad(loss, [x, y, *head.parameters()]))

    exact, whole, parts = run(PAIRS, half=False), run(PAIRS, half=True), run(chunk, half=True)
    for right, one, many in zip(exact, whole, parts, strict=True):
        assert many.dtype == right.dtype
        assert (many - right).norm() <= 1.05 * (one - right).norm()
        assert (many - right).norm() < 0.05 * right.norm()


@pytest.mark.parametrize(("memory_mb", "again"), [(1, True), (64, False)])
def test_what_fits_the_bound_is_kept_and_not_computed_again(memory_mb: int, again: bool) -> None:
    head = PairFeedForward(HIDDEN, WIDTH, OUTPUTS, memory_mb=memory_mb)
    x, (i, j) = torch.randn(ENTITIES, HIDDEN), torch.randint(ENTITIES, (2, PAIRS))
    graph, nodes = [head(x, x, i, j).grad_fn], set()
    while graph:
        if (node := graph.pop()) is not None:
            nodes.add(node.name())
            graph += [parent for parent, _ in node.next_functions]
    assert ("ChunkedPairsBackward" in nodes) == again
