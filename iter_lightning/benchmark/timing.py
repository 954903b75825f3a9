"""Clocks: passes over the same work, each side of a comparison in turn, and the time of parts of a pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from iter_lightning.errors import ConfigError


@dataclass(frozen=True)
class Measured:
    """Samples a second over several passes after one that warms up."""

    median: float
    low: float
    high: float
    samples: int
    subwords: int
    """Mean length of a sample with its special tokens, or the length asked for."""
    batch_size: int


def measure(run: Callable[[], object], samples: int, subwords: int, batch_size: int, passes: int) -> Measured:
    """Time a pass over `samples` examples several times, after one pass that is not counted.

    Raises:
        ConfigError: no pass is asked for.
    """
    seconds = interleaved({"run": run}, passes)["run"]
    rates = [samples / second for second in seconds]
    return Measured(median(rates), min(rates), max(rates), samples, subwords, batch_size)


def interleaved(
    works: Mapping[str, Callable[[], object]], passes: int, device: torch.device | None = None, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each work in each pass; in a pass the works run in turn, so that a disturbance meets all of them.

    Args:
        works: what is timed, by name, in order.
        passes: how many are counted.
        device: is waited for before a clock is read.
        warm_up: passes before the first that counts.

    Raises:
        ConfigError: no pass is asked for.
    """
    check_passes(passes)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warm_up + passes):
        for name, work in works.items():
            clock = Clock(device)
            with clock(name):
                work()
            if number >= warm_up:
                seconds[name].append(clock.seconds[name])
    return seconds


def check_passes(passes: int) -> None:
    """Raises:
    ConfigError: fewer than one.
    """
    if passes < 1:
        raise ConfigError(f"passes must be at least 1, found {passes}")


def synchronize(device: torch.device | None) -> None:
    """Wait until a GPU has done what it was given; a CPU always has."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Clock:
    """Seconds spent in named parts: `with clock("encoder"): ...` adds to `clock.seconds["encoder"]`."""

    device: torch.device | None = None
    """Is waited for before and after a part."""
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time what is inside."""
        synchronize(self.device)
        start = time.perf_counter()
        try:
            yield
        finally:
            synchronize(self.device)
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start


class AttentionClock(TorchFunctionMode):
    """Seconds inside `scaled_dot_product_attention` while it is entered; other attention goes unseen."""

    def __init__(self, device: torch.device | None = None) -> None:
        super().__init__()
        self.clock = Clock(device)

    @property
    def seconds(self) -> float | None:
        """None where it was never called (eager or compiled attention)."""
        return self.clock.seconds.get("attention")

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Called by torch for every function."""
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        with self.clock("attention"):
            return func(*args, **(kwargs or {}))


def ratio_of(ours: Sequence[float], floor: Sequence[float]) -> dict[str, float]:
    """`ratio` of the medians, and the least and greatest ratio of a single pass."""
    single = [a / b for a, b in zip(ours, floor, strict=True)]
    return {"ratio": median(ours) / median(floor), "ratio_low": min(single), "ratio_high": max(single)}
