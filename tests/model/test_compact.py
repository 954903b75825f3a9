"""Weights in 8 bits: small files, small errors, nothing else changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.errors import EncoderError
from iter_lightning.model import IterModel
from iter_lightning.model.compact import SCALE, compress, restore
from tests.builders import tiny_model


@given(st.integers(0, 2**31), st.floats(1e-6, 1e6))
def test_restore_rounds_to_half_a_step_of_the_row(seed: int, size: float) -> None:
    weight = torch.randn(64, 80, generator=torch.Generator().manual_seed(seed)) * size
    found = restore(compress({"w": weight}))["w"]
    step = weight.abs().amax(dim=1, keepdim=True) / 127
    assert ((found - weight).abs() <= step * 0.5001).all()


def test_compress_leaves_small_and_whole_tensors() -> None:
    tensors = {"bias": torch.randn(9), "small": torch.randn(8, 8), "ids": torch.arange(8192).reshape(64, 128)}
    assert all(torch.equal(tensors[name], value) for name, value in compress(tensors).items())


def test_restore_zero_rows_stay_zero() -> None:
    weight = torch.zeros(64, 64)
    assert torch.equal(restore(compress({"w": weight}))["w"], weight)


def test_from_pretrained_int8_without_scales_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = tiny_model()
    model.save_pretrained(tmp_path, compact=True)
    tensors = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in tensors if name.endswith(SCALE))
    save_file({name: t for name, t in tensors.items() if name != lost}, tmp_path / "model.safetensors")
    with pytest.raises(EncoderError, match="I8"):
        IterModel.from_pretrained(tmp_path)
