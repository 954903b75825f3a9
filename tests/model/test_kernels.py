"""Which precisions made-up processors compute fast, what is refused, and how kernels are described."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
import torch

from iter_lightning.errors import ConfigError
from iter_lightning.model import kernels
from iter_lightning.model.inference import PRECISIONS, InferenceOptions, prepare
from iter_lightning.model.linear import Int8Linear, PrepackedLinear
from tests.builders import tiny_model

CPU, META = torch.device("cpu"), torch.device("meta")
AVX2 = "fpu sse4_2 fma avx avx2 bmi2"
AVX512 = f"{AVX2} avx512f avx512dq avx512bw avx512vl"
VNNI = f"{AVX512} avx512_vnni"
BF16 = f"{VNNI} avx512_bf16"
AMX = f"{BF16} amx_bf16 amx_tile amx_int8"


def cpuinfo(*flags: str) -> str:
    """`/proc/cpuinfo` of an x86 machine, a processor for each argument."""
    return "\n".join(
        f"processor\t: {number}\nvendor_id\t: GenuineIntel\nmodel name\t: A CPU\nflags\t\t: {each}\nbugs\t\t:\n"
        for number, each in enumerate(flags)
    )


ARM = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd asimddp sve bf16 i8mm\nCPU part\t: 0xd40\n"
PROCESSORS = {
    "AVX2": (cpuinfo(AVX2, AVX2), set()),
    "AVX-512": (cpuinfo(AVX512), set()),
    "VNNI": (cpuinfo(VNNI, VNNI), {"int8"}),
    "BF16": (cpuinfo(BF16), {"bf16", "int8"}),
    "AMX": (cpuinfo(AMX), {"bf16", "int8"}),
    "VNNI for 256 bits": (cpuinfo(f"{AVX2} avx_vnni"), set()),
    "one of two": (cpuinfo(BF16, AVX2), set()),
    "similar names": (cpuinfo(f"{AVX2} avx512_bf16x xavx512_vnni"), set()),
    "ARM": (ARM, set()),
    "empty": ("", set()),
    "no flags": ("processor\t: 0\nflags\t\t:\n", set()),
    "no colon": ("flags avx512_bf16 avx512_vnni", set()),
}


def has(monkeypatch: pytest.MonkeyPatch, flags: Iterable[str]) -> None:
    """Give this machine a processor with these flags, and a torch with all kernels."""
    monkeypatch.setattr(kernels, "instruction_sets", lambda: frozenset(flags))
    monkeypatch.setattr(PrepackedLinear, "available", staticmethod(lambda dtype: True))
    monkeypatch.setattr(Int8Linear, "available", staticmethod(lambda: True))
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


def fast() -> set[str]:
    return {precision for precision in PRECISIONS if kernels.slow_because(precision) is None}


@pytest.mark.parametrize("name", PROCESSORS)
def test_fast_precisions_of_a_processor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, expected = PROCESSORS[name]
    has(monkeypatch, kernels.parse_cpuinfo(text))
    assert fast() == {"fp32", *expected}


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("", {"bf16", "int8"}), ("DEFAULT", {"bf16", "int8"}), ("AVX2", set()), ("avx512_core", set()),
        ("AVX512_CORE_VNNI", {"int8"}), ("AVX512_CORE_BF16", {"bf16", "int8"}), ("AVX512_CORE_AMX", {"bf16", "int8"}),
    ],
)  # fmt: skip
def test_the_users_limit_of_onednn_is_respected(
    limit: str, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, AMX.split())
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert fast() == {"fp32", *expected}


def test_a_torch_without_kernels_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "instruction_sets", lambda: frozenset(AMX.split()))
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    monkeypatch.delattr(torch, "_int_mm")
    assert fast() == {"fp32"}
    with pytest.raises(ConfigError, match=r"this build of torch \(.*\) does not have its fast kernels"):
        kernels.check_precision("int8", CPU)
    assert kernels.describe("fp32", CPU).endswith("fp32, torch's kernels")


def test_the_probe_uses_torch_then_linux_then_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = kernels.instruction_sets.__wrapped__
    capabilities = {"avx512_bf16": True, "avx512_vnni": False, "l2_cache_size": 1, "architecture": "x86_64"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert probe() == {"avx512_bf16"}
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(Path, "read_text", lambda path, **options: cpuinfo(VNNI))
    assert probe() == frozenset(VNNI.split())

    def unreadable(path: Path, **options: str) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert probe() == frozenset()


@pytest.mark.skipif(platform.machine() != "x86_64" or platform.system() != "Linux", reason="asks Linux on x86")
@pytest.mark.skipif(not hasattr(torch.cpu, "get_capabilities"), reason="an older torch")
def test_torch_and_linux_agree_on_this_machine() -> None:
    flags = kernels.parse_cpuinfo(Path("/proc/cpuinfo").read_text())
    for name in ("avx2", "avx512_bf16", "avx512_vnni", "amx_tile"):
        assert (name in flags) == (name in kernels.instruction_sets()), name


@pytest.mark.parametrize(
    ("precision", "reason"),
    [
        ("bf16", "its fast kernels need AVX-512 BF16, which is not available here ("),
        ("int8", "its fast kernels need AVX-512 VNNI, which is not available here ("),
        ("fp16", "no CPU is known to have fast kernels for fp16"),
    ],
)
def test_a_slow_precision_is_refused_with_advice(
    precision: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    has(monkeypatch, AVX2.split())
    model = tiny_model("bert").train()
    with pytest.raises(ConfigError) as refused:
        prepare(model, InferenceOptions(precision))
    message = str(refused.value)
    assert message.startswith(f"precision {precision} would be slower than fp32 on this CPU: {reason}")
    assert "use fp32, or an int8 ONNX export (`export --onnx int8`) with the onnx backend" in message
    assert "allow_slow (--allow-slow)" in message
    assert "\n" not in message
    assert model.training  # nothing was changed
    assert not model.prepared
    kernels.check_precision(precision, CPU, allow_slow=True)


def test_other_devices_are_only_refused_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, AVX2.split())
    for precision in ("fp32", "bf16", "fp16"):
        kernels.check_precision(precision, META)
    with pytest.raises(ConfigError, match="int8 is for a CPU; on meta take bf16"):
        kernels.check_precision("int8", META, allow_slow=True)


def test_kernels_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.0")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    has(monkeypatch, AMX.split())
    start = "torch 2.9.0, cpu (AVX512): "
    assert kernels.describe("fp32", CPU) == f"{start}fp32, prepacked by oneDNN"
    assert kernels.describe("fp32", CPU, compiled=True) == f"{start}fp32, torch's kernels, compiled encoder"
    assert kernels.describe("bf16", CPU) == f"{start}bf16, oneDNN with AVX-512 BF16 and AMX"
    assert kernels.describe("fp16", CPU) == f"{start}fp16 without fast kernels (slower than fp32)"
    assert kernels.describe("bf16", torch.device("cuda")) == "torch 2.9.0, cuda (NVIDIA H200): bf16, torch's kernels"
    assert kernels.describe("bf16", META) == "torch 2.9.0, meta: bf16, torch's kernels"
    has(monkeypatch, VNNI.split())
    assert kernels.describe("int8", CPU) == f"{start}int8, quantized as it runs, oneDNN with AVX-512 VNNI"
    assert kernels.describe("bf16", CPU) == f"{start}bf16 without fast kernels (slower than fp32)"
