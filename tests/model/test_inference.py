"""Every precision and layout finds what the plain model finds; compilation does not start again at every shape."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
import torch
from torch import Tensor, nn

from iter_lightning.errors import ConfigError
from iter_lightning.model import IterModel, inference
from iter_lightning.model.inference import PRECISIONS, InferenceOptions, prepare
from iter_lightning.model.linear import Int8Linear, PrepackedLinear, replace_linears
from iter_lightning.types import Example
from tests.builders import COMMON, assert_close, tiny_model


def sentences(count: int = 12) -> list[Example]:
    rng = random.Random(1)
    return [Example(tuple(rng.choice(COMMON) for _ in range(rng.randint(1, 40)))) for _ in range(count)]


def outputs(model: IterModel, texts: list[Example]) -> tuple[Tensor, Tensor]:
    """Hidden states of all subwords, and the left logits."""
    from iter_lightning.model.iter import ModelHeads

    batch = model.collate([(encoded, 0) for encoded in model.aligner().encode(texts)])
    with torch.no_grad():
        hidden_SH = model.encode(batch)
        return hidden_SH[batch.filled_slots_F].float(), ModelHeads(model, batch, hidden_SH).left_logits()


@pytest.mark.parametrize("family", ["bert", "t5", "deberta_v3"])
@pytest.mark.parametrize("omega", [1, 3])
def test_float32_finds_the_same(family: str, omega: int) -> None:
    model, texts = tiny_model(family, omega=omega), sentences()
    model.packing = False
    expected = model.predict(texts)
    assert any(p.relations for p in expected)
    assert_close(prepare(copy.deepcopy(model), InferenceOptions()).predict(texts), expected)


@pytest.mark.parametrize("family", ["bert", "t5", "deberta_v3"])
@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.02), ("fp16", 0.005), ("int8", 0.03)])
def test_reduced_precision_is_near(family: str, precision: str, tolerance: float) -> None:
    model, texts = tiny_model(family), sentences()
    reduced = prepare(copy.deepcopy(model), InferenceOptions(precision, allow_slow=True))
    for found, expected in zip(outputs(reduced, texts), outputs(model, texts), strict=True):
        assert found.dtype == torch.float32
        assert (found - expected).norm() < tolerance * expected.norm()
        assert not torch.equal(found, expected)  # it does compute otherwise
    assert len(reduced.predict(texts)) == len(texts)


@pytest.mark.parametrize("rows", [0, 1, 7, 600])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_of_inference(rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 33, bias=bias)
    x = torch.randn(1, rows, 48) + 1  # off centre, as after a GELU
    with torch.no_grad():
        expected = linear(x)
        quantised = Int8Linear(linear.weight, linear.bias)(x)
        assert quantised.shape == expected.shape
        assert (quantised - expected).norm() <= 0.02 * expected.norm()
        if PrepackedLinear.available(torch.float32):
            packed = PrepackedLinear(linear.weight, linear.bias)(x)
            torch.testing.assert_close(packed, expected, rtol=0, atol=1e-5)


def test_int8_without_torchs_product_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x = Int8Linear(torch.randn(33, 1500), None), torch.randn(5, 1500)
    expected = layer(x)
    monkeypatch.delattr(torch, "_int_mm")
    assert not Int8Linear.available()
    assert torch.equal(layer(x), expected)


@pytest.mark.parametrize("missing", ["_reorder_linear_weight", "_linear_pointwise"])
def test_float32_without_torchs_operators_finds_the_same(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"_reorder_linear_weight", "_linear_pointwise"} - {missing}
    there = {name: getattr(torch.ops.mkldnn, name) for name in names if hasattr(torch.ops.mkldnn, name)}
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**there))
    assert not PrepackedLinear.available(torch.float32)
    model, texts = tiny_model("bert"), sentences()
    expected = model.predict(texts)
    assert_close(prepare(model, InferenceOptions()).predict(texts), expected)


def test_int8_reaches_both_ends_of_a_rows_range() -> None:
    """A row quantised to [-128, 127] neither wraps around nor is cut off; a constant row is exact."""
    weight = torch.eye(4)
    x = torch.tensor([[-3.0, 5.0, 0.0, 1.0], [7.0, 7.0, 7.0, 7.0], [0.0, 0.0, 0.0, 0.0], [1e-30, 0.0, 0.0, 1e30]])
    found = Int8Linear(weight, None)(x)
    step = (x.amax(dim=1, keepdim=True) - x.amin(dim=1, keepdim=True)) / 255
    assert ((found - x).abs() <= 0.51 * step + 1e-4 * x.abs()).all()


def test_replaces_linears_everywhere_and_nothing_else() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.LayerNorm(4)}))
    replace_linears(module, Int8Linear)
    assert [type(m).__name__ for m in module.modules()] == [
        "Sequential",
        "Int8Linear",
        "ModuleDict",
        "Int8Linear",
        "LayerNorm",
    ]


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(ConfigError, match=r"precision: expected one of fp32, bf16, fp16, int8, found 'fp8'"):
        InferenceOptions("fp8")
    with pytest.raises(ConfigError, match=r"packing: encoders of type deberta-v2 need padding"):
        prepare(tiny_model("deberta_v3"), InferenceOptions(packing=True))
    with pytest.raises(ConfigError, match=r"int8 is for a CPU; on meta take bf16"):
        prepare(tiny_model("bert").to("meta"), InferenceOptions("int8"))


def test_a_prepared_model_is_neither_saved_nor_prepared_again(tmp_path: Path) -> None:
    model = prepare(tiny_model("bert"), InferenceOptions())
    with pytest.raises(ConfigError, match="cannot be saved"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="already prepared for inference"):
        prepare(model, InferenceOptions("bf16"))


def test_compile_without_a_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(function: object) -> NoReturn:
        raise RuntimeError("No working C++ compiler found\nlong story")

    monkeypatch.setattr(torch, "compile", refuse)
    model = tiny_model("bert").train()
    with pytest.raises(
        ConfigError, match=r"compile: torch.compile does not work for cpu on this machine: No working C\+\+ compiler"
    ):
        prepare(model, InferenceOptions(compile=True))
    assert model.training  # nothing was changed


@pytest.mark.slow  # `tests/training/test_speed.py` counts one family's graphs in the default suite
@pytest.mark.parametrize("family", ["bert", "t5", "modernbert", "deberta_v3"])
def test_any_shape_runs_in_few_compiled_graphs(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that counts stands in for inductor, which takes half a minute a graph."""
    graphs: list[torch.fx.GraphModule] = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(inference, "check_compiler", lambda device: None)
    monkeypatch.setattr(
        inference, "compile_encoder", lambda encoder, frozen: encoder.compile(dynamic=True, backend=count)
    )
    texts = [Example(tuple(COMMON[i % 7] for i in range(n))) for n in (1, 2, 5, 9, 9, 17, 23, 40, 58)]
    plain = tiny_model(family)
    expected = plain.predict(texts, batch_size=3)
    model = prepare(copy.deepcopy(plain), InferenceOptions(compile=True))
    for size in (1, 2, 3, 9):
        assert_close(model.predict(texts, batch_size=size), expected)
    assert 1 <= len(graphs) <= 4  # in one piece, for sizes above one and the special cases of a size of one
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.parametrize("precision", sorted(PRECISIONS))
def test_the_real_compiler(precision: str) -> None:
    model, texts = tiny_model("bert"), sentences()
    compiled = prepare(copy.deepcopy(model), InferenceOptions(precision, compile=True, allow_slow=True))
    for found, expected in zip(outputs(compiled, texts), outputs(model, texts), strict=True):
        assert (found - expected).norm() < 0.03 * expected.norm()
