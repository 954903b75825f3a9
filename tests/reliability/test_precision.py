"""Precisions on processors that are slow at them: refused in one line before anything is loaded or written."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.builders import tiny_model
from tests.reliability.campaign import Campaign

pytestmark = pytest.mark.reliability

REDUCED = ("bf16", "fp16", "int8")
SLOW = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
"""Makes any processor one that is slow at all reduced precisions."""
FLAGS = ("sse4_2", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "avx_vnni", "bf16", "i8mm")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("precision") / "model"
    tiny_model("bert").save_pretrained(folder)
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "text.txt"
    path.parent.mkdir()
    path.write_text("Ada lives in London.", encoding="utf-8")
    return path


def processor(monkeypatch: pytest.MonkeyPatch, flags: Iterable[str]) -> None:
    """Give this machine a processor with these instruction sets, and a torch with all kernels."""
    from iter_lightning.model import kernels, linear

    monkeypatch.setattr(kernels, "instruction_sets", lambda: frozenset(flags))
    monkeypatch.setattr(linear.PrepackedLinear, "available", staticmethod(lambda dtype: str(dtype) != "torch.float16"))
    monkeypatch.setattr(linear.Int8Linear, "available", staticmethod(lambda: True))
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


def extraction(model: Path, text: Path, output: Path, *options: str) -> list[str]:
    return ["extract", str(model), str(text), "-o", str(output), "--device", "cpu", *options]


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_slow_precision_in_a_process_is_refused(precision: str, model: Path, text: Path, campaign: Campaign) -> None:
    output = campaign.folder / "out" / "found.jsonl"
    outcome = campaign.process(extraction(model, text, output, "--precision", precision), env=SLOW)
    campaign.is_refusal(outcome, f"precision {precision} would be slower than fp32", "use fp32", "--allow-slow")
    assert outcome.message.count("\n") == 0
    assert not output.parent.exists()


def test_slow_precisions_of_every_verb_are_refused(
    model: Path, text: Path, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    processor(monkeypatch, ["avx2"])
    output = campaign.folder / "out" / "found.jsonl"
    for precision in REDUCED:
        for arguments in (
            extraction(model, text, output, "--precision", precision),
            extraction(model, text, output, "--precision", precision, "--compile"),
            ["extract", str(model), str(text), "--device", "cpu", "--precision", precision],
            ["serve", str(model), "--device", "cpu", "--precision", precision, "--port", "0"],
        ):
            campaign.refused(arguments, f"precision {precision} would be slower than fp32", "use fp32", "--allow-slow")
            assert not output.parent.exists()
    for verb in (["extract", str(model), str(text)], ["serve", str(model), "--port", "0"]):
        campaign.refused([*verb, "--backend", "onnx", "--allow-slow"], "onnx")


def test_an_accepted_precision_is_reported_and_a_forced_one_too(
    model: Path, text: Path, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    processor(monkeypatch, ["avx2"])
    for number, (options, expected) in enumerate([
        ([], "fp32, prepacked by oneDNN"),
        (["--precision", "int8", "--allow-slow"], "int8 without fast kernels (slower than fp32)"),
    ]):  # fmt: skip
        output = campaign.folder / f"found{number}.jsonl"
        outcome = campaign.run(extraction(model, text, output, *options))
        assert outcome.status == 0, outcome.stderr
        assert expected in outcome.stderr
        manifest = json.loads(output.with_name(f"{output.name}.manifest.json").read_text(encoding="utf-8"))
        assert manifest["summary"]["kernels"].endswith(expected)


def test_any_set_of_instructions_decides_alike(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from iter_lightning.model.kernels import check_precision, describe

    rng, cpu = random.Random(16), torch.device("cpu")
    for _ in range(300):
        flags = {flag for flag in FLAGS if rng.random() < 0.5}
        processor(monkeypatch, flags)
        for precision, needed in (("bf16", "avx512_bf16"), ("int8", "avx512_vnni"), ("fp16", "no such flag")):
            refused = campaign.tries(check_precision, precision, cpu)
            assert (refused is None) == (needed in flags), (precision, flags)
            assert ("without fast kernels" in describe(precision, cpu)) == (refused is not None)


def test_any_processor_description_is_read(campaign: Campaign) -> None:
    from iter_lightning.model.kernels import parse_cpuinfo

    rng = random.Random(17)
    pieces = ["flags", "Features", "\t", ":", " ", "\n", "\0", "\ufffd", "processor", *FLAGS, *string.printable[:70]]
    for _ in range(500):
        text = "".join(rng.choices(pieces, k=rng.randint(0, 60)))
        assert campaign.tries(parse_cpuinfo, text) is None


def test_names_that_are_no_precision_are_refused(campaign: Campaign, model: Path, text: Path) -> None:
    from iter_lightning.model.inference import InferenceOptions

    rng = random.Random(18)
    for name in ("", "FP32", "fp32 ", "float32", "bf16-mixed", "auto", "\0", "int8\n", *(str(n) for n in range(5))):
        campaign.raises(InferenceOptions, name)
        assert campaign.run(extraction(model, text, campaign.folder / "o.jsonl", "--precision", name)).status == 2
    for _ in range(100):
        campaign.raises(InferenceOptions, "".join(rng.choices(string.printable, k=rng.randint(5, 9))))
    assert not list(campaign.folder.glob("o.jsonl*"))
