"""Exported graphs find what the model finds, without torch; what does not fit is told."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.apps.onnx import OnnxBackend, export, tracing
from iter_lightning.apps.onnx import candidates as twin
from iter_lightning.apps.onnx.export import export_onnx
from iter_lightning.apps.onnx.graphs import default_threads
from iter_lightning.apps.onnx.manifest import Manifest, Parity, sha256
from iter_lightning.apps.onnx.tracing import FAMILIES
from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor, TorchBackend
from iter_lightning.features.lengths import whole_rows
from iter_lightning.model import IterConfig, IterModel, brackets, heads, pretrained
from iter_lightning.model import config as config_module
from iter_lightning.model import encoder as encoders
from iter_lightning.types import Example, Prediction, Schema
from tests import builders
from tests.builders import COMMON, SCHEMA, assert_close, random_example, tiny_model, wordpiece_tokenizer

SENTENCES = [list(COMMON[:n]) for n in (1, 4, 13)]
LONG = COMMON * 3


def spread(model: IterModel) -> IterModel:
    """Logits far from zero, so that rounding decides nothing."""
    with torch.no_grad():
        for head in (model.is_left, model.is_span, model.is_link):
            if head is not None:
                head.w_out.weight *= 20
    return model


def spread_model(family: str = "bert", **options: Any) -> IterModel:
    return spread(tiny_model(family, **options))


def exported_model(seed: int = 0) -> IterModel:
    """What the fixture exports: of one layer, because tracing takes its time."""
    torch.manual_seed(seed)
    config = builders.tiny_config("bert")
    config.num_hidden_layers = 1
    options = IterConfig(schema=SCHEMA, encoder=config.to_dict(), omega=3, link_threshold=0.8)
    return spread(IterModel(options, encoders.build_encoder(config), wordpiece_tokenizer()).eval())


def sentences(count: int = 40, longest: int = 30) -> list[Example]:
    """Examples of mixed lengths, one of no words."""
    rng = random.Random(0)
    return [Example(()), *(random_example(rng, words=rng.randint(1, longest), id=str(n)) for n in range(count))]


def predictions(
    backend: OnnxBackend | TorchBackend, examples: Sequence[Example], tokens: int = 200
) -> list[Prediction]:
    return list(backend.predict(iter(examples), backend.link_threshold, tokens))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[IterModel, Path, Parity]:
    """A BERT that pairs three lefts, in its own folder, with its graphs."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    model = exported_model()
    model.save_pretrained(folder)
    return model, folder, export_onnx(model, folder, sentences=SENTENCES)


@pytest.fixture
def copied(exported: tuple[IterModel, Path, Parity], tmp_path: Path) -> Path:
    """The folder of the export, to be broken."""
    return Path(shutil.copytree(exported[1], tmp_path / "model"))


# what is found -------------------------------------------------------------------------------------------------------


def test_a_tiny_export_finds_what_the_model_finds(exported: tuple[IterModel, Path, Parity]) -> None:
    model, folder, parity = exported
    mine = predictions(OnnxBackend.from_pretrained(folder), sentences())
    theirs = predictions(TorchBackend(model), sentences())
    assert_close(mine, theirs)
    assert sum(len(p.entities) for p in mine) > 100
    assert sum(len(p.relations) for p in mine) > 100
    assert parity.exact
    assert parity.sentences == len(SENTENCES)
    assert parity.relations > 0
    assert 0 < max(parity.left_difference, parity.span_difference, parity.link_difference) < 1e-4


