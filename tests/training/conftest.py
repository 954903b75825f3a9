"""What the real command line is told in these tests."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # pinned losses; tiny tensors gain nothing from more
    logging.raiseExceptions = False  # Lightning's handler keeps the stream of the test that imported it first


@pytest.fixture
def arguments(encoder_dir: Path, corpus_dir: Path, tmp_path: Path) -> list[str]:
    """What every verb is told in these tests."""
    return [
        "--data", "Custom", *(f"--data.{split}={corpus_dir / split}.json" for split in ("train", "dev", "test")),
        f"--model.encoder={encoder_dir}", "--model.encoder_group.learning_rate=1e-3",
        "--model.head_group.learning_rate=1e-3", f"--run_dir={tmp_path / 'run'}", "--wandb.mode=disabled",
        "--trainer.accelerator=cpu", "--trainer.max_epochs=3", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
