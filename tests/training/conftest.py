"""A tiny encoder and a tiny corpus on disk, for the real command line."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from iter_lightning.corpora.spert import write_spert
from iter_lightning.corpora.synthetic import SyntheticConfig, synthetic_splits
from tests.builders import tiny_model


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # pinned losses; tiny tensors gain nothing from more
    logging.raiseExceptions = False  # Lightning's handler keeps the stream of the test that imported it first


@pytest.fixture(scope="session")
def encoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers with its tokenizer, in Hugging Face layout."""
    folder = tmp_path_factory.mktemp("encoder")
    model = tiny_model("bert")
    model.encoder.save_pretrained(folder)
    assert model.tokenizer is not None
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.json, dev.json and test.json in SpERT's layout."""
    folder = tmp_path_factory.mktemp("corpus")
    for split, examples in synthetic_splits(SyntheticConfig(sentences=24, depth=2)).items():
        write_spert(examples, folder / f"{split}.json")
    return folder


@pytest.fixture
def arguments(encoder_dir: Path, corpus_dir: Path, tmp_path: Path) -> list[str]:
    """What every verb is told in these tests."""
    return [
        "--data", "Custom", *(f"--data.{split}={corpus_dir / split}.json" for split in ("train", "dev", "test")),
        f"--model.encoder={encoder_dir}", "--model.encoder_group.learning_rate=1e-3",
        "--model.head_group.learning_rate=1e-3", f"--run_dir={tmp_path / 'run'}", "--wandb.mode=disabled",
        "--trainer.accelerator=cpu", "--trainer.max_epochs=3", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