@pytest.mark.parametrize(
    "options",
    [
        {"flat": True},
        {"respect_word_boundaries": False},
        {"max_subwords": 24, "window_overlap": 8},
        {"max_subwords": 24, "window_overlap": 8, "flat": True},
        {"link_threshold": 0.2},
    ],
    ids=str,
)
def test_rules_of_the_host_are_the_model_s(
    options: dict[str, object], exported: tuple[IterModel, Path, Parity], tmp_path: Path
) -> None:
    """What the graphs do not hold may be changed after an export."""
    trained, folder, _ = exported
    config = replace(trained.config, **options)  # type: ignore[arg-type]
    model = IterModel(config, trained.encoder, trained.tokenizer).eval()
    model.load_state_dict(trained.state_dict())
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps(config.to_dict()))
    examples = [*sentences(10, 12), Example(LONG)]
    mine = predictions(OnnxBackend.from_pretrained(tmp_path / "model"), examples)
    assert_close(mine, predictions(TorchBackend(model), examples))
    assert any(p.entities for p in mine)


def test_an_export_from_before_inverse_links_is_read(exported: tuple[IterModel, Path, Parity], copied: Path) -> None:
    for path, of in ((copied / "config.json", lambda v: v), (copied / "onnx" / "manifest.json", lambda v: v["config"])):
        values = json.loads(path.read_text())
        del of(values)["inverse_links"]
        path.write_text(json.dumps(values))
    mine = predictions(OnnxBackend.from_pretrained(copied), sentences(5))
    assert mine == predictions(OnnxBackend.from_pretrained(exported[1]), sentences(5))


def test_memory_and_budget_change_nothing(exported: tuple[IterModel, Path, Parity]) -> None:
    backend = OnnxBackend.from_pretrained(exported[1], threads=2)
    small = replace(backend, graphs=replace(backend.graphs, left_rows=3, pairs=7, entities=5))
    want = predictions(backend, sentences(), 4096)
    assert_close(predictions(small, sentences(), 1), want)


