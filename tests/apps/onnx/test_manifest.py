from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.apps.onnx import OnnxBackend
from iter_lightning.apps.onnx.manifest import sha256
from iter_lightning.errors import EncoderError
from tests.apps.onnx.builders import predictions, sentences, small_model


def change(path: Path, **values: Any) -> None:
    """Change top-level values of a JSON file; None removes one."""
    content = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def change_manifest(folder: Path, **values: Any) -> None:
    change(folder / "onnx" / "manifest.json", **values)


def stored_config(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "onnx" / "manifest.json").read_text())["config"])


def damage_graph(folder: Path) -> None:
    path = folder / "onnx" / "is_span.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_graph(folder: Path) -> None:
    path = folder / "onnx" / "is_left.onnx"
    path.write_bytes(b"no graph")
    files = json.loads((folder / "onnx" / "manifest.json").read_text())["files"]
    change_manifest(folder, files={**files, "is_left.onnx": sha256(path)})


def add_inverse_links(folder: Path) -> None:
    change(folder / "config.json", inverse_links=True)
    change_manifest(folder, config={k: v for k, v in stored_config(folder).items() if k != "inverse_links"})


@pytest.mark.parametrize(
    ("breaks", "fault"),
    [
        (lambda folder: shutil.rmtree(folder / "onnx"), "no ONNX graphs in .*manifest.json is missing; export"),
        (lambda folder: (folder / "onnx" / "encoder.onnx").unlink(), "encoder.onnx is missing"),
        (damage_graph, "is_span.onnx: its SHA-256 differs from the manifest"),
        (replace_graph, "is_left.onnx: onnxruntime .* cannot run it"),
        (lambda folder: (folder / "onnx" / "manifest.json").write_text("{"), "manifest.json: Expecting"),
        (lambda folder: change_manifest(folder, opset=None), "manifest.json: not a manifest of format 1"),
        (lambda folder: change_manifest(folder, files=[]), "manifest.json: files: expected"),
        (
            lambda folder: small_model(seed=1).save_pretrained(folder),
            "graphs are of other weights than .*model.safetensors; export the model again",
        ),
        (
            lambda folder: change(folder / "config.json", type_decision="all", omega=2),
            r"another configuration than .*config.json \(omega, type_decision\)",
        ),
        (add_inverse_links, r"another configuration than .*config.json \(inverse_links\)"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: "),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json: found list, expected an object"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "no tokenizer in .*tokenizer_config.json"),
    ],
)
def test_from_pretrained_files_that_do_not_fit_are_named(
    breaks: Callable[[Path], object], fault: str, copied: Path
) -> None:
    breaks(copied)
    with pytest.raises(EncoderError, match=fault):
        OnnxBackend.from_pretrained(copied)


def test_from_pretrained_older_manifest_loads(exported: Path, copied: Path) -> None:
    """Manifests had differences of logits, and at first no option `inverse_links`."""
    change(copied / "config.json", inverse_links=None)
    options = {k: v for k, v in stored_config(copied).items() if k != "inverse_links"}
    change_manifest(copied, config=options, parity={"precision": "fp32", "left_difference": 0.1})
    mine = predictions(OnnxBackend.from_pretrained(copied), sentences(5))
    assert mine == predictions(OnnxBackend.from_pretrained(exported), sentences(5))
