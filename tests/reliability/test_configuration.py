"""Configurations, plans and sweeps that are damaged or cannot work: refused in one line, and nothing is left behind."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from iter_lightning.studies.runs.plan import load_plan, select
from iter_lightning.studies.sweeps.config import load_sweep
from iter_lightning.training.cli import build_cli, parse_config
from iter_lightning.training.extends import merged
from iter_lightning.training.yaml_files import MAX_BYTES, MAX_DEPTH, read_yaml
from tests.reliability.campaign import Campaign

pytestmark = pytest.mark.reliability

WRONG: tuple[Any, ...] = (None, True, -1, 0, 10**30, 1.5, float("nan"), float("inf"), "", "x", "\0", "${", "${x}", [],
                          [1], [[]], {}, {"a": 1}, [{"a": None}])  # fmt: skip
"""Values of every kind."""
EXPERIMENT = {
    "experiment": "mine", "seed_everything": 1, "extends": "base.yaml",
    "data": {"class_path": "Synthetic", "init_args": {"batch_size": 4, "mention_swap": 0.0, "sentences": 40}},
    "model": {"encoder": "tiny", "dropout": 0.1, "encoder_group": {"learning_rate": 1.0e-3, "schedule": "linear"}},
    "trainer": {"max_epochs": 1, "accumulate_grad_batches": 1, "logger": "CSVLogger", "accelerator": "cpu"},
    "wandb": {"mode": "disabled", "tags": ["a"]},
}  # fmt: skip
PLAN = {
    "table": 2, "title": "a plan", "seeds": [1, 2], "tasks": ["NER"],
    "corpora": {"a": {"config": "mine.yaml"}, "b": {"config": "mine.yaml", "folds": 2, "seeds": [1]}},
    "rows": [
        {"key": "own", "label": "Own", "configs": {"a": "mine.yaml"}, "options": {"model.dropout": 0.2}},
        {"key": "other", "label": "Other", "encoder": "other", "corpora": ["b"], "init_from": "mine.yaml"},
    ],
}  # fmt: skip
SWEEP = {
    "experiment": "mine.yaml", "facade": "hpo", "trials": 3, "seed": 1, "initial": 2,
    "space": {"model.dropout": {"low": 0.0, "high": 0.4}, "model.activation": ["relu", "gelu"]},
    "overrides": {"trainer": {"max_epochs": 1}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.raiseExceptions = False  # Lightning's handler keeps the stream of the test that imported it first


@pytest.fixture
def arguments(encoder_dir: Path, corpus_dir: Path, tmp_path: Path) -> list[str]:
    """A training of one epoch in `tmp_path / "run"`."""
    return [
        "--data=Custom", *(f"--data.{split}={corpus_dir / split}.json" for split in ("train", "dev", "test")),
        f"--model.encoder={encoder_dir}", f"--run_dir={tmp_path / 'run'}", "--wandb.mode=disabled",
        "--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in nested maps and lists."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a path."""
    copy = json.loads(json.dumps(content))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