def test_it_streams(exported: tuple[IterModel, Path, Parity], monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a pool of an endless stream is taken for the first prediction."""
    monkeypatch.setattr("iter_lightning.apps.onnx.backend.POOL", 8)
    taken: list[Example] = []

    def endless() -> Sequence[Example]:
        for number in range(10**6):
            taken.append(Example((COMMON[number % 13],)))
            yield taken[-1]

    next(OnnxBackend.from_pretrained(exported[1]).predict(endless(), 0.5, 64))
    assert len(taken) == 8


@pytest.mark.parametrize("family", sorted(set(builders.FAMILIES) - {"bert"}))
@pytest.mark.slow
def test_every_family_exports(family: str, tmp_path: Path) -> None:
    model = spread_model(family, max_subwords=200)
    assert model.config.encoder["model_type"] in FAMILIES
    assert export_onnx(model, tmp_path / "model", sentences=SENTENCES).exact
    mine = predictions(OnnxBackend.from_pretrained(tmp_path / "model"), sentences(20, 60))
    assert_close(mine, predictions(TorchBackend(model), sentences(20, 60)), 1e-4)


@pytest.mark.parametrize(
    ("omega", "decision", "activation", "inverse_links"),
    [(1, "argmax", "gelu", True), (1, "sum", "tanh", False), (3, "all", "relu", False), (3, "argmax", "relu", True)],
)
@pytest.mark.slow
def test_every_rule_exports(omega: int, decision: str, activation: str, inverse_links: bool, tmp_path: Path) -> None:
    model = spread_model(
        omega=omega, type_decision=decision, activation=activation, left_width=20, pair_width=24,
        inverse_links=inverse_links,
    )  # fmt: skip
    assert export_onnx(model, tmp_path / "model", sentences=SENTENCES).relations > 0
    backend = OnnxBackend.from_pretrained(tmp_path / "model")
    for tokens in (200, 1):  # one by one, too: some find no pair of entities
        assert_close(predictions(backend, sentences(), tokens), predictions(TorchBackend(model), sentences(), tokens))


@pytest.mark.slow
def test_a_schema_without_relations_exports(tmp_path: Path) -> None:
    model = spread_model(schema=Schema(("A", "B")))
    parity = export_onnx(model, tmp_path / "model", sentences=SENTENCES)
    assert not (tmp_path / "model" / "onnx" / "is_link.onnx").exists()
    assert (parity.relations, parity.link_difference) == (0, 0.0)
    examples = [Example(tuple(words)) for words in SENTENCES]
    mine = predictions(OnnxBackend.from_pretrained(tmp_path / "model"), examples)
    assert_close(mine, predictions(TorchBackend(model), examples))


@pytest.mark.slow
def test_weights_of_a_gigabyte_lie_beside_their_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iter_lightning.apps.onnx.tracing._ONE_FILE", 1)
    model = spread_model()
    for precision in ("fp32", "int8"):
        export_onnx(model, tmp_path / "model", precision, SENTENCES)
        assert (tmp_path / "model" / "onnx" / "encoder.onnx.data").is_file()
        assert any(p.entities for p in predictions(OnnxBackend.from_pretrained(tmp_path / "model"), sentences()))


@pytest.mark.slow
def test_int8_is_smaller_and_says_how_near_it_is(tmp_path: Path) -> None:
    model = spread_model()
    whole = export_onnx(model, tmp_path / "model", sentences=SENTENCES)
    parity = export_onnx(model, tmp_path / "model", "int8", SENTENCES)  # in place of the other
    assert parity.bytes < whole.bytes
    assert parity.left_difference > whole.left_difference
    manifest = Manifest.read(tmp_path / "model" / "onnx")
    assert (manifest.precision, manifest.parity) == ("int8", json.loads(json.dumps(vars_of(parity))))
    backend = OnnxBackend.from_pretrained(tmp_path / "model")
    assert backend.kernels.endswith("CPUExecutionProvider: int8 graphs")
    theirs = predictions(TorchBackend(model), sentences())
    mine = predictions(backend, sentences())
    shared = sum(len(set(a.entities) & set(b.entities)) for a, b in zip(mine, theirs, strict=True))
    assert shared > 0.8 * sum(len(p.entities) for p in theirs)
    assert not list(tmp_path.glob(".*"))


def test_graphs_without_self_links_find_what_the_model_finds(exported: tuple[IterModel, Path, Parity]) -> None:
    """The rule is the configuration's: the graphs stay as they are."""
    model, folder, _ = exported
    other = exported_model()
    other.config = replace(model.config, self_links=False)
    backend = OnnxBackend.from_pretrained(folder)
    mine = predictions(replace(backend, config=other.config), sentences())
    assert_close(mine, predictions(TorchBackend(other), sentences()))
    before = {r for p in predictions(TorchBackend(model), sentences()) for r in p.relations}
    found = {r for p in mine for r in p.relations}
    assert found
    assert found < before
    assert {r.head.span == r.tail.span for r in before} == {True, False}
    assert not any(r.head.span == r.tail.span for r in found)


def vars_of(parity: Parity) -> dict[str, object]:
    return {name: getattr(parity, name) for name in Parity.__dataclass_fields__}


# index arithmetic ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 8))
def test_candidates_are_those_of_the_tensors(kinds: list[int], omega: int, length: int) -> None:
    """Each slot is nothing, a left, a right, or both."""
    slots = np.array(kinds + [0] * (-len(kinds) % length))
    lefts, rights = np.flatnonzero(slots % 2 == 1), np.flatnonzero(slots >= 2)
    is_left = torch.from_numpy(slots % 2 == 1).view(-1, length)
    theirs = brackets.span_candidates(is_left, torch.from_numpy(lefts), torch.from_numpy(rights), omega, "valid")
    left_row, right_row = twin.nearest_lefts(lefts, rights, length, omega)
    assert lefts[left_row].tolist() == theirs.left_slot_C.tolist()
    assert rights[right_row].tolist() == theirs.right_slot_C.tolist()


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(1, 9))
def test_pairs_are_those_of_the_tensors(rows: list[int], limit: int) -> None:
    row = np.sort(np.array(rows, dtype=np.int64))
    head, tail = twin.ordered_pairs(row)
    theirs = brackets.ordered_pairs(torch.from_numpy(row), torch.from_numpy(row), 7)
    assert (head.tolist(), tail.tolist()) == (theirs[0].tolist(), theirs[1].tolist())
    if not rows:
        return
    found = [
        pair
        for some, pairs in whole_rows(np.bincount(row).tolist(), limit)
        for pair in zip(head[pairs], tail[pairs], strict=True)
        if some.start <= min(pair) and max(pair) < some.stop
    ]
    assert found == list(zip(head, tail, strict=True))


