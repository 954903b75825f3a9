"""Two optimiser groups, encoder and heads, each with its own learning rate, weight decay and schedule (Table 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from iter_lightning.errors import ConfigError

SCHEDULES = ("linear", "constant")


@dataclass
class GroupConfig:
    """How one half of the model is optimised.

    Raises:
        ConfigError: a value outside its range.
    """

    learning_rate: float
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.0
    """Applied to matrices only, never to biases and norms."""
    schedule: str = "linear"
    """After the warm-up: `linear` to zero at the last step, or `constant`."""
    warmup_ratio: float = 0.0
    """Share of all steps in which the rate rises linearly to it."""

    def __post_init__(self) -> None:
        numbers = (self.learning_rate, self.weight_decay, self.warmup_ratio)
        in_range = self.learning_rate > 0 and self.weight_decay >= 0 and 0 <= self.warmup_ratio < 1
        if not (in_range and all(map(math.isfinite, numbers))):
            raise ConfigError(
                f"learning_rate must be positive, weight_decay not negative and warmup_ratio in [0, 1): found {self}"
            )
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"schedule {self.schedule!r} is none of {', '.join(SCHEDULES)}")


def parameter_groups(
    encoder: nn.Module, heads: Sequence[nn.Module], groups: tuple[GroupConfig, GroupConfig]
) -> list[dict[str, Any]]:
    """AdamW groups: encoder and heads, each with and without decay; empty ones are left out."""
    result = []
    for modules, group in (((encoder,), groups[0]), (heads, groups[1])):
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        for decayed in (True, False):
            chosen = [p for p in parameters if (p.ndim > 1) == decayed]
            if chosen:
                decay = group.weight_decay if decayed else 0.0
                result.append({"params": chosen, "lr": group.learning_rate, "weight_decay": decay, "config": group})
    return result


def rate_factor(group: GroupConfig, total_steps: int) -> Callable[[int], float]:
    """The factor on the peak learning rate at a step, counted from 0."""
    warmup = round(group.warmup_ratio * total_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if group.schedule == "constant":
            return 1.0
        return max(0.0, (total_steps - step) / max(1, total_steps - warmup))

    return factor


def build_optimizer(
    groups: list[dict[str, Any]], total_steps: int, fused: bool
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW over `parameter_groups` and its step-wise schedule."""
    factors = [rate_factor(group.pop("config"), total_steps) for group in groups]
    optimizer = torch.optim.AdamW(groups, fused=fused)
    return optimizer, LambdaLR(optimizer, factors)
