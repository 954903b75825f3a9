"""One exported model for all tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from iter_lightning.apps.onnx.export import export_onnx
from iter_lightning.apps.onnx.manifest import Manifest, Parity
from iter_lightning.io.locks import locked
from iter_lightning.model import IterModel
from tests.apps.onnx.builders import SENTENCES, small_model


@pytest.fixture(scope="session")
def model() -> IterModel:
    """A BERT that pairs three lefts, never changed."""
    return small_model()


@pytest.fixture(scope="session")
def exported(model: IterModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder with the graphs, never changed; exported once for all processes of pytest-xdist, as it takes long."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exported"
    shared.mkdir(exist_ok=True)
    folder = shared / "model"
    with locked(shared.with_suffix(".lock"), TimeoutError("the other process takes too long"), 300):
        if not (folder / "onnx").exists():
            model.save_pretrained(folder)
            export_onnx(folder, sentences=SENTENCES)
    return folder


@pytest.fixture(scope="session")
def parity(exported: Path) -> Parity:
    """The agreement of its graphs with it."""
    return Parity(**Manifest.read(exported / "onnx").parity)


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy of the folder with the graphs, to be changed."""
    return Path(shutil.copytree(exported, tmp_path / "model"))
