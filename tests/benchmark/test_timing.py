from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F

from iter_lightning.benchmark.timing import AttentionClock, Clock, interleaved, measure, ratio_of
from iter_lightning.errors import ConfigError


def test_passes_alternate_and_the_warm_up_does_not_count() -> None:
    said: list[str] = []
    works = {name: lambda name=name: said.append(name) for name in ("floor", "ours")}
    seconds = interleaved(works, passes=2, warm_up=1)
    assert said == ["floor", "ours"] * 3
    assert [len(passes) for passes in seconds.values()] == [2, 2]
    assert all(second >= 0 for passes in seconds.values() for second in passes)


def test_no_passes() -> None:
    with pytest.raises(ConfigError, match="passes must be at least 1, found 0"):
        interleaved({"ours": lambda: None}, passes=0)


def test_measured_rates_are_samples_a_second() -> None:
    found = measure(lambda: time.sleep(0.01), samples=5, subwords=7, batch_size=2, passes=3)
    assert 0 < found.low <= found.median <= found.high <= 500
    assert (found.samples, found.subwords, found.batch_size) == (5, 7, 2)


def test_clock_adds_up_the_same_part() -> None:
    clock = Clock()
    for _ in range(2):
        with clock("part"):
            time.sleep(0.01)
    assert clock.seconds.keys() == {"part"}
    assert clock.seconds["part"] >= 0.02


def test_attention_clock_sees_attention_alone() -> None:
    x = torch.randn(1, 2, 8, 4)
    with AttentionClock() as attention:
        torch.softmax(x @ x.transpose(2, 3), dim=-1) @ x
    assert attention.seconds is None
    with AttentionClock() as attention:
        ours = F.scaled_dot_product_attention(x, x, x)
    assert attention.seconds is not None
    assert attention.seconds > 0
    assert torch.equal(ours, F.scaled_dot_product_attention(x, x, x))


def test_ratio_is_that_of_the_medians() -> None:
    found = ratio_of([2.0, 4.0, 9.0], [2.0, 2.0, 3.0])
    assert found == {"ratio": 2.0, "ratio_low": 1.0, "ratio_high": 3.0}
