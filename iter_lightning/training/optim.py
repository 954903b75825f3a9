"""Optimizer with two groups, encoder and heads, each with a learning rate, weight decay and schedule (Table 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from iter_lightning.errors import ConfigError

Schedule = Literal["linear", "constant"]


@dataclass
class GroupConfig:
    """Optimization of the encoder or of the heads.

    Args:
        learning_rate: peak learning rate of AdamW.
        weight_decay: weight decay of matrices; biases and norms have none.
        schedule: after the warm-up, `linear` decay to zero at the last step, or `constant`.
        warmup_ratio: share of all steps in which the rate rises linearly from zero to its peak.

    Raises:
        ConfigError: a value is outside its range.

    Example:
        >>> GroupConfig(2e-5, schedule="constant").weight_decay
        0.0
    """

    learning_rate: float
    weight_decay: float = 0.0
    schedule: Schedule = "linear"
    warmup_ratio: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.learning_rate, self.weight_decay, self.warmup_ratio)
        in_range = self.learning_rate > 0 and self.weight_decay >= 0 and 0 <= self.warmup_ratio < 1
        if not (in_range and all(map(math.isfinite, numbers))):
            raise ConfigError(
                f"learning_rate must be positive, weight_decay not negative and warmup_ratio in [0, 1): found {self}"
            )
        if self.schedule not in get_args(Schedule):
            raise ConfigError(f"schedule: expected one of {', '.join(get_args(Schedule))}, found {self.schedule!r}")


def parameter_groups(
    encoder: nn.Module, heads: Sequence[nn.Module], groups: tuple[GroupConfig, GroupConfig]
) -> list[dict[str, Any]]:
    """Return AdamW parameter groups: encoder and heads, each with and without weight decay, without empty groups."""
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
    """Return the function from a step, counted from 0, to the factor on the peak learning rate."""
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
    """Build AdamW over `parameter_groups`, and its schedule per step."""
    factors = [rate_factor(group.pop("config"), total_steps) for group in groups]
    optimizer = torch.optim.AdamW(groups, fused=fused)
    return optimizer, LambdaLR(optimizer, factors)
