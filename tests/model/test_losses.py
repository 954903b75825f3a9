"""Eq. 10 to 13 as plain loops over positions, M a large number as printed, against the code."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iter_lightning.errors import ConfigError
from iter_lightning.features import EncodedExample, Features
from iter_lightning.model import IterModel
from iter_lightning.model.heads import ACTIVATIONS, GatedFeedForward
from iter_lightning.model.losses import IterLoss, left_loss, link_loss, span_loss
from iter_lightning.types import Example, Schema
from tests.builders import SCHEMA, batch_of, build_example, encode, random_example, tiny_model

M = 1e6
"""Eq. 10 and 11 let M go to infinity; exp(-1e6) is already 0.0 in float64."""


# the equations -------------------------------------------------------------------------------------------------------


def lse(values: Iterable[float]) -> float:
    """Eq. 8."""
    values = list(values)
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def equation_10(gamma: float, alpha: int) -> float:
    return lse([gamma, 0]) - lse([gamma + (1 - alpha) * -M, alpha * -M])


def equation_11(logits: list[float], gold: set[int]) -> float:
    beta = 0 if gold else 1
    pi = lse(logits)
    big_pi = lse(logit + (0 if t in gold else -M) for t, logit in enumerate(logits))
    return lse([pi, 0]) - lse([big_pi + beta * -M, (1 - beta) * -M])


def equation_13(logits: list[float], gold: set[int]) -> float:
    """The sum of mu over the types; printed without the minus sign that makes it a loss."""
    total = 0.0
    for i, logit in enumerate(logits):
        theta = 1 if i in gold else 0
        log_yes, log_no = -lse([0, -logit]), -lse([0, logit])  # log sigma(x), log(1 - sigma(x))
        total += theta * log_yes + (1 - theta) * log_no
    return -total


def closest_lefts(lefts: Iterable[int], m: int, omega: int) -> list[int]:
    """N below Eq. 12."""
    chosen: list[int] = []
    for _ in range(omega):
        left = [j for j in lefts if j <= m and j not in chosen]
        if left:
            chosen.append(max(left))
    return chosen


def ffn(head: GatedFeedForward, *vectors: Tensor) -> list[float]:
    """Eq. 3 on the concatenation of its arguments."""
    x = torch.cat(vectors)
    w_a, w_i = head.w_in.weight.chunk(2, dim=0)
    result: list[float] = (head.w_out.weight @ (ACTIVATIONS[head.activation](w_a @ x) * (w_i @ x))).tolist()
    return result


def loop_loss(model: IterModel, window: Features, h: Tensor) -> tuple[float, float, float]:
    """Eq. 9 for one window, position by position; `h` [N, H] are its hidden states."""
    omega, word = model.config.omega, [*window.word_of_subword, -1]
    text = [n for n in range(len(window)) if word[n] >= 0]
    ends = model.config.respect_word_boundaries
    may_start = [n for n in text if not ends or n == 0 or word[n - 1] != word[n]]
    may_end = [m for m in text if not ends or word[m + 1] != word[m]]

    left = sum(equation_10(ffn(model.is_left, h[n])[0], int(n in window.lefts)) for n in may_start)

    typed: dict[tuple[int, int], set[int]] = {}
    for row, kind in window.span_types:
        typed.setdefault(window.spans[row], set()).add(kind)
    span, candidates = 0.0, []
    for m in may_end:
        for n in closest_lefts(window.lefts, m, omega):
            candidates.append((n, m))
            span += equation_11(ffn(model.is_span, h[n], h[m]), typed.get((n, m), set()))
    assert set(window.spans) <= set(candidates)

    linked: dict[tuple[tuple[int, int], tuple[int, int]], set[int]] = {}
    for head, tail, kind in window.links:
        linked.setdefault((window.spans[head], window.spans[tail]), set()).add(kind)
        schema = model.config.schema
        if model.config.inverse_links and schema.relation_types[kind] not in schema.symmetric:
            inverse = len(schema.relation_types) + kind
            linked.setdefault((window.spans[tail], window.spans[head]), set()).add(inverse)
    link = 0.0
    if model.is_link is not None:
        for i in window.spans if model.config.link_pairs == "entities" else candidates:
            for j in window.spans:
                if i == j and not model.config.self_links:
                    continue
                ends_of = [h[i[1]], h[j[1]]] if omega == 1 else [h[i[0]], h[i[1]], h[j[0]], h[j[1]]]
                link += equation_13(ffn(model.is_link, *ends_of), linked.get((i, j), set()))
    return left, span, link


# the functions -------------------------------------------------------------------------------------------------------

logits = st.floats(-30, 30)


@given(st.lists(st.tuples(logits, st.booleans()), max_size=20))
def test_left_loss(rows: list[tuple[float, bool]]) -> None:
    values = torch.tensor([x for x, _ in rows], dtype=torch.float64)
    gold = torch.tensor([y for _, y in rows], dtype=torch.bool)
    assert left_loss(values, gold).item() == pytest.approx(sum(equation_10(x, int(y)) for x, y in rows), abs=1e-9)


@given(st.lists(st.tuples(st.lists(logits, min_size=3, max_size=3), st.sets(st.integers(0, 2)), st.booleans())))
def test_span_loss(rows: list[tuple[list[float], set[int], bool]]) -> None:
    values = torch.tensor([x for x, _, _ in rows], dtype=torch.float64).reshape(-1, 3).requires_grad_()
    gold = torch.tensor([[t in g for t in range(3)] for _, g, _ in rows], dtype=torch.bool).reshape(-1, 3)
    valid = torch.tensor([v for _, _, v in rows], dtype=torch.bool)
    loss = span_loss(values, gold, valid)
    assert loss.item() == pytest.approx(sum(equation_11(x, g) for x, g, v in rows if v), abs=1e-9)
    (gradient,) = torch.autograd.grad(loss, values)
    assert gradient.isfinite().all()
    assert not gradient[~valid].any()
    # d loss / d logit = p(t) - p(t | a gold type), the softmax over types and "none"
    everything = torch.cat([values, torch.zeros(len(rows), 1, dtype=torch.float64)], 1).softmax(1)[:, :-1]
    right = values.masked_fill(~gold, -torch.inf).softmax(1).nan_to_num()
    torch.testing.assert_close(gradient, (everything - right) * valid[:, None], rtol=0, atol=1e-9)


@given(st.lists(st.tuples(st.lists(logits, min_size=2, max_size=2), st.sets(st.integers(0, 1)))))
def test_link_loss(rows: list[tuple[list[float], set[int]]]) -> None:
    values = torch.tensor([x for x, _ in rows], dtype=torch.float64).reshape(-1, 2)
    gold = torch.tensor([[t in g for t in range(2)] for _, g in rows], dtype=torch.bool).reshape(-1, 2)
    assert link_loss(values, gold).item() == pytest.approx(sum(equation_13(x, g) for x, g in rows), abs=1e-9)


def test_total_and_scaled() -> None:
    loss = IterLoss(torch.tensor(1.0), torch.tensor(2.0), torch.tensor(4.0))
    assert loss.total == 7
    assert loss.scaled(0.5).total == 3.5


# the whole forward pass ----------------------------------------------------------------------------------------------


def double_model(**options: Any) -> IterModel:
    """A tiny BERT in float64 whose wide random heads give logits of some size."""
    options = {"dropout": 0.0, "left_width": 8, "pair_width": 8, "activation": "gelu", **options}
    model = tiny_model("bert", **options).double()
    with torch.no_grad():
        for head in (model.is_left, model.is_span, model.is_link):
            for weight in head.parameters() if head is not None else ():
                weight.mul_(3)
    return model


def assert_equal_to_loops(model: IterModel, encoded: list[EncodedExample]) -> None:
    batch = batch_of(encoded, 0, model.config.respect_word_boundaries)
    loss = model(batch)
    hidden_BNH = model.encode(batch).view(*batch.input_ids_BN.shape, -1)
    rows = [loop_loss(model, e.windows[n], h) for (e, n), h in zip(batch.windows, hidden_BNH, strict=True)]
    scale = len(batch) if model.config.loss_reduction == "batch_mean" else 1
    for name, total in zip(("left", "span", "link"), map(sum, zip(*rows, strict=True)), strict=True):
        value = getattr(loss, name)
        assert value.dtype == torch.float64
        assert value.item() == pytest.approx(total / scale, rel=1e-11, abs=1e-9), name
    loss.total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("omega", [1, 2, 3, 4])
@pytest.mark.parametrize("link_pairs", ["entities", "positions"])
@pytest.mark.parametrize("loss_reduction", ["sum", "batch_mean"])
@pytest.mark.parametrize("respect_word_boundaries", [True, False])
def test_forward_is_the_equations(
    omega: int, link_pairs: str, loss_reduction: str, respect_word_boundaries: bool
) -> None:
    model = double_model(
        omega=omega, link_pairs=link_pairs, loss_reduction=loss_reduction,
        respect_word_boundaries=respect_word_boundaries,
    )  # fmt: skip
    rng = random.Random(omega)
    gold = [
        random_example(rng, words=9, entities=6, one_type_a_span=False, vocabulary=("London", "Ulan-Bator")),
        Example(()),
        random_example(rng, words=6, entities=0),
        random_example(rng, words=1, entities=2, one_type_a_span=False),
        random_example(rng, words=14, entities=5, longest=3),
    ]
    encoded = encode(gold, omega, 512)
    assert sum(len(w.links) for e in encoded for w in e.windows) > 2
    assert_equal_to_loops(model, encoded)


@pytest.mark.parametrize("omega", [1, 3])
@pytest.mark.parametrize("link_pairs", ["entities", "positions"])
@pytest.mark.parametrize("inverse_links", [False, True])
@pytest.mark.parametrize("respect_word_boundaries", [True, False])
def test_forward_without_self_links_leaves_out_pairs_of_a_span_with_itself(
    omega: int, link_pairs: str, inverse_links: bool, respect_word_boundaries: bool
) -> None:
    model = double_model(
        omega=omega, link_pairs=link_pairs, inverse_links=inverse_links, self_links=False,
        respect_word_boundaries=respect_word_boundaries,
    )  # fmt: skip
    rng = random.Random(omega)
    gold = [
        random_example(rng, words=9, entities=6, relations=9, vocabulary=("London", "Ulan-Bator")),
        Example(()),
        random_example(rng, words=3, entities=1),  # no pair at all
        random_example(rng, words=14, entities=5, relations=9, longest=3),
    ]
    encoded = encode(gold, omega)  # as if the gold had self-links that training never saw
    assert any(head == tail for e in encoded for w in e.windows for head, tail, _ in w.links)
    assert_equal_to_loops(model, encoded)
    assert_equal_to_loops(model, model.aligner().encode(gold))


@pytest.mark.parametrize("words", [0, 1, 510])
@pytest.mark.parametrize("omega", [1, 4])
@pytest.mark.parametrize("entities", [0, 12])
def test_forward_on_extreme_lengths(words: int, omega: int, entities: int) -> None:
    model = double_model(omega=omega, link_pairs="positions" if words < 510 else "entities")
    gold = random_example(random.Random(0), words=words, entities=entities)
    encoded = encode([gold], omega, 512)
    assert len(encoded[0].windows[0]) == max(words + 2, 3)
    assert_equal_to_loops(model, encoded)


def test_forward_on_windows() -> None:
    """Every window of a long text is a row of its own."""
    encoded = encode([random_example(random.Random(3), words=40, entities=14, relations=20)], 2, 16, 6)
    assert len(encoded[0].windows) > 2
    assert_equal_to_loops(double_model(omega=2), encoded)


def test_a_batch_of_a_larger_omega_is_refused() -> None:
    nested = build_example(["a", "b", "c"], [(0, 3, "Loc"), (1, 3, "Org")])
    encoded = tiny_model("bert", omega=2).aligner().encode([nested])
    flat = tiny_model("bert", omega=1)
    with pytest.raises(ConfigError, match="encoded for omega 2, the model pairs 1 lefts"):
        flat(flat.collate([(encoded[0], 0)]))


def test_forward_without_relation_types() -> None:
    schema = Schema(("Loc", "Per"))
    encoded = encode([random_example(random.Random(3), schema, relations=0)], 2, schema=schema)
    model = double_model(omega=2, schema=schema)
    assert model.is_link is None
    assert_equal_to_loops(model, encoded)


@pytest.mark.parametrize("link_pairs", ["entities", "positions"])
def test_padding_and_company_do_not_matter(link_pairs: str) -> None:
    model = double_model(omega=2, link_pairs=link_pairs)
    rng = random.Random(1)
    encoded = encode([random_example(rng, words=rng.choice([0, 1, 5, 20]), id=str(i)) for i in range(6)], 2)
    together = model(batch_of(encoded))
    alone = [model(batch_of([e])) for e in encoded]
    backwards = model(batch_of(encoded[::-1]))
    for name in ("left", "span", "link"):
        expected = getattr(together, name).item()
        assert sum(getattr(one, name).item() for one in alone) == pytest.approx(expected, abs=1e-9)
        assert getattr(backwards, name).item() == pytest.approx(expected, abs=1e-9)


def test_chunks_of_pairs_do_not_matter() -> None:
    model = double_model(omega=3, link_pairs="positions")
    encoded = encode([random_example(random.Random(i), words=9) for i in range(3)], 3)
    results = []
    for chunk in (10**6, 7):
        model.is_span.chunk = model.is_link.chunk = chunk  # type: ignore[union-attr]
        model.zero_grad()
        loss = model(batch_of(encoded)).total
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("omega", [1, 3])
@pytest.mark.parametrize("link_pairs", ["entities", "positions"])
@pytest.mark.parametrize("symmetric", [(), SCHEMA.symmetric, SCHEMA.relation_types])
def test_inverse_links_are_trained_in_both_readings(omega: int, link_pairs: str, symmetric: tuple[str, ...]) -> None:
    schema = Schema(SCHEMA.entity_types, SCHEMA.relation_types, symmetric)
    model = double_model(omega=omega, link_pairs=link_pairs, schema=schema, inverse_links=True)
    assert model.is_link is not None
    assert model.is_link.w_out.out_features == 2 * len(schema.relation_types)
    rng = random.Random(omega)
    gold = [random_example(rng, words=n, entities=n // 2, relations=8, longest=3) for n in (9, 0, 14)]
    encoded = encode(gold, omega, schema=schema)
    assert sum(len(w.links) for e in encoded for w in e.windows) > 8
    assert_equal_to_loops(model, encoded)


def test_a_link_is_learned_from_tail_to_head() -> None:
    """The gradient of the one gold link: both of its logits, and no other, are to rise."""
    gold = build_example(("Ada", "her", "London"), [(0, 1, "Per"), (1, 2, "Per"), (2, 3, "Loc")], [(0, 2, "LiveIn")])
    model, wanted = double_model(inverse_links=True), SCHEMA.relation_types.index("LiveIn")
    rises: list[tuple[int, int]] = []
    assert model.is_link is not None

    def look(module: object, arguments: object, logits: Tensor) -> None:
        logits.register_hook(lambda gradient: rises.extend(map(tuple, (gradient < 0).nonzero().tolist())))

    model.is_link.register_forward_hook(look)
    model(batch_of(encode([gold]))).total.backward()
    assert rises == [(0 * 3 + 2, wanted), (2 * 3 + 0, len(SCHEMA.relation_types) + wanted)]


@pytest.mark.parametrize(("kind", "directions"), [("Near", [(0, 1), (1, 0)]), ("LiveIn", [(0, 1)])])
def test_symmetric_links_are_trained_in_both_directions(kind: str, directions: list[tuple[int, int]]) -> None:
    gold = build_example(("Ada", "her"), [(0, 1, "Per"), (1, 2, "Per")], [(0, 1, kind)])
    links = batch_of(encode([gold])).gold_links_K3.tolist()
    assert links == [[head, tail, SCHEMA.relation_types.index(kind)] for head, tail in directions]
