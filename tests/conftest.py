"""Modes: `pytest` (fast), `pytest -m corpora` (reads real corpora from ITER_DATA), `pytest -m slow` (trains)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the first import of transformers: no test needs a network
settings.register_profile("iter", deadline=None, max_examples=100, derandomize=True, database=None)
settings.load_profile("iter")


@pytest.fixture(scope="session")
def corpora_dir() -> Path:
    """The folder of real corpora, one sub-folder a corpus; skips where it is absent."""
    folder = Path(os.environ.get("ITER_DATA", "data"))
    if not folder.is_dir():
        pytest.skip(f"no corpora in {folder.absolute()}: set ITER_DATA or run `python -m iter_lightning prepare`")
    return folder


@pytest.fixture(scope="session")
def encoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers with its tokenizer, in Hugging Face layout."""
    from tests.builders import tiny_model

    folder = tmp_path_factory.mktemp("encoder")
    model = tiny_model("bert")
    model.encoder.save_pretrained(folder)
    assert model.tokenizer is not None
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.json, dev.json and test.json in SpERT's layout."""
    from iter_lightning.corpora.spert import write_spert
    from iter_lightning.corpora.synthetic import SyntheticConfig, synthetic_splits

    folder = tmp_path_factory.mktemp("corpus")
    for split, examples in synthetic_splits(SyntheticConfig(sentences=24, depth=2)).items():
        write_spert(examples, folder / f"{split}.json")
    return folder