def write(folder: Path, name: str, content: Any) -> Path:
    """A YAML file beside a base and an experiment that it may name."""
    (folder / "base.yaml").write_text("trainer: {max_epochs: 1}\n")
    (folder / "mine.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    (folder / name).write_text(yaml.safe_dump(content))
    return folder / name


# before anything is written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--model.dropout=99", "dropout 99.0 is outside"),
        ("--model.max_subwords=9999", "exceeds the encoder's limit"),
        ("--ckpt_path=/no/such.ckpt", "no such file"),
        ("--data.num_workers=-1", "num_workers must be at least 0"),
        ("--data.mention_swap=null", "data.mention_swap: null is not allowed"),
        ("--trainer.val_check_interval=999", "past the last of 3 training batches"),
        ("--trainer.accumulate_grad_batches=0", "accumulate_grad_batches must be at least 1"),
        ("--trainer.check_val_every_n_epoch=0", "check_val_every_n_epoch must be at least 1"),
        ("--trainer.max_steps=0", "leaves nothing to train"),
        ("--trainer.limit_train_batches=0", "leaves nothing to train"),
        ("--trainer.strategy=foo", "trainer.strategy 'foo'"),
        ("--trainer.accelerator=foo", "trainer.accelerator 'foo'"),
        ("--trainer.profiler=foo", "trainer.profiler 'foo'"),
        ("--trainer.devices=null", "trainer.devices"),
        ("--trainer.accumulate_grad_batches=1e23", "expected int, found 1e+23"),
        ("--trainer.logger=TensorBoard", "is not a logger"),
        ("--trainer.logger=WandbLogger", "--wandb.mode"),
        ("--trainer.limit_val_batches=2.5", "trainer.limit_val_batches 2.5"),
        ("--model.dropout=${", "model.dropout"),
        ("--model.dropout=${nowhere}", "Interpolation key 'nowhere' not found"),
        ("--optimizer=Adam", "model.encoder_group"),
        ("--seed_everything=-5", "seed_everything"),
        ("--run_dir=a\0b", "NUL"),
    ],
)  # fmt: skip
def test_refused_fit_leaves_nothing_behind(
    option: str, expected: str, arguments: list[str], campaign: Campaign, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    outcome = campaign.refused(["fit", *arguments, option], expected)
    assert len(outcome.message.splitlines()) == 1, outcome.message
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "cwd").iterdir())  # neither lightning_logs nor wandb


def test_corrected_command_runs_in_the_same_folder(arguments: list[str], campaign: Campaign, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for wrong in (["--model.dropout=99"], [f"--model.encoder={empty}"], ["--ckpt_path=/no/such.ckpt"],
                  ["--trainer.devices=7", "--trainer.strategy=ddp"]):  # fmt: skip
        campaign.refused(["fit", *arguments, *wrong])
        assert not (tmp_path / "run").exists()
    assert campaign.run(["fit", *arguments], limit_s=300).status == 0
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "finished"


def test_failure_before_the_first_step_removes_the_new_folder(
    arguments: list[str], campaign: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from iter_lightning.training.module import IterModule

    def fail(self: IterModule) -> None:
        raise MisconfigurationException("no optimizer for\nthis machine")

    with monkeypatch.context() as patch:
        patch.setattr(IterModule, "configure_optimizers", fail)
        campaign.refused(["fit", *arguments], "no optimizer for this machine")
    assert not (tmp_path / "run").exists()


# loggers -------------------------------------------------------------------------------------------------------------


def test_another_logger_works_beside_wandb(arguments: list[str], campaign: Campaign, tmp_path: Path) -> None:
    """By name and by class path, several at once; metrics in the run folder, and the run stays the same run."""
    value = "[CSVLogger, {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {name: mine}}]"
    assert campaign.run(["fit", *arguments, f"--trainer.logger={value}"], limit_s=300).status == 0
    for name in ("lightning_logs", "mine"):
        assert "train/loss" in (tmp_path / "run" / name / "version_0" / "metrics.csv").read_text()
    assert "finished" in campaign.run(["fit", *arguments]).stdout


def test_offline_run_prints_no_wandb_warning(arguments: list[str], campaign: Campaign, tmp_path: Path) -> None:
    offline = [a for a in arguments if not a.startswith("--wandb")]
    env = {"HOME": str(tmp_path), "WANDB_API_KEY": "", "WANDB_MODE": "offline"}
    outcome = campaign.process(["fit", *offline, "--trainer.logger=CSVLogger"], cwd=tmp_path, env=env, limit_s=300)
    assert outcome.status == 0, outcome.stderr
    assert "wandb" not in (outcome.stderr + outcome.stdout.replace(str(tmp_path), "")).lower()
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert (tmp_path / "run" / "lightning_logs" / "version_0" / "metrics.csv").exists()


# YAML ----------------------------------------------------------------------------------------------------------------

BOMB = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else '1'}]\n" for i in range(12))
YAMLS = {
    "latin1": "experiment: é\n".encode("latin-1"), "utf16": "experiment: e\n".encode("utf-16"),
    "surrogate": b"experiment: \xed\xa0\x80\n", "control": b"experiment: \x01\n", "list": b"- 1\n", "empty": b"",
    "deep": b"a: " + b"[" * 5000, "deep blocks": "".join(" " * i + "a:\n" for i in range(200)).encode(),
    "self": b"a: &a [*a]\n", "self in a map": b"a: &a {b: {c: *a}}\n", "bomb": BOMB.encode(),
    "merge bomb": b"a: &a {x: 1}\nb: &b {<<: [" + b"*a, " * 30_000 + b"*a]}\n", "large": b"#" * (MAX_BYTES + 1),
    "long number": b"a: " + b"9" * 5000, "date": b"a: 2020-13-45\n", "number as key": b"1: 2\n", "yes": b"yes: 2\n",
    "map as key": b"? {a: 1}\n: 2\n", "tag": b"a: !!python/object/apply:os.system ['true']\n", "open": b"a: [1\n",
    "unknown alias": b"a: *b\n", "extends a list": b"extends: [a.yaml]\n", "extends a map": b"extends: {a: b}\n",
    "extends a number": b"extends: 5\n", "extends NUL": b'extends: "a\\0b"\n', "extends itself": b"extends: x.yaml\n",
    "extends a folder": b"extends: .\n", "extends nothing": b"extends: nowhere.yaml\n",
    "extends a long name": b"extends: " + b"a" * 5000, "lone interpolation": b"experiment: ${\n",
    "nested interpolation": b"experiment: ${a:${\n",
    "loop": b"experiment: ${wandb.mode}\nwandb: {mode: '${experiment}'}\n",
}  # fmt: skip


