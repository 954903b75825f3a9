"""A run with every record that a model card shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from iter_lightning import IterModel
from iter_lightning.apps.export.facts import ModelFacts
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.metrics.functional import Counts, report
from iter_lightning.training.run import RunFolder
from tests.builders import tiny_model

SECRET = "/home/somebody/secret place"


@pytest.fixture(scope="session")
def scores() -> dict[str, Any]:
    """Scores of three tasks, as `test` writes them."""
    counts = {
        "NER": {"Loc": Counts(30, 10, 20), "Org": Counts(1, 2, 3), "Per": Counts()},
        "RE": {"LiveIn": Counts(5, 5, 5), "WorkFor": Counts(3, 0, 1)},
        "RE+": {"LiveIn": Counts(4, 6, 6), "WorkFor": Counts(3, 0, 1)},
    }
    return dict(report(counts))


@pytest.fixture
def manifest() -> dict[str, Any]:
    """The manifest of a finished run."""
    train = {"sentences": 922, "entities": 3377, "relations": 1283, "sha256": "7516b14f56dbc46868ea"}
    lost = {"entities": 3377, "entities_expressed": 3370, "relations": 1283, "relations_expressed": 1280}
    average = {"class_path": "iter_lightning.training.callbacks.MovingAverage", "init_args": {"decay": 0.99}}
    data = {"batch_size": 8, "split_protocol": "clean", "data_dir": f"{SECRET}/data"}
    return {
        "status": "finished", "seed": 7, "encoder": f"{SECRET}/tiny-bert", "device": "cpu", "platform": "Linux",
        "versions": {"iter-lightning": "0.1.0", "torch": "2.13.0"}, "commit": "abc123", "commit_clean": False,
        "seconds": 7200.0, "epochs": 3, "best": {"epoch": 2, "dev/f1": 0.625}, "attempts": [{}, {}],
        "link_threshold": {"value": 0.4, "chosen_on": "dev", "by": "RE+ F1"},
        "init": {"from": f"{SECRET}/runs/first", "sha256": "f00d"},
        "data": {"title": "CoNLL04", "splits": {"train": train}},
        "encoding": {"train": {**lost, "erased_words": 4, "clipped_words": 5}},
        "config": {
            "trainer": {"max_epochs": 3, "max_steps": -1, "precision": "32-true", "devices": 1, "callbacks": [average]},
            "model": {"encoder": f"{SECRET}/tiny-bert", "encoder_group": {"learning_rate": 0.0003}, "dropout": 0.3,
                      "init_from": f"{SECRET}/runs/first"},
            "data": {"class_path": "iter_lightning.training.datamodules.CoNLL04", "init_args": data},
        },
    }  # fmt: skip


@pytest.fixture(scope="session")
def model() -> IterModel:
    """A tiny model, never changed."""
    return tiny_model(link_threshold=0.4, omega=2)


@pytest.fixture
def facts(model: IterModel) -> ModelFacts:
    """The facts of a model without a run."""
    return ModelFacts(model.config, 1000, 512)


@pytest.fixture
def run(tmp_path: Path, model: IterModel, manifest: dict[str, Any], scores: dict[str, Any]) -> Path:
    """The folder of a finished and tested run."""
    folder = RunFolder(tmp_path / "runs" / "mine" / "seed7")
    model.save_pretrained(folder.model)
    config = json.loads((folder.model / "config.json").read_text())
    config["encoder"]["_name_or_path"] = f"{SECRET}/tiny-bert"
    (folder.model / "config.json").write_text(json.dumps(config))
    folder.update_manifest(**manifest)
    for split, definitions in (
        ("test", [EvaluationDefinition(), EvaluationDefinition(match="surface")]),
        ("dev", [EvaluationDefinition()]),
    ):
        entries = [{"definition": d.to_dict(), "link_threshold": 0.5, "scores": scores} for d in definitions]
        folder.add_results(split, entries)
    return folder.path
