"""What the real command line is given in these tests, and a run that is trained once for all of them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch

from iter_lightning.cli import main
from iter_lightning.training.summary import RunSummary


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # pinned losses; tiny tensors gain nothing from more
    logging.raiseExceptions = False  # Lightning's handler keeps the stream of the test that imported it first


@pytest.fixture
def arguments(encoder_dir: Path, corpus_dir: Path, tmp_path: Path) -> list[str]:
    """Arguments of every verb for a run of three epochs in `tmp_path / "run"`."""
    return options_of(encoder_dir, corpus_dir, tmp_path / "run")


@pytest.fixture
def without_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the analysis of a finished run, which takes longer than training a tiny model."""
    monkeypatch.setattr(RunSummary, "on_fit_end", lambda *_: None)


@pytest.fixture(scope="session")
def _trained_once(encoder_dir: Path, corpus_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunSummary, "on_fit_end", lambda *_: None)
        assert main(["fit", *options_of(encoder_dir, corpus_dir, run), "--trainer.max_epochs=1"]) == 0
    return run


@pytest.fixture
def trained(_trained_once: Path, arguments: list[str], tmp_path: Path) -> list[str]:
    """Arguments of a run of one epoch that has finished in `tmp_path / "run"`."""
    shutil.copytree(_trained_once, tmp_path / "run")
    return [*arguments, "--trainer.max_epochs=1"]


def options_of(encoder: Path, corpus: Path, run: Path) -> list[str]:
    return [
        "--data", "Custom", *(f"--data.{split}={corpus / split}.json" for split in ("train", "dev", "test")),
        f"--model.encoder={encoder}", "--model.encoder_group.learning_rate=1e-3",
        "--model.head_group.learning_rate=1e-3", f"--run_dir={run}", "--wandb.mode=disabled",
        "--trainer.accelerator=cpu", "--trainer.max_epochs=3", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
