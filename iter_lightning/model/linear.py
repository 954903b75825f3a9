"""Linear layers for inference only: with prepacked weights, or with eight-bit weights.

X rows, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class PrepackedLinear(nn.Module):
    """A linear layer on a CPU whose weight oneDNN has packed in advance, as `torch.compile` with freezing does.

    `F.linear` repacks the weight on every call, which dominates for small inputs. Results match up to rounding. The
    operators are not public; `available` says whether this build of torch has them, and otherwise `F.linear` is used.

    Args:
        weight_OI: weight, float32 or bfloat16.
        bias_O: bias, or None.
    """

    weight = None
    """None; T5 reads the type of this attribute."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        super().__init__()
        self.outputs = len(weight_OI)
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI.detach().contiguous())
        self.bias = None if bias_O is None else bias_O.detach()

    @staticmethod
    def available(dtype: torch.dtype) -> bool:
        """Return whether this build of torch has the (private) operators for this type on this processor."""
        if not _has_onednn() or dtype not in (torch.float32, torch.bfloat16):
            return False
        try:
            found = PrepackedLinear(torch.ones(2, 2, dtype=dtype), None)(torch.ones(1, 2, dtype=dtype))
        except (AttributeError, RuntimeError):  # missing, changed, or without kernels for this processor
            return False
        return bool((found == 2).all())

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., I] to [..., O]."""
        if not x.numel():
            return x.new_empty(*x.shape[:-1], self.outputs)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return product


class Int8Linear(nn.Module):
    """A linear layer with an eight-bit weight (one scale per output); inputs are quantized on the fly, row by row.

    With x = s q + z and w = t v, x w = t (s q v + z sum(v)): one product of integers and a correction.

    Args:
        weight_OI: weight of any floating-point type.
        bias_O: bias, or None.
    """

    weight = None
    """None; T5 reads the type of this attribute."""
    rows = 512
    """Rows quantized at a time, so that they fit into the caches."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        super().__init__()
        weight_OI = weight_OI.detach().float()
        self.scale_O = nn.Buffer(weight_OI.abs().amax(dim=1).clamp(min=1e-12) / 127)
        quantized_OI = (weight_OI / self.scale_O.unsqueeze(1)).round().to(torch.int8)
        self.weight_IO = nn.Buffer(quantized_OI.t())  # a view: oneDNN needs contiguous inputs
        self.sum_O = nn.Buffer(quantized_OI.float().sum(dim=1))
        self.bias_O = nn.Buffer(self.scale_O.new_zeros(len(weight_OI)) if bias_O is None else bias_O.detach().float())

    @staticmethod
    def available() -> bool:
        """Return whether this build of torch multiplies integers with oneDNN; otherwise the layer works slowly."""
        return _has_onednn() and hasattr(torch, "_int_mm")

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., I] to [..., O]."""
        if not x.numel():
            return x.new_empty(*x.shape[:-1], len(self.bias_O))
        x_XI = x.reshape(-1, x.shape[-1])
        if len(x_XI) <= self.rows or torch.compiler.is_compiling():
            product_XO = self._product(x_XI)
        else:
            product_XO = torch.cat([self._product(part) for part in torch.split(x_XI, self.rows)])
        return product_XO.view(*x.shape[:-1], product_XO.shape[1])

    def _product(self, x_XI: Tensor) -> Tensor:
        low_X1, high_X1 = x_XI.amin(dim=1, keepdim=True).float(), x_XI.amax(dim=1, keepdim=True).float()
        step_X1 = ((high_X1 - low_X1) / 255).clamp(min=1e-12)
        middle_X1 = low_X1 + 128 * step_X1
        # low becomes -128 and high 127, so that no value needs clamping
        quantized_XI = torch.addcmul(-middle_X1 / step_X1, x_XI.float(), 1 / step_X1).round_().to(torch.int8)
        product_XO = _integer_product(quantized_XI, self.weight_IO)
        product_XO.mul_(step_X1).addr_(middle_X1.squeeze(1), self.sum_O)
        return torch.addcmul(self.bias_O, product_XO, self.scale_O).to(x_XI.dtype)


def _integer_product(x_XI: Tensor, weight_IO: Tensor) -> Tensor:
    """Multiply two int8 matrices, with sums in int32; returns float32 [X, O]."""
    product: Any = getattr(torch, "_int_mm", None)  # not public
    if product is None:
        return (x_XI.int() @ weight_IO.int()).float()
    return product(x_XI, weight_IO).float()  # type: ignore[no-any-return]


def _has_onednn() -> bool:
    available: Any = torch.backends.mkldnn.is_available
    return bool(available())


def replace_linears(module: nn.Module, make: type[PrepackedLinear] | type[Int8Linear]) -> None:
    """Replace every `nn.Linear` inside the module, in place."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, make(child.weight, child.bias))
        else:
            replace_linears(child, make)
