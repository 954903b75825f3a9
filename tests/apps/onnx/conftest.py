"""One exported model for all tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from iter_lightning.apps.onnx.export import export_onnx
from iter_lightning.apps.onnx.manifest import Parity
from iter_lightning.model import IterModel
from tests.apps.onnx.builders import SENTENCES, small_model


@pytest.fixture(scope="session")
def model() -> IterModel:
    """A BERT that pairs three lefts, never changed."""
    return small_model()


@pytest.fixture(scope="session")
def parity(model: IterModel, folder: Path) -> Parity:
    """The agreement of its graphs with it."""
    return export_onnx(folder, sentences=SENTENCES)


@pytest.fixture(scope="session")
def folder(model: IterModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder, never changed."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def exported(folder: Path, parity: Parity) -> Path:
    """Its folder with the graphs, never changed."""
    return folder


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy of the folder with the graphs, to be changed."""
    return Path(shutil.copytree(exported, tmp_path / "model"))
