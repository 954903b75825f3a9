from __future__ import annotations

from pathlib import Path

import pytest

from iter_lightning.corpora.synthetic import SCHEMA
from tests.builders import tiny_model


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a tiny exported model of the synthetic corpus's types."""
    folder = tmp_path_factory.mktemp("place") / "mine" / "seed1"
    tiny_model("bert", SCHEMA, omega=2, flat=True, dropout=0.1).save_pretrained(folder / "model")
    return folder
