"""Model FLOPs by formula, and how many a device does in a large matrix product.

Model FLOPs count what the sentences need, two for a multiply-add: no padding, nothing computed twice, no elementwise
operations. T subwords of all windows, n of one window, H hidden, F inner width, O outputs of a head.

    encoder   2 T (weights of its linear layers) + sum over windows and layers of 4 n min(n, reach) (heads x head size)
    IsLeft    lefts 2 H 2F + lefts 2 F
    IsSpan    (projected lefts + projected rights) 2 H 2F + candidates 2 F O
    IsLink    2 spans 2 (sides H) 2F + pairs 2 F O

`reach` is the window of local layers (ModernBERT). DeBERTa's projections of relative positions and its products with
them are left out, so that its share of a peak is told a little too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from iter_lightning.benchmark.stages import HeadWork
from iter_lightning.benchmark.timing import interleaved
from iter_lightning.model import IterModel
from iter_lightning.model import encoder as encoders


def encoder_flops(encoder: nn.Module, config: Any, lengths: Sequence[int]) -> int:
    """Of one pass over windows of so many subwords each.

    Args:
        encoder: a stack in floating point; its `nn.Linear` weights are counted.
        config: its Hugging Face configuration.
        lengths: subwords of each window.
    """
    weights = sum(m.weight.numel() for m in encoder.modules() if isinstance(m, nn.Linear))
    layers = int(config.num_hidden_layers)
    width = int(getattr(config, "d_kv", 0) or 0) * int(config.num_attention_heads) or encoders.hidden_size(config)
    reaches = [_reach(config, layer) for layer in range(layers)]
    attention = sum(4 * n * min(n, reach or n) * width for n in lengths for reach in reaches)
    return 2 * sum(lengths) * weights + attention


def _reach(config: Any, layer: int) -> int | None:
    """How many positions a position of the layer sees; None is all."""
    every = getattr(config, "global_attn_every_n_layers", None)
    return int(config.local_attention) + 1 if every and layer % every else None


def head_flops(model: IterModel, work: HeadWork) -> int:
    """Of the three heads for what a pass gave them to do."""
    hidden = encoders.hidden_size(encoders.config_from_dict(model.config.encoder))
    inner = encoders.feed_forward_size(encoders.config_from_dict(model.config.encoder))
    left, pair = model.config.left_width or inner, model.config.pair_width or 2 * inner
    types, links = len(model.config.schema.entity_types), model.config.link_outputs
    flops = work.lefts * (4 * hidden * left + 2 * left)
    flops += (work.left_operands + work.right_operands) * 4 * hidden * pair + work.candidates * 2 * pair * types
    if links:
        flops += 2 * work.spans * 4 * model.sides * hidden * pair + work.pairs * 2 * pair * links
    return flops


def matmul_peak(device: torch.device, dtype: torch.dtype, size: int | None = None, passes: int = 5) -> float:
    """FLOPs a second of the fastest product of two square matrices; 8192 wide on a GPU, 2048 else."""
    size = size or (8192 if device.type == "cuda" else 2048)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = interleaved({"matmul": lambda: torch.mm(a, b)}, passes, device, warm_up=2)["matmul"]
    return float(2 * size**3 / min(seconds))