# without torch -------------------------------------------------------------------------------------------------------

_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import iter_lightning.features.alignment, iter_lightning.model.config, iter_lightning.model.conversion
from iter_lightning import Document, Extractor, IterConfig
from iter_lightning.errors import EncoderError
extractor = Extractor.from_pretrained(sys.argv[1], language="none", backend="onnx")
assert extractor.kernels.startswith("onnxruntime ") and extractor.kernels.endswith("CPUExecutionProvider: fp32 graphs")
try:
    Extractor.from_pretrained("nowhere", language="none", backend="onnx")
except EncoderError as error:
    assert "no ONNX graphs in nowhere" in str(error)
else:
    raise AssertionError("found a model nowhere")
import json
found = extractor([Document.from_words([s.split(" ") for s in text]) for text in json.loads(sys.argv[2])])
print(json.dumps([document.to_dict() for document in found]))
assert not [name for name in sys.modules if name == "torch" and sys.modules[name] or name.startswith("torch.")]
"""


def test_it_runs_without_torch(exported: tuple[IterModel, Path, Parity]) -> None:
    model, folder, _ = exported
    texts = [["Ada lives in London", "her brother works for the Bank"], [" ".join(COMMON)]]
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, str(folder), json.dumps(texts)], capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    mine = [Document.from_dict(values) for values in json.loads(run.stdout.splitlines()[-1])]
    theirs = Extractor(TorchBackend(model), None)(
        [Document.from_words([sentence.split(" ") for sentence in text]) for text in texts]
    )
    for one, other in zip(mine, theirs, strict=True):
        assert [(e.start, e.end, e.type) for e in one.entities] == [(e.start, e.end, e.type) for e in other.entities]
        assert [r.type for r in one.relations] == [r.type for r in other.relations]
        assert [e.score for e in one.entities] == pytest.approx([e.score for e in other.entities], abs=1e-5)
    assert sum(len(document.relations) for document in mine) > 0


def test_onnxruntime_that_is_missing_is_named(
    exported: tuple[IterModel, Path, Parity], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"onnxruntime.*iter-lightning\[onnx\]"):
        OnnxBackend.from_pretrained(exported[1])


def test_threads(exported: tuple[IterModel, Path, Parity], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= default_threads() <= (os.cpu_count() or 1)
    with pytest.raises(ConfigError, match="threads must be at least 1, found 0"):
        OnnxBackend.from_pretrained(exported[1], threads=0)
    with pytest.raises(ConfigError, match="max_tokens must be at least 1, found 0"):
        OnnxBackend.from_pretrained(exported[1], threads=1).predict([], 0.5, 0)


# the export ----------------------------------------------------------------------------------------------------------


def test_the_export_leaves_the_model_and_its_folder_as_they_were(exported: tuple[IterModel, Path, Parity]) -> None:
    model, folder, _ = exported
    fresh = exported_model()
    assert model.encoder.config._attn_implementation == fresh.encoder.config._attn_implementation
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json", "model.safetensors", "onnx", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
    manifest = json.loads((folder / "onnx" / "manifest.json").read_text())
    assert manifest["model_sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert manifest["opset"] >= 18
    assert manifest["precision"] == "fp32"


@pytest.mark.slow
def test_a_folder_of_its_own_gets_what_is_needed(tmp_path: Path) -> None:
    model = spread_model().train()
    model.save_pretrained(tmp_path / "saved")
    export_onnx(model, tmp_path / "deep" / "graphs", sentences=SENTENCES)
    assert model.training
    folder = tmp_path / "deep" / "graphs"
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "onnx",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert Manifest.read(folder / "onnx").model_sha256 == sha256(tmp_path / "saved" / "model.safetensors")
    assert OnnxBackend.from_pretrained(folder).schema == SCHEMA


def test_an_export_that_finds_anything_else_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Parity("fp32", 3, 0.1, 0.1, 0.1, 0.0, 9, 9, 8, 4, 4, 4, 100)
    monkeypatch.setattr(export, "trace", lambda model, folder: None)
    monkeypatch.setattr(export, "verify_encoder", lambda model, folder: None)
    monkeypatch.setattr(export, "measure", lambda *_: measured)
    with pytest.raises(ConfigError, match=r"nothing was written: .*of 9 entities 8 found \(1 others\)"):
        export_onnx(tiny_model(), tmp_path / "model")
    monkeypatch.setattr(export, "measure", lambda *_: replace(measured, shared_entities=9, score_difference=0.002))
    with pytest.raises(ConfigError, match=r"of scores 0\.002"):
        export_onnx(tiny_model(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_what_the_exporter_stumbles_over_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise RuntimeError("step 1 of 3 failed") from NotImplementedError("no such operator\nand more")

    monkeypatch.setattr(torch.onnx, "export", stumble)
    model = tiny_model()
    with pytest.raises(
        ConfigError, match=r"type bert does not export to ONNX \(NotImplementedError: no such operator\)"
    ):
        export_onnx(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    assert model.encoder.config._attn_implementation == tiny_model().encoder.config._attn_implementation


def test_an_encoder_s_graph_is_held_to_the_encoder(
    exported: tuple[IterModel, Path, Parity], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At other shapes than it was traced at."""
    tracing.verify_encoder(exported[0], exported[1] / "onnx")
    with pytest.raises(ConfigError, match=r"encoder differs from the encoder by .* on 1 windows of 1"):
        tracing.verify_encoder(exported_model(seed=1), exported[1] / "onnx")
    monkeypatch.setattr(tracing, "_SHAPES", ((1, 600),))
    longer = replace_positions(exported_model(), 600)
    with pytest.raises(ConfigError, match="exported bert encoder does not run on 1 windows of 600 subwords"):
        tracing.verify_encoder(longer, exported[1] / "onnx")


