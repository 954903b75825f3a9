"""Every shipped sweep is loaded, its space built, and what is drawn from it parsed by `fit`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from iter_lightning.studies.sweeps.config import load_sweep
from iter_lightning.studies.sweeps.report import corpus_of
from iter_lightning.studies.sweeps.search import Search
from iter_lightning.studies.sweeps.space import APPENDIX_D
from iter_lightning.studies.tables.published import published
from iter_lightning.training.cli import build_cli
from iter_lightning.training.extends import lookup

FOLDER = Path(__file__).parents[1] / "sweeps"
FILES = sorted(FOLDER.glob("*.yaml"))
PAPER = ("conll04", "ade", "ace05", "scierc", "genia", "conll03")


def test_all_sweeps_are_there() -> None:
    assert {*PAPER, "synthetic", "conll04_minilm"} <= {path.stem for path in FILES}
    assert set(published()["table5"]) == set(PAPER)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_sweep_opens_with_its_command_and_is_short(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == f"# python -m iter_lightning sweep --config sweeps/{path.name}"
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", PAPER)
def test_sweeps_of_the_paper_are_appendix_d(name: str) -> None:
    config = load_sweep(FOLDER / f"{name}.yaml")
    assert (config.facade, config.dimensions, config.overrides) == ("hpo", APPENDIX_D, {})
    assert config.experiment.resolve() == FOLDER.parent / "experiments" / f"{name}.yaml"
    assert corpus_of(config) == name


@pytest.mark.parametrize("name", ["conll04", "conll04_minilm", "synthetic"])  # the paper's others have the same space
def test_what_is_drawn_is_parsed(name: str, tmp_path: Path) -> None:
    config = load_sweep(FOLDER / f"{name}.yaml")
    proposal = Search(config.dimensions, config.facade, config.seed, config.initial, config.epochs).ask()
    assert proposal is not None
    trial = tmp_path / "trial.yaml"
    trial.write_text(config.experiment_yaml(tmp_path, "drawn", proposal.values, ["a trial"]))
    assert yaml.safe_load(trial.read_text())["experiment"] == "drawn"
    cli = build_cli("fit", [f"--config={trial}", f"--run_dir={tmp_path / 'run'}", "--trainer.accelerator=cpu"])
    parsed = cli.config.fit.as_dict()
    assert {name: lookup(parsed, name) for name in config.dimensions} == proposal.values
    assert cli.model.groups[0].learning_rate == proposal.values["model.encoder_group.learning_rate"]
    assert cli.datamodule.batch_size == proposal.values["data.init_args.batch_size"]
    assert cli.trainer.max_epochs == config.settings["trainer"]["max_epochs"]
