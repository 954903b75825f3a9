"""Packed windows are padded ones, to rounding, in every family that can be packed, trained or not."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PretrainedConfig

from iter_lightning.features import Batch
from iter_lightning.model import IterModel, packing
from iter_lightning.model.families import family_of
from iter_lightning.types import Example
from tests.builders import COMMON, FAMILIES, assert_close, random_example, tiny_model

PACKED = ["t5", "flan_t5", "bert", "roberta", "albert", "modernbert"]
PADDED = ["bart", "deberta_v2", "deberta_v3"]
MIXED = [60, 3, 3, 41, 1, 12, 12, 12, 30]
"""Words; runs of equal length, a window longer than ModernBERT's local attention, one of a single word."""


def sentences(lengths: list[int]) -> list[Example]:
    rng = random.Random(0)
    return [Example(tuple(rng.choice(COMMON) for _ in range(n))) for n in lengths]


def batch_of(model: IterModel, lengths: list[int]) -> Batch:
    return model.collate([(encoded, 0) for encoded in model.aligner().encode(sentences(lengths))])


def padded(model: IterModel, batch: Batch) -> torch.Tensor:
    return model.encoder(input_ids=batch.input_ids_BN, attention_mask=batch.mask_BN.long()).last_hidden_state.flatten(
        0, 1
    )


def test_every_family_is_one_or_the_other() -> None:
    assert sorted(PACKED + PADDED) == sorted(FAMILIES)
    assert [f for f in FAMILIES if packing.can_pack(tiny_model(f).encoder.config)] == [
        f for f in FAMILIES if f in PACKED
    ]


@pytest.mark.parametrize("family", PACKED)
@pytest.mark.parametrize("way", ["varlen", "rows"])
def test_packed_hidden_states_are_the_padded_ones(family: str, way: str) -> None:
    model = tiny_model(family)
    if not getattr(family_of(model.encoder.config), f"packs_{way}"):
        assert packing.packing_strategy(model.encoder, torch.device("cpu")) != way
        return
    batch = batch_of(model, MIXED)
    with torch.no_grad():
        packed = packing.encode_packed(model.encoder, way, batch.input_ids_BN, batch.lengths)
        torch.testing.assert_close(packed, padded(model, batch)[batch.filled_slots_F], rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", PACKED)
def test_encode_leaves_padding_out(family: str) -> None:
    model = tiny_model(family)
    seen: list[int] = []
    model.encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    batch = batch_of(model, MIXED)
    with torch.no_grad():
        hidden_SH = model.encode(batch)
        assert sum(seen) < 0.6 * batch.input_ids_BN.numel()
        model.packing = False
        expected_SH = model.encode(batch)
    assert seen[-1] == batch.input_ids_BN.numel()
    torch.testing.assert_close(hidden_SH[batch.filled_slots_F], expected_SH[batch.filled_slots_F], rtol=0, atol=2e-5)
    empty = torch.ones(len(hidden_SH), dtype=torch.bool)
    empty[batch.filled_slots_F] = False
    assert not hidden_SH[empty].any()


@pytest.mark.parametrize("family", PACKED)
def test_packed_training_has_the_padded_gradients(family: str) -> None:
    """Without dropout, whose draws differ."""
    model = tiny_model(family, dropout=0.0)
    gold = [random_example(random.Random(i), words=n, id=str(i)) for i, n in enumerate(MIXED)]
    batch = model.collate([(encoded, 0) for encoded in model.aligner().encode(gold)])
    gradients = []
    for pack in (False, True):
        model.packing = pack
        model.zero_grad()
        model(batch).total.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(gradients[1][name], expected, rtol=0, atol=1e-4 * max(scale, 1), msg=name)


@pytest.mark.parametrize("family", [*PACKED, *PADDED])
def test_predictions_do_not_depend_on_packing(family: str) -> None:
    model, texts = tiny_model(family), sentences(MIXED)
    model.packing = False
    expected = model.predict(texts)
    model.packing = None
    assert_close(model.predict(texts), expected)


def test_attention_dropout_draws_in_packed_training() -> None:
    model = tiny_model("bert").train()
    model.packing = True
    batch = batch_of(model, MIXED)
    assert not torch.equal(model.encode(batch), model.encode(batch))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_windows_share_rows_without_overlap(lengths: list[int]) -> None:
    width = max(lengths)
    rows, firsts, count = packing.share_rows(lengths, width)
    taken = [[False] * width for _ in range(count)]
    for length, row, first in zip(lengths, rows, firsts, strict=True):
        assert not any(taken[row][first : first + length])
        assert first + length <= width
        taken[row][first : first + length] = [True] * length
    assert all(any(row) for row in taken)
    assert sum(sum(row) <= width // 2 for row in taken) <= 1  # first fit leaves at most one row half empty


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 120))
def test_portions_cover_all_windows_within_the_limit(sizes: list[int], limit: int) -> None:
    parts = packing.portions(sizes, limit)
    assert [place for part in parts for place in range(part.start, part.stop)] == list(range(len(sizes)))
    assert all(sum(sizes[part]) <= limit or part.stop - part.start == 1 for part in parts)


@pytest.mark.parametrize("reach", [-1, 3])
def test_flash_attention_is_called_with_windows_as_it_wants_them(reach: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU here: a stand-in for torch's kernel checks layout and borders, and mixes as `_windows` must."""
    lengths = [5, 5, 2, 9]
    query, key, value = torch.randn(3, 1, 4, sum(lengths), 8).unbind()

    def varlen_attn(q, k, v, cu_q, cu_k, max_q, max_k, *, scale, window_size):  # type: ignore[no-untyped-def]
        assert q.shape == (sum(lengths), 4, 8)
        assert cu_q.tolist() == cu_k.tolist() == [0, 5, 10, 12, 21]
        assert cu_q.dtype == torch.int32
        assert (max_q, max_k, window_size) == (9, 9, (reach, reach))
        mixed = torch.empty_like(q)
        for start, end in zip(cu_q.tolist(), cu_q.tolist()[1:], strict=False):
            for i in range(start, end):
                near = [j for j in range(start, end) if reach < 0 or abs(i - j) <= reach]
                weights = (torch.einsum("hd,khd->hk", q[i], k[near]) * scale).softmax(dim=1)
                mixed[i] = torch.einsum("hk,khd->hd", weights, v[near])
        return mixed

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    ends = torch.tensor([0, 5, 10, 12, 21], dtype=torch.int32)
    flash = packing._flash(query, key, value, ends, 9, 0.3, reach)
    torch.testing.assert_close(flash, packing._windows(query, key, value, lengths, 0.3, reach), rtol=0, atol=1e-5)


def test_encoder_whose_attention_has_no_name_is_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("bert")
    monkeypatch.delattr(PretrainedConfig, "_attn_implementation")
    assert packing.packing_strategy(model.encoder, torch.device("cpu")) is None
