"""Sweep files: inheritance, and all faults at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from iter_lightning.errors import ConfigError
from iter_lightning.studies.sweeps.config import load_sweep
from tests.studies.sweeps.fakes import (
    sweep_config,
)


def test_load_sweep_reports_all_wrong_types_then_all_wrong_values(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text("data: {init_args: {split_protocol: paper}}")
    wrong = {"experiment": "experiment.yaml", "trials": 0, "max_epochs": 3, "space": {"model.dropout": [0.1]},
             "overrides": {"run_dir": "x", "model": {"activation": "relu"}}}  # fmt: skip
    path = tmp_path / "sweep.yaml"
    for content, faults in (
        ({**wrong, "facade": "grid", "seed": "x", "space": 5}, (
            "facade: Input should be 'hpo' or 'multifidelity', found 'grid'", "seed: Input should be a valid integer",
            "space: Input should be an object",
        )),
        (wrong, (
            "trials: expected at least 1, found 0", "only multifidelity", "`paper` selects on test",
            "model.dropout: expected", "run_dir is set by the sweep", "model.activation is searched; drop it",
        )),
        ({"experiments": "x"}, ("experiment: expected the path of an experiment's YAML, found None",)),
        ({"experiment": "experiment.yaml", "trail": 3}, ("trail: unknown key; known keys are facade, trials",)),
        ({"experiment": "nowhere.yaml", "facade": "multifidelity", "min_epochs": 3, "max_epochs": 1},
         ("1 <= min <= max, found 3 and 1", "no such file")),
    ):  # fmt: skip
        path.write_text(yaml.safe_dump(content))
        with pytest.raises(ConfigError) as raised:
            load_sweep(path)
        said = str(raised.value).splitlines()
        assert all(line.startswith(f"{path}: ") for line in said)
        assert len(said) == len(faults)
        for fault in faults:
            assert any(fault in line for line in said), (fault, said)


def test_a_sweep_file_may_extend_another(tmp_path: Path) -> None:
    sweep_config(tmp_path)
    (tmp_path / "base.yaml").write_text("trials: 5\nspace: {model.dropout: null}\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nexperiment: experiment.yaml\nseed: 3\n")
    config = load_sweep(tmp_path / "mine.yaml")
    assert (config.name, config.trials, config.seed, config.facade) == ("mine", 5, 3, "hpo")
    assert "model.dropout" not in config.dimensions