@pytest.mark.parametrize("name", YAMLS)
def test_damaged_yaml_is_refused(name: str, campaign: Campaign, tmp_path: Path) -> None:
    """As an experiment, as a plan and as a sweep."""
    (tmp_path / "x.yaml").write_bytes(YAMLS[name])
    path = tmp_path / "x.yaml"
    if "interpolation" not in name and name != "loop":
        campaign.raises(merged, path, limit_s=20)
        campaign.raises(load_plan, path, limit_s=20)
        campaign.raises(load_sweep, path, limit_s=20)
    campaign.refused(["fit", f"--config={path}", "--data=Synthetic", f"--run_dir={tmp_path / 'run'}"], limit_s=30)
    assert not (tmp_path / "run").exists()


def test_limits_of_yaml(campaign: Campaign, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    assert read_yaml(path)
    path.write_text("a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert f"deeper than {MAX_DEPTH} levels" in campaign.raises(read_yaml, path)
    path.write_text(BOMB)
    assert "20,000 keys and values" in campaign.raises(read_yaml, path)
    path.write_text("#" * (MAX_BYTES + 1))
    assert "262,144 bytes" in campaign.raises(read_yaml, path)
    campaign.refused(["fit", "--data=Synthetic", f"--trainer.plugins={BOMB.replace(chr(10), ', ').join('{}')}"])


def test_experiment_cut_or_flipped_anywhere(campaign: Campaign, tmp_path: Path) -> None:
    path = write(tmp_path, "x.yaml", EXPERIMENT)
    whole, rng = path.read_bytes(), random.Random(0)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        campaign.tries(merged, path)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.choice((*b"[]{}&*!|>'\"%@`:,-#? \n\t\0", rng.randrange(256)))
        path.write_bytes(bytes(damaged))
        campaign.tries(merged, path)


def test_wrong_values_in_an_experiment(campaign: Campaign, tmp_path: Path) -> None:
    """A sample of all places and values goes through the whole parser."""
    tries = [(place, value) for place in places(EXPERIMENT) for value in WRONG]
    for place, value in random.Random(1).sample(tries, 40):
        path = write(tmp_path, "x.yaml", changed(EXPERIMENT, place, value))
        campaign.tries(parse_config, [f"--config={path}"], limit_s=180)
    for place, value in random.Random(2).sample(tries, 20):
        path = write(tmp_path, "x.yaml", changed(EXPERIMENT, place, value))
        campaign.tries(build_cli, "fit", [f"--config={path}", f"--run_dir={tmp_path / 'run'}"])
    assert not (tmp_path / "run").exists()


# plans and sweeps ----------------------------------------------------------------------------------------------------


def test_wrong_values_in_a_plan(campaign: Campaign, tmp_path: Path) -> None:
    def read(path: Path) -> None:
        for spec in select(load_plan(path)):
            assert spec.settings

    assert campaign.tries(read, write(tmp_path, "plan.yaml", PLAN)) is None
    for place in places(PLAN):
        for value in WRONG[::2]:
            campaign.tries(read, write(tmp_path, "plan.yaml", changed(PLAN, place, value)))
    assert "rows" in campaign.raises(load_plan, write(tmp_path, "plan.yaml", {**PLAN, "rows": 5}))


def test_wrong_experiments_of_a_plan(campaign: Campaign, tmp_path: Path) -> None:
    plan = write(tmp_path, "plan.yaml", PLAN)
    for place in places(EXPERIMENT):
        for value in WRONG[::6]:
            (tmp_path / "mine.yaml").write_text(yaml.safe_dump(changed(EXPERIMENT, place, value)))
            campaign.tries(lambda: [spec.settings for spec in select(load_plan(plan))])


def test_wrong_values_in_a_sweep(campaign: Campaign, tmp_path: Path) -> None:
    def read(path: Path) -> None:
        load_sweep(path).identity()

    assert campaign.tries(read, write(tmp_path, "sweep.yaml", SWEEP)) is None
    for place in places(SWEEP):
        for value in WRONG:
            campaign.tries(read, write(tmp_path, "sweep.yaml", changed(SWEEP, place, value)))


@pytest.mark.parametrize("verb", ["reproduce", "sweep", "seeds"])
def test_damaged_plans_and_sweeps_on_the_command_line(verb: str, campaign: Campaign, tmp_path: Path) -> None:
    write(tmp_path, "table2.yaml", {**PLAN, "rows": 5})
    for name in ("utf16", "deep", "self", "bomb", "list", "extends NUL"):
        (tmp_path / "x.yaml").write_bytes(YAMLS[name])
        (tmp_path / "table2.yaml").write_bytes(YAMLS[name])
        given = ["table2", f"--experiments={tmp_path}"] if verb == "reproduce" else [f"--config={tmp_path / 'x.yaml'}"]
        campaign.refused([verb, *given, *(["--runs", str(tmp_path / "runs")] if verb != "sweep" else [])])


# names and help ------------------------------------------------------------------------------------------------------


def test_prepare_honors_the_data_folder(campaign: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere" / "conll04").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITER_DATA", str(tmp_path / "elsewhere"))
    outcome = campaign.refused(["prepare", "conll04", "--from", str(tmp_path)], "was not written by `prepare`")
    assert "elsewhere" in outcome.message
    assert not (tmp_path / "data").exists()


def test_documents_are_called_documents(campaign: Campaign, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("eng.train", "eng.testa", "eng.testb"):
        (source / name).write_text("-DOCSTART- -X- O O\n\nAda NNP I-NP I-PER\nlives VBZ I-VP O\n")
    outcome = campaign.refused(["prepare", "conll03", "--from", str(source), "--to", str(tmp_path / "data")])
    assert "train has 1 documents, expected 946" in outcome.message
    (tmp_path / "data" / "conll03").mkdir(parents=True)
    for name in ("eng.train", "eng.testa", "eng.testb"):
        (source / name).rename(tmp_path / "data" / "conll03" / name)
    report = campaign.run(["inspect", "conll03", "--data", str(tmp_path / "data")])
    assert report.status == 0, report.stderr
    assert "documents in several windows" in report.stdout
    assert "sentence" not in report.stdout


def test_help_of_reproduce_lists_all(campaign: Campaign) -> None:
    assert "figure3, or all" in " ".join(campaign.run(["reproduce", "--help"]).stdout.split())