def replace_positions(model: IterModel, count: int) -> IterModel:
    """The model with more positions than it was exported with."""
    embeddings = model.encoder.embeddings
    embeddings.position_embeddings = torch.nn.Embedding(count, 32)
    embeddings.position_ids = torch.arange(count)[None]
    embeddings.token_type_ids = torch.zeros(1, count, dtype=torch.long)
    model.max_subwords = count
    return model


@pytest.mark.slow
def test_an_encoder_that_does_not_export_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = exported_model()
    forward = model.encoder.forward

    def branching(*arguments: Any, **options: Any) -> Any:
        found = forward(*arguments, **options)
        if found.last_hidden_state.sum() > 0:  # depends on the data: no graph has both branches
            found.last_hidden_state = found.last_hidden_state * 2
        return found

    monkeypatch.setattr(model.encoder, "forward", branching)
    with pytest.raises(ConfigError, match=r"type bert does not export to ONNX \(.+: .+\); those that do: albert"):
        export_onnx(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def other_config(folder: Path, model: IterModel) -> IterModel:
    (folder / "config.json").write_text(json.dumps({**model.config.to_dict(), "omega": 2}))
    return model


def other_weights(folder: Path, model: IterModel) -> IterModel:
    return exported_model(seed=1)


def other_layout(folder: Path, model: IterModel) -> IterModel:
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return model


def broken_weights(folder: Path, model: IterModel) -> IterModel:
    (folder / "model.safetensors").write_bytes(b"nothing")
    return model


def without_tokenizer(folder: Path, model: IterModel) -> IterModel:
    return IterModel(model.config, model.encoder)


def halved(folder: Path, model: IterModel) -> IterModel:
    return spread_model().half()


@pytest.mark.parametrize(
    ("breaks", "error", "told"),
    [
        (other_config, ConfigError, "config.json is of another model"),
        (other_weights, ConfigError, "model.safetensors holds other weights"),
        (other_layout, ConfigError, "config.json: not an ITER configuration"),
        (broken_weights, EncoderError, "model.safetensors: "),
        (without_tokenizer, EncoderError, "without a tokenizer"),
        (halved, ConfigError, "float32, found float16"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    breaks: Callable[[Path, IterModel], IterModel], error: type[Exception], told: str, copied: Path,
    exported: tuple[IterModel, Path, Parity],
) -> None:  # fmt: skip
    model = breaks(copied, exported[0])
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    with pytest.raises(error, match=told):
        export_onnx(model, copied)
    assert before == {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}


def test_a_precision_that_is_none_and_a_package_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="precision 'int4' is none of fp32, int8"):
        export_onnx(tiny_model(), tmp_path / "model", "int4")
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else True)
    with pytest.raises(ConfigError, match=r"needs onnxscript \(pip install 'iter-lightning\[onnx\]'\)"):
        export_onnx(tiny_model(), tmp_path / "model")


# files ---------------------------------------------------------------------------------------------------------------


def damaged(folder: Path) -> None:
    path = folder / "onnx" / "is_span.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unreadable_graph(folder: Path) -> None:
    path = folder / "onnx" / "is_left.onnx"
    path.write_bytes(b"no graph")
    change_manifest(folder, lambda values: values["files"].update({"is_left.onnx": sha256(path)}))


def change_manifest(folder: Path, change: Callable[[dict[str, dict[str, object]]], object]) -> None:
    path = folder / "onnx" / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def retrained(folder: Path) -> None:
    exported_model(seed=1).save_pretrained(folder)


def reconfigured(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "type_decision": "all", "omega": 2}))


