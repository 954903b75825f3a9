"""SciERC with coreference through the real command line: trained as a relation type, scored as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iter_lightning.cli import main
from tests.corpora.test_loading import scierc_documents

pytestmark = pytest.mark.usefixtures("without_analysis")


def test_fit_and_test(encoder_dir: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [
        "--data=SciERC", "--data.coreference=true", f"--data.data_dir={scierc_documents(tmp_path / 'scierc_dygie')}",
        f"--model.encoder={encoder_dir}", f"--run_dir={run}", "--wandb.mode=disabled", "--trainer.accelerator=cpu",
        "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    assert main(["fit", *arguments]) == 0
    assert main(["test", *arguments]) == 0
    data = json.loads((run / "manifest.json").read_text())["data"]
    assert data["title"] == "SciERC documents with coreference"
    assert list(data["files"]) == ["train.json", "dev.json", "test.json"]
    assert data["splits"]["test"]["relations"] == 2
    for entry in json.loads((run / "results.json").read_text())["test"]:
        twice = entry["definition"]["symmetric"] == "twice"
        assert entry["scores"]["RE+"]["per_type"]["Coreference"]["support"] == 1 + twice
