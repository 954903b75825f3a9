"""Which precisions this machine computes fast, and a description of the kernels that compute them."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import torch

from iter_lightning.errors import ConfigError
from iter_lightning.model.linear import Int8Linear, PrepackedLinear

_NEEDED: dict[str, tuple[str, str] | None] = {
    "bf16": ("avx512_bf16", "AVX-512 BF16"), "int8": ("avx512_vnni", "AVX-512 VNNI"), "fp16": None,
}  # fmt: skip
"""Precision -> instruction set that makes it faster than fp32 on a CPU (flag in Linux, name); None if there is none.

Processors without it count as slow until they are measured. With AVX2 only, bf16, fp16 and int8 take 7, 5 and 23 times
as long as fp32 (MiniLM, batch 8).
"""
_AMX = "amx_tile"
_BEYOND_AVX512 = frozenset({"avx512_vnni", "avx512_bf16", _AMX})
_UNUSED = {
    **dict.fromkeys(("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE"), _BEYOND_AVX512),
    "AVX512_CORE_VNNI": frozenset({"avx512_bf16", _AMX}),
    "AVX512_CORE_BF16": frozenset({_AMX}),
    "AVX512_CORE_FP16": frozenset({_AMX}),
}
"""Value of oneDNN's variable ONEDNN_MAX_CPU_ISA -> instruction sets that oneDNN then does not use."""


def check_precision(precision: str, device: torch.device, allow_slow: bool = False) -> None:
    """Check that a device supports a precision, and computes it no slower than fp32.

    Args:
        precision: fp32, bf16, fp16 or int8.
        device: where the model will run. On devices other than a CPU, only int8 is refused.
        allow_slow: accept a precision that is slower than fp32.

    Raises:
        ConfigError: int8 on a device other than a CPU, or a precision that is slow on this CPU.
    """
    if device.type != "cpu":
        if precision == "int8":
            raise ConfigError(f"precision int8 is for a CPU; on {device} take bf16 or fp16")
        return
    if allow_slow or (reason := slow_because(precision)) is None:
        return
    raise ConfigError(
        f"precision {precision} would be slower than fp32 on this CPU: {reason}; use fp32, or an int8 ONNX export "
        f"(`export --onnx int8`) with the onnx backend; allow_slow (--allow-slow) computes in {precision} anyway"
    )


def slow_because(precision: str) -> str | None:
    """Return why this CPU computes a precision more slowly than fp32; None if it does not."""
    if precision == "fp32":
        return None
    needed = _NEEDED[precision]
    if needed is None:
        return f"no CPU is known to have fast kernels for {precision}"
    flag, name = needed
    if flag not in usable_instruction_sets():
        return f"its fast kernels need {name}, which is not available here ({_capability()})"
    available = Int8Linear.available() if precision == "int8" else PrepackedLinear.available(torch.bfloat16)
    return None if available else f"this build of torch ({torch.__version__}) does not have its fast kernels"


@cache
def instruction_sets() -> frozenset[str]:
    """Return the processor's instruction sets, by their flags in Linux; empty if they are unknown."""
    ask = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch do not have it
    if ask is not None:
        return frozenset(name for name, value in ask().items() if value is True)
    try:
        return parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return frozenset()


def parse_cpuinfo(text: str) -> frozenset[str]:
    """Return the flags that all processors in an x86 machine's `/proc/cpuinfo` share; empty for other machines."""
    lines = (line.partition(":") for line in text.splitlines())
    flags = [frozenset(value.split()) for name, _, value in lines if name.strip() == "flags"]
    return frozenset.intersection(*flags) if flags else frozenset()


def usable_instruction_sets() -> frozenset[str]:
    """Return `instruction_sets` without those that the user has disabled in oneDNN by ONEDNN_MAX_CPU_ISA."""
    return instruction_sets() - _UNUSED.get(os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper(), frozenset())


def describe(precision: str, device: torch.device, compiled: bool = False) -> str:
    """Describe the kernels that a prepared model uses, as `torch 2.13.0, cpu (AVX2): fp32, prepacked by oneDNN`."""
    if device.type == "cpu":
        where, how = f"cpu ({_capability()})", _cpu_kernels(precision, compiled)
    else:
        name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
        where, how = f"{device.type}{name}", f"{precision}, torch's kernels"
    return f"torch {torch.__version__}, {where}: {how}{', compiled encoder' if compiled else ''}"


def _cpu_kernels(precision: str, compiled: bool) -> str:
    if slow_because(precision) is not None:
        return f"{precision} without fast kernels (slower than fp32)"
    if precision == "fp32":
        prepacked = not compiled and PrepackedLinear.available(torch.float32)
        return "fp32, prepacked by oneDNN" if prepacked else "fp32, torch's kernels"
    needed = _NEEDED[precision]
    names = [needed[1] if needed else "", *(["AMX"] if _AMX in usable_instruction_sets() else [])]
    how = "quantized as it runs, oneDNN" if precision == "int8" else "oneDNN"
    return f"{precision}, {how} with {' and '.join(names)}"


def _capability() -> str:
    """Return the instruction set of torch's own kernels, as `AVX2`; ATEN_CPU_CAPABILITY may limit it."""
    return torch.backends.cpu.get_cpu_capability()