def with_both_readings(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "inverse_links": True}))
    change_manifest(folder, lambda v: v["config"].pop("inverse_links"))  # as before there was the option


@pytest.mark.parametrize(
    ("breaks", "told"),
    [
        (lambda folder: shutil.rmtree(folder / "onnx"), "no ONNX graphs in .*manifest.json is missing; export"),
        (lambda folder: (folder / "onnx" / "encoder.onnx").unlink(), "encoder.onnx is missing"),
        (damaged, "is_span.onnx: its SHA-256 is not the manifest's"),
        (unreadable_graph, "is_left.onnx: onnxruntime .* cannot run it"),
        (lambda folder: (folder / "onnx" / "manifest.json").write_text("{"), "manifest.json: Expecting"),
        (lambda folder: change_manifest(folder, lambda v: v.pop("opset")), "manifest.json: not a manifest of format 1"),
        (lambda folder: change_manifest(folder, lambda v: v.update(files=[])), "manifest.json: files: expected"),
        (retrained, "graphs are of other weights than .*model.safetensors; export the model again"),
        (reconfigured, r"another configuration than .*config.json \(omega, type_decision\)"),
        (with_both_readings, r"another configuration than .*config.json \(inverse_links\)"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: "),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json: found list, expected an object"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "no tokenizer in .*tokenizer_config.json"),
    ],
)
def test_files_that_do_not_fit_are_named(breaks: Callable[[Path], None], told: str, copied: Path) -> None:
    breaks(copied)
    with pytest.raises(EncoderError, match=told):
        OnnxBackend.from_pretrained(copied)


def test_graphs_need_no_weights_beside_them(copied: Path, exported: tuple[IterModel, Path, Parity]) -> None:
    (copied / "model.safetensors").unlink()
    extractor = Extractor.from_pretrained(copied, language="none", backend="onnx")
    assert extractor.schema == SCHEMA
    assert extractor.backend.link_threshold == 0.8


def test_what_is_read_without_torch_is_what_the_network_has() -> None:
    assert tuple(heads.ACTIVATIONS) == config_module.ACTIVATIONS
    for family in builders.FAMILIES:
        model = tiny_model(family)
        assert pretrained.longest_window(model.config) == model.max_subwords
