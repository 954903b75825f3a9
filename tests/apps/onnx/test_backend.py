"""Exported graphs find what the model finds, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from iter_lightning.apps.onnx import OnnxBackend
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.backends import TorchBackend
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.labels import Labels
from iter_lightning.model import IterModel, heads, pretrained
from iter_lightning.model import config as config_module
from iter_lightning.types import Example
from tests import builders
from tests.apps.onnx.builders import predictions, sentences, small_model
from tests.builders import COMMON, SCHEMA, assert_close, tiny_model

pytestmark = pytest.mark.slow  # exports take minutes


def test_predict_finds_what_model_finds(model: IterModel, exported: Path) -> None:
    mine = predictions(OnnxBackend.from_pretrained(exported), sentences())
    assert_close(mine, predictions(TorchBackend(model), sentences()))
    assert sum(len(p.entities) for p in mine) > 100
    assert sum(len(p.relations) for p in mine) > 100


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
def test_predict_changed_option_equals_model(options: dict[str, object], model: IterModel, copied: Path) -> None:
    """Options that the graphs do not contain may be changed after an export."""
    config = replace(model.config, **options)  # type: ignore[arg-type]
    changed = IterModel(config, model.encoder, model.tokenizer).eval()
    changed.load_state_dict(model.state_dict())
    (copied / "config.json").write_text(json.dumps(config.to_dict()))
    examples = [*sentences(10, 12), Example(COMMON * 3)]
    mine = predictions(OnnxBackend.from_pretrained(copied), examples)
    assert_close(mine, predictions(TorchBackend(changed), examples))
    assert any(p.entities for p in mine)


def test_predict_without_self_links_equals_model(model: IterModel, exported: Path) -> None:
    other = small_model()
    other.config = replace(model.config, self_links=False)
    backend = OnnxBackend.from_pretrained(exported)
    mine = predictions(replace(backend, config=other.config), sentences())
    assert_close(mine, predictions(TorchBackend(other), sentences()))
    before = {r for p in predictions(TorchBackend(model), sentences()) for r in p.relations}
    found = {r for p in mine for r in p.relations}
    assert found
    assert found < before
    assert {r.head.span == r.tail.span for r in before} == {True, False}
    assert not any(r.head.span == r.tail.span for r in found)


def test_predict_small_chunks_and_batches_change_nothing(exported: Path) -> None:
    backend = OnnxBackend.from_pretrained(exported, threads=2)
    small = replace(backend, graphs=replace(backend.graphs, left_rows=3, pairs=7, entities=5))
    assert_close(predictions(small, sentences(), 1), predictions(backend, sentences(), 4096))


def test_predict_endless_stream_takes_one_pool(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iter_lightning.apps.onnx.backend.POOL", 8)
    taken: list[Example] = []

    def endless() -> Iterator[Example]:
        for number in range(10**6):
            taken.append(Example((COMMON[number % 13],)))
            yield taken[-1]

    next(OnnxBackend.from_pretrained(exported).predict(endless(), 0.5, 64))
    assert len(taken) == 8


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
    assert "no ITER model nowhere" in str(error)
else:
    raise AssertionError("found a model nowhere")
import json
found = extractor([Document.from_words([s.split(" ") for s in text]) for text in json.loads(sys.argv[2])])
print(json.dumps([document.to_dict() for document in found]))
assert not [name for name in sys.modules if name == "torch" and sys.modules[name] or name.startswith("torch.")]
"""


def test_extractor_runs_without_torch(model: IterModel, exported: Path) -> None:
    texts = [["Ada lives in London", "her brother works for the Bank"], [" ".join(COMMON)]]
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, str(exported), json.dumps(texts)], capture_output=True, text=True,
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


def test_from_pretrained_needs_no_weights(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    extractor = Extractor.from_pretrained(copied, language="none", backend="onnx")
    assert extractor.schema == SCHEMA
    assert extractor.backend.link_threshold == 0.8


def test_from_pretrained_onnxruntime_missing_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"onnxruntime.*iter-lightning\[onnx\]"):
        OnnxBackend.from_pretrained(exported)


def test_options_out_of_range_are_refused(exported: Path) -> None:
    with pytest.raises(ConfigError, match="threads must be at least 1, found 0"):
        OnnxBackend.from_pretrained(exported, threads=0)
    with pytest.raises(ConfigError, match="max_tokens must be at least 1, found 0"):
        OnnxBackend.from_pretrained(exported, threads=1).predict([], 0.5, 0)


def test_values_read_without_torch_equal_network() -> None:
    assert tuple(heads.ACTIVATIONS) == get_args(config_module.Activation)
    for family in builders.FAMILIES:
        model = tiny_model(family)
        assert pretrained.longest_window(model.config) == model.max_subwords


def test_bind_fixed_labels_is_refused(exported: Path) -> None:
    backend = OnnxBackend.from_pretrained(exported)
    assert not backend.open
    with pytest.raises(ConfigError, match=r"labels of an exported model are fixed; export it with --labels"):
        backend.bind(Labels.of(["person"]))
