"""Every shipped YAML is parsed and its parts are built; it opens with the command that runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from iter_lightning.corpora import CATALOG
from iter_lightning.training.cli import IterCLI, build_cli
from iter_lightning.training.data import CorpusDataModule
from iter_lightning.training.extends import chain, with_extends
from iter_lightning.training.module import IterModule

FOLDER = Path(__file__).parents[1] / "experiments"
FILES = sorted(FOLDER.glob("*.yaml"))
EXPERIMENTS = [path for path in FILES if path.name != "base.yaml" and not path.name.startswith("table")]
FOLDS = [path for path in EXPERIMENTS if path.stem.startswith("ade_fold")]
DIFFERENT = [path for path in EXPERIMENTS if path not in FOLDS[1:]]
TABLE_5 = {  # encoder and heads: learning rate, schedule, warm-up, weight decay; batch size
    "conll04": ((5e-5, "linear", 0.05, 0.1), (3e-4, "linear", 0.01, 0.02), 8),
    "ade": ((2e-4, "constant", 0.1, 0.028), (2.9e-4, "constant", 0.01, 0.026), 32),
    "ace05": ((4.9e-5, "linear", 0.01, 0.082), (5.9e-4, "linear", 0.05, 0.109), 8),
    "scierc": ((3e-5, "linear", 0.05, 0.1), (1e-4, "linear", 0.0, 0.1), 8),
    "genia": ((2.6e-4, "linear", 0.2, 0.045), (8e-4, "linear", 0.1, 0.056), 16),
    "conll03": ((2e-5, "linear", 0.0, 0.096), (3e-4, "linear", 0.0, 0.0098), 8),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, IterCLI]:
    folder = tmp_path_factory.mktemp("runs")
    return {path.stem: build_cli("fit", [f"--config={path}", f"--run_dir={folder / path.stem}"]) for path in DIFFERENT}


def test_all_the_papers_experiments_are_there() -> None:
    names = {path.stem for path in EXPERIMENTS}
    assert {*CATALOG, "synthetic", "conll04_minilm", *(f"ade_fold{i}" for i in range(10))} <= names


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_experiment_opens_with_its_command_and_is_short(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# python -m iter_lightning fit --config experiments/{path.name}\n")
    assert len(text.splitlines()) <= 40
    assert yaml.safe_load(text)["experiment"] == path.stem


def test_folds_differ_only_in_their_number() -> None:
    texts = [path.read_text() for path in FOLDS]
    assert [text.replace(str(fold), "0") for fold, text in enumerate(texts)] == [texts[0]] * 10


@pytest.mark.parametrize("path", DIFFERENT, ids=lambda p: p.stem)
def test_experiment_is_built(path: Path, built: dict[str, IterCLI]) -> None:
    cli = built[path.stem]
    assert isinstance(cli.datamodule, CorpusDataModule)
    assert isinstance(cli.model, IterModule)
    assert cli.model.schema == cli.datamodule.schema
    assert cli.model.config.omega == cli.datamodule.omega
    assert cli.trainer.gradient_clip_val == 1.0
    if path.stem.startswith("ade_fold"):
        assert cli.datamodule.title() == f"ADE fold {path.stem[-1]}"
        assert cli.datamodule.batch_size == 32


@pytest.mark.parametrize("name", TABLE_5)
def test_hyperparameters_are_those_of_table_5(name: str, built: dict[str, IterCLI]) -> None:
    cli = built[name]
    for group, (rate, schedule, warmup, decay) in zip(cli.model.groups, TABLE_5[name][:2], strict=True):
        assert (group.learning_rate, group.schedule, group.warmup_ratio, group.weight_decay) == (
            rate, schedule, warmup, decay,
        )  # fmt: skip
    assert cli.datamodule.batch_size == TABLE_5[name][2]
    assert cli.model.config.activation == "relu"


def test_command_line_wins_over_files_and_later_files_over_earlier(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("model: {dropout: 0.1}\nexperiment: base\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nexperiment: mine\ndata: {class_path: Synthetic}\n")
    assert [path.name for path in chain(tmp_path / "mine.yaml")] == ["base.yaml", "mine.yaml"]
    cli = build_cli("fit", [f"--config={tmp_path / 'mine.yaml'}", "--model.encoder=some/where",
                            f"--run_dir={tmp_path / 'run'}"])  # fmt: skip
    assert cli.model.config.dropout == 0.1
    assert cli.model.encoder_name == "some/where"
    assert cli.config.fit.experiment == "mine"


def test_a_linked_folder_extends_by_its_real_place(tmp_path: Path) -> None:
    (tmp_path / "a" / "experiments").mkdir(parents=True)
    (tmp_path / "disk" / "runs").mkdir(parents=True)
    (tmp_path / "a" / "runs").symlink_to(tmp_path / "disk" / "runs")
    (tmp_path / "a" / "experiments" / "base.yaml").write_text("model: {dropout: 0.1}\nexperiment: base\n")
    (tmp_path / "a" / "runs" / "mine.yaml").write_text("extends: ../../a/experiments/base.yaml\n")
    found = chain(tmp_path / "a" / "runs" / "mine.yaml")
    assert found[0] == tmp_path / "a" / "experiments" / "base.yaml"
    (_, text) = with_extends([f"--config={tmp_path / 'a' / 'runs' / 'mine.yaml'}"])
    assert yaml.safe_load(text)["model"] == {"dropout": 0.1}
