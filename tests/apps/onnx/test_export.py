from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from iter_lightning.apps.onnx import OnnxBackend, export
from iter_lightning.apps.onnx.export import export_onnx
from iter_lightning.apps.onnx.manifest import Manifest, Parity, sha256
from iter_lightning.apps.onnx.tracing import tested_families
from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.backends import TorchBackend
from iter_lightning.model import IterModel
from iter_lightning.types import Example, Schema
from tests import builders
from tests.apps.onnx.builders import SENTENCES, bound_model, predictions, sentences, spread_model
from tests.builders import assert_close


def exported_folder(model: IterModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    export_onnx(folder, sentences=SENTENCES)
    return folder


def test_export_adds_graphs_to_folder(exported: Path, parity: Parity) -> None:
    assert sorted(p.name for p in exported.iterdir()) == [
        "config.json", "model.safetensors", "onnx", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert [p.name for p in exported.parent.iterdir()] == ["model"]
    manifest = Manifest.read(exported / "onnx")
    assert manifest.model_sha256 == sha256(exported / "model.safetensors")
    assert manifest.opset >= 18
    assert (manifest.precision, manifest.parity) == ("fp32", asdict(parity))
    assert parity.exact
    assert parity.sentences == len(SENTENCES)
    assert parity.relations > 0
    assert 0 < parity.score_difference < 1e-4


@pytest.mark.parametrize("family", sorted(set(builders.FAMILIES) - {"bert"}))
@pytest.mark.slow
def test_export_every_family(family: str, tmp_path: Path) -> None:
    model = spread_model(family, max_subwords=200)
    assert model.config.encoder["model_type"] in tested_families()
    mine = predictions(OnnxBackend.from_pretrained(exported_folder(model, tmp_path / "model")), sentences(20, 60))
    assert_close(mine, predictions(TorchBackend(model), sentences(20, 60)), 1e-4)


@pytest.mark.parametrize(
    ("omega", "decision", "activation", "inverse_links"),
    [(1, "argmax", "gelu", True), (1, "sum", "tanh", False), (3, "all", "relu", False), (3, "argmax", "relu", True)],
)
@pytest.mark.slow
def test_export_every_option(omega: int, decision: str, activation: str, inverse_links: bool, tmp_path: Path) -> None:
    model = spread_model(
        omega=omega, type_decision=decision, activation=activation, left_width=20, pair_width=24,
        inverse_links=inverse_links,
    )  # fmt: skip
    backend = OnnxBackend.from_pretrained(exported_folder(model, tmp_path / "model"))
    for tokens in (200, 1):  # one sentence at a time, too: some have no pair of entities
        assert_close(predictions(backend, sentences(), tokens), predictions(TorchBackend(model), sentences(), tokens))


@pytest.mark.slow
def test_export_schema_without_relations(tmp_path: Path) -> None:
    model = spread_model(schema=Schema(("A", "B")))
    folder = exported_folder(model, tmp_path / "model")
    assert not (folder / "onnx" / "is_link.onnx").exists()
    examples = [Example(tuple(words)) for words in SENTENCES]
    assert_close(predictions(OnnxBackend.from_pretrained(folder), examples), predictions(TorchBackend(model), examples))


@pytest.mark.slow
def test_export_bound_model_finds_the_same(tmp_path: Path) -> None:
    schema = Schema(("person", "city", "bank of England"), ("lives in", "owns"), (), {"owns": ("person", "city")})  # type: ignore[arg-type]
    model = bound_model(schema)
    backend = OnnxBackend.from_pretrained(exported_folder(model, tmp_path / "model"))
    mine, theirs = predictions(backend, sentences()), predictions(TorchBackend(model), sentences())
    assert_close(mine, theirs)
    assert {entity.type for found in theirs for entity in found.entities} == set(schema.entity_types)
    assert {relation.type for found in theirs for relation in found.relations} == set(schema.relation_types)


def test_export_open_model_is_refused(tmp_path: Path) -> None:
    builders.tiny_model("bert", heads="open").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="the types of graphs are fixed; bind the model to labels first"):
        export_onnx(tmp_path)


@pytest.mark.slow
def test_export_large_weights_lie_beside_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iter_lightning.apps.onnx.tracing._ONE_FILE", 1)
    spread_model().save_pretrained(tmp_path / "model")
    for precision in ("fp32", "int8"):
        export_onnx(tmp_path / "model", precision, SENTENCES)
        assert (tmp_path / "model" / "onnx" / "encoder.onnx.data").is_file()
        assert any(p.entities for p in predictions(OnnxBackend.from_pretrained(tmp_path / "model"), sentences()))


@pytest.mark.slow
def test_export_int8_replaces_fp32_and_states_agreement(tmp_path: Path) -> None:
    model = spread_model().train()
    model.save_pretrained(tmp_path / "model")
    whole = export_onnx(tmp_path / "model", sentences=SENTENCES)
    parity = export_onnx(tmp_path / "model", "int8", SENTENCES)
    assert parity.bytes < whole.bytes
    assert parity.score_difference > whole.score_difference
    manifest = Manifest.read(tmp_path / "model" / "onnx")
    assert (manifest.precision, manifest.parity) == ("int8", json.loads(json.dumps(asdict(parity))))
    backend = OnnxBackend.from_pretrained(tmp_path / "model")
    assert backend.kernels.endswith("CPUExecutionProvider: int8 graphs")
    theirs, mine = predictions(TorchBackend(model.eval()), sentences()), predictions(backend, sentences())
    shared = sum(len(set(a.entities) & set(b.entities)) for a, b in zip(mine, theirs, strict=True))
    assert shared > 0.8 * sum(len(p.entities) for p in theirs)
    assert not [*tmp_path.glob(".*"), *(tmp_path / "model").glob(".*")]


def test_export_disagreement_leaves_old_graphs(copied: Path, parity: Parity, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    monkeypatch.setattr(export.tracing, "trace", lambda model, folder: None)
    monkeypatch.setattr(export.tracing, "verify", lambda model, folder: None)
    measured = replace(parity, entities=9, onnx_entities=9, shared_entities=8)
    for changed, fault in (
        (measured, r"nothing was written: .*8 of 9 entities found \(1 others\)"),
        (replace(measured, shared_entities=9, score_difference=0.002), r"of scores 0\.002"),
    ):
        monkeypatch.setattr(export, "compare", lambda *_, found=changed: found)
        with pytest.raises(ConfigError, match=fault):
            export_onnx(copied)
    assert before == {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("breaks", "fault"),
    [
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "not an ITER configuration"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"nothing"), "model.safetensors"),
        (lambda folder: [path.unlink() for path in folder.glob("tokenizer*")], "without a tokenizer"),
    ],
)
@pytest.mark.slow
def test_export_damaged_model_is_refused(breaks: Callable[[Path], object], fault: str, copied: Path) -> None:
    breaks(copied)
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    with pytest.raises(EncoderError, match=fault):
        export_onnx(copied)
    assert before == {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}


def test_export_bad_option_or_missing_package_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="precision: expected one of fp32, int8, found 'int4'"):
        export_onnx(exported, "int4")  # type: ignore[arg-type]
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else True)
    with pytest.raises(ConfigError, match=r"requires onnxscript \(pip install 'iter-lightning\[onnx\]'\)"):
        export_onnx(exported)
