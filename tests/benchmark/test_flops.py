from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from iter_lightning.benchmark.flops import encoder_flops, head_flops, matmul_peak
from iter_lightning.benchmark.stages import HeadWork
from iter_lightning.model.encoder import build_encoder
from tests.builders import tiny_config, tiny_model


@pytest.mark.parametrize("family", ["bert", "roberta", "t5", "flan_t5", "modernbert"])
def test_encoder_formula_is_what_torch_counts(family: str) -> None:
    config = tiny_config(family)
    encoder = build_encoder(config).eval()
    encoder.set_attn_implementation("eager")  # type: ignore[operator]  # torch does not count sdpa on a CPU
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoder(torch.randint(7, 90, (3, 11)))
    assert encoder_flops(encoder, config, [11] * 3) == counter.get_total_flops()


def test_local_layers_see_a_window() -> None:
    config = tiny_config("modernbert")  # a window of 16 in two of three layers
    encoder = build_encoder(config)
    weights = encoder_flops(encoder, config, [1]) - 3 * 4 * 32
    assert encoder_flops(encoder, config, [100]) == 100 * weights + 4 * 100 * 32 * (100 + 17 + 17)


@pytest.mark.parametrize("omega", [1, 2])
def test_head_formula_is_what_torch_counts(omega: int) -> None:
    model = tiny_model("bert", omega=omega, left_width=20, pair_width=24)
    work = HeadWork(lefts=7, left_operands=5, right_operands=6, candidates=11, spans=4, pairs=16)
    first_P, second_P = torch.randint(0, 5, (11,)), torch.randint(0, 6, (11,))
    spans = torch.randn(4, model.sides * 32)
    assert model.is_link is not None
    with FlopCounterMode(display=False) as counter:
        model.is_left(torch.randn(7, 32))
        model.is_span(torch.randn(5, 32), torch.randn(6, 32), first_P, second_P)
        model.is_link(spans, spans, torch.randint(0, 4, (16,)), torch.randint(0, 4, (16,)))
    assert head_flops(model, work) == counter.get_total_flops()


def test_matmul_peak_is_positive() -> None:
    assert matmul_peak(torch.device("cpu"), torch.float32, size=64, passes=2) > 0
