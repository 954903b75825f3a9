"""Optimize a trained model for inference: precision, weight layouts, compilation, and padding.

`prepare` changes a model once. Predictions stay the same up to rounding in float32, and nearly the same in the other
precisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch

from iter_lightning.errors import ConfigError
from iter_lightning.model import packing
from iter_lightning.model.compilation import check_compiler, compile_encoder
from iter_lightning.model.kernels import check_precision
from iter_lightning.model.linear import Int8Linear, PrepackedLinear, replace_linears

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from iter_lightning.model.iter import IterModel

Precision = Literal["fp32", "bf16", "fp16", "int8"]
PRECISIONS: dict[Precision, torch.dtype] = {
    "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32,
}  # fmt: skip
"""Precision -> the type of all tensors that are not quantized."""


@dataclass(frozen=True)
class InferenceOptions:
    """How a trained model computes.

    Raises:
        ConfigError: `precision` has another value.

    Example:
        >>> InferenceOptions(precision="bf16").compile
        False
    """

    precision: Precision = "fp32"
    """fp32, bf16, fp16 or int8. A GPU accepts fp32, bf16 and fp16.

    A CPU accepts a reduced precision only if it is faster than fp32: bf16 with AVX-512 BF16, and int8 (linear layers
    that are quantized on the fly) with AVX-512 VNNI. Otherwise `prepare` refuses it and names an alternative. It never
    falls back to another precision, because predictions would then depend on the machine.
    """
    compile: bool = False
    """Compile the encoder (`torch.compile`, for any shapes). It takes half a minute, which pays off in long runs."""
    packing: bool | None = None
    """Leave padding out: True, False, or None (if the encoder can)."""
    allow_slow: bool = False
    """Accept a precision that is slower than fp32 on this CPU, for measurements and comparisons."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision: expected one of {', '.join(PRECISIONS)}, found {self.precision!r}")


def prepare(model: IterModel, options: InferenceOptions) -> IterModel:
    """Optimize a model in place; it can neither be trained nor saved afterwards.

    Args:
        model: a model that is not prepared yet.
        options: how it computes.

    Returns:
        the same model, in `eval()` mode.

    Raises:
        ConfigError: the encoder or the device does not support an option or computes it slowly, or the model is
            prepared already.
    """
    if model.prepared:
        raise ConfigError("the model is already prepared for inference; load it again to use other options")
    device, config = next(model.parameters()).device, cast("PretrainedConfig", model.encoder.config)
    if options.packing and not packing.can_pack(config):
        raise ConfigError(f"packing: encoders of type {config.model_type} need padding")
    check_precision(options.precision, device, options.allow_slow)
    if options.compile:
        check_compiler(device)
    model.eval().requires_grad_(False)
    model.prepared = True
    model.packing = packing.can_pack(config) if options.packing is None else options.packing
    dtype = PRECISIONS[options.precision]
    model.to(dtype)
    if dtype == torch.float16:  # T5's feed-forward outputs exceed the range of float16
        kept = getattr(model.encoder, "_keep_in_fp32_modules", None) or ()
        for name, module in model.encoder.named_modules():
            if name.rpartition(".")[2] in kept:
                module.float()
    heads = [head for head in (model.is_left, model.is_span, model.is_link) if head is not None]
    if options.precision == "int8":
        replace_linears(model.encoder, Int8Linear)
        for head in heads:
            head.replace_projections(Int8Linear)
    elif device.type == "cpu" and PrepackedLinear.available(dtype):
        if not options.compile:  # the compiler packs weights itself
            replace_linears(model.encoder, PrepackedLinear)
        for head in heads:
            head.replace_projections(PrepackedLinear)
    if options.compile:
        compile_encoder(model.encoder, frozen=device.type == "cpu")
    if options.packing and packing.packing_strategy(model.encoder, device) is None:
        raise ConfigError(f"packing: an encoder of type {config.model_type} pads in {options.precision} on {device}")
    return model
