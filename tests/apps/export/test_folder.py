from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from iter_lightning import IterModel
from iter_lightning.apps.export import folder as folders
from iter_lightning.apps.export.cli import main
from iter_lightning.errors import ConfigError, IterError
from iter_lightning.status import run_folder
from iter_lightning.types import Schema
from tests.builders import SCHEMA, tiny_model


def export(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def test_export_writes_model_without_traces_of_machine(run: Path, tmp_path: Path, model: IterModel) -> None:
    out = tmp_path / "out"
    export(run, out)
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(content(out))
    exported, state = IterModel.from_pretrained(out), model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in exported.state_dict().items())
    assert exported.config.schema == SCHEMA
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    for name, written in content(out).items():
        assert b"somebody" not in written, name
        assert str(tmp_path).encode() not in written, name


def test_run_folder_model_inside_run_finds_run(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "bare")
    assert run_folder(run) == run_folder(run / "model") == run
    assert run_folder(tmp_path / "bare") is None
    assert run_folder("owner/name") is None


def test_export_existing_folder_needs_overwrite_and_no_other_files(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export(run, out)  # an empty folder is no obstacle
    with pytest.raises(ConfigError, match="already exists"):
        export(run, out)
    before = content(out)
    export(run, out, "--overwrite", "--author", "Ada")
    assert b"| author | Ada |" in content(out)["README.md"] != before["README.md"]
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"contains thesis.tex, which no export writes"):
        export(run, out, "--overwrite")
    assert (out / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("model", "is the model to export"),
        ("file", "is not a folder"),
        ("half", "is not an earlier export"),
        ("link", "is not a folder"),
    ],
)
def test_export_unsuitable_target_is_refused(run: Path, tmp_path: Path, target: str, fault: str) -> None:
    places = {"model": run / "model", **{name: tmp_path / name for name in ("file", "half", "link")}}
    places["file"].touch()
    places["half"].mkdir()
    (places["half"] / "config.json").write_text('{"model_type": "iter"}')
    places["link"].symlink_to(places["half"])
    with pytest.raises(ConfigError, match=fault):
        export(run, places[target], "--overwrite")
    assert json.loads((run / "model" / "config.json").read_text())["model_type"] == "iter"


@pytest.mark.parametrize("overwrite", [False, True])
def test_export_failure_leaves_target_as_it_was(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    out = tmp_path / "out"
    if overwrite:
        export(run, out)
    before = content(out)

    def fail(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "model_card", fail)
    with pytest.raises(OSError, match="No space left"):
        export(run, out, *(["--overwrite"] if overwrite else []))
    assert content(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == (["out", "runs"] if overwrite else ["runs"])


def test_export_refused_leaves_nothing(run: Path, tmp_path: Path) -> None:
    for arguments, error, fault in (
        ((run, "--private"), ConfigError, "--private requires --push"),
        ((tmp_path / "nothing",), IterError, "no ITER model"),
    ):
        with pytest.raises(error, match=fault):
            export(arguments[0], tmp_path / "out", *arguments[1:])
    for path in (run / "model").glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ConfigError, match="has no tokenizer"):
        export(run, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_export_with_onnx_states_parity(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def graphs(folder: Path, precision: str) -> str:
        (folder / "onnx").mkdir()
        (folder / "onnx" / "encoder.onnx").write_text(precision)
        return "the same | everywhere"

    monkeypatch.setattr("iter_lightning.apps.export.folder.export_onnx", graphs)
    export(run, tmp_path / "out", "--onnx", "int8")
    assert (tmp_path / "out" / "onnx" / "encoder.onnx").read_text() == "int8"
    text = (tmp_path / "out" / "README.md").read_text()
    assert "compared with the model: the same | everywhere." in text
    assert 'backend="onnx"' in text
    export(run, tmp_path / "out", "--overwrite")
    assert not (tmp_path / "out" / "onnx").exists()


def test_export_with_onnx_missing_package_is_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "iter_lightning.apps.onnx.export.find_spec", lambda name: None if name == "onnxscript" else True
    )
    with pytest.raises(ConfigError, match=r"requires onnxscript \(pip install 'iter-lightning\[onnx\]'\)"):
        export(run, tmp_path / "out", "--onnx", "fp32")


@pytest.fixture
def open_run(run: Path) -> Path:
    """The same run, with an open model."""
    tiny_model("bert", heads="open").save_pretrained(run / "model")
    return run


def test_export_open_model_stays_open(open_run: Path, tmp_path: Path) -> None:
    export(open_run, tmp_path / "out")
    exported = IterModel.from_pretrained(tmp_path / "out")
    assert exported.config.heads == "open"
    assert exported.config.schema == SCHEMA
    card = (tmp_path / "out" / "README.md").read_text()
    assert "you choose the\ntypes when you use it" in card
    assert "labels=['person', 'city'], relations=['born in'])" in card


def test_export_labels_bind_open_model(open_run: Path, tmp_path: Path) -> None:
    export(open_run, tmp_path / "out", "--labels", "person, city", "--relations", "works for")
    exported = IterModel.from_pretrained(tmp_path / "out")
    assert (exported.config.heads, exported.config.schema) == ("bound", Schema(("person", "city"), ("works for",)))
    bound = IterModel.from_pretrained(open_run).bind(exported.config.schema)
    assert all(torch.equal(value, bound.state_dict()[name]) for name, value in exported.state_dict().items())
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| entity types | `person`, `city` |" in card
    assert "Scores: not recorded." in card  # those of the run are of other types
    (schema := tmp_path / "labels.yaml").write_text("labels: {person: a human}")
    export(open_run, tmp_path / "out", "--schema", schema, "--overwrite")
    assert IterModel.from_pretrained(tmp_path / "out").config.schema == Schema(("person",))


def test_export_onnx_binds_default_types(open_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iter_lightning.apps.export.folder.export_onnx", lambda folder, precision: "same")
    export(open_run, tmp_path / "out", "--onnx", "fp32")
    exported = IterModel.from_pretrained(tmp_path / "out")
    assert (exported.config.heads, exported.config.schema) == ("bound", SCHEMA)


def test_export_labels_for_fixed_model_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only an open model has types of your choice"):
        export(run, tmp_path / "out", "--labels", "person")
    assert not (tmp_path / "out").exists()


def test_export_compact_is_smaller(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "whole")
    export(run, tmp_path / "compact", "--compact")
    whole, compact = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "compact"))
    assert compact < whole
    assert IterModel.from_pretrained(tmp_path / "compact").config.schema == SCHEMA
