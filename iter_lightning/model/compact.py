"""Weights in 8 bits: each row of a matrix as whole numbers from -127 to 127, times a scale of the row.

A compact file is about a quarter as large. Weights are restored to float32 when a model is loaded, so a compact model
computes like any other; the rounding stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SCALE = ".row_scale"
"""Suffix of the tensor that holds the scales of a matrix."""
_SMALLEST = 4096
"""Matrices with fewer numbers keep their type."""


def compress(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return matrices as int8 with a scale [rows] each, and all other tensors unchanged.

    Example:
        >>> import torch
        >>> small = compress({"w": torch.randn(64, 64)})
        >>> sorted((name, str(tensor.dtype)) for name, tensor in small.items())
        [('w', 'torch.int8'), ('w.row_scale', 'torch.float32')]
    """
    import torch

    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or tensor.numel() < _SMALLEST or not tensor.is_floating_point():
            found[name] = tensor
            continue
        scale_X = tensor.float().abs().amax(dim=1).clamp(min=1e-12) / 127
        found[name] = (tensor.float() / scale_X.unsqueeze(1)).round().clamp(-127, 127).to(torch.int8)
        found[name + SCALE] = scale_X
    return found


def restore(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that `compress` was given, rounded, in float32; other tensors unchanged."""
    return {
        name: tensor.float() * tensors[name + SCALE].unsqueeze(1) if name + SCALE in tensors else tensor
        for name, tensor in tensors.items()
        if not name.endswith(SCALE)
    }


def restored_shapes(shapes: dict[str, tuple[str, list[int]]]) -> dict[str, tuple[str, list[int]]]:
    """Return types and shapes as `restore` makes them; those that do not fit each other stay, to be reported."""
    return {
        name: ("F32", shape) if kind == "I8" and shapes.get(name + SCALE) == ("F32", shape[:1]) else (kind, shape)
        for name, (kind, shape) in shapes.items()
        if not (name.endswith(SCALE) and name.removesuffix(SCALE) in shapes)
    }
