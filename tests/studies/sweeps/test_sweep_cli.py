"""The real command: trials are trainings, the sweep is killed with SIGKILL, and nothing ever touches the test split."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from iter_lightning.cli import main
from iter_lightning.io.locks import locked
from iter_lightning.studies.sweeps.journal import Journal
from iter_lightning.training.extends import merged
from iter_lightning.training.run import RunFolder
from tests.studies.builders import heard
from tests.studies.runs.test_launch import eventually
from tests.studies.sweeps.fakes import BATCH, RATE, SPACE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def sweep(tmp_path: Path, encoder_dir: Path, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep of 3 trials over a corpus whose test split must not be touched; its folder is `sweep` beside it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    files = {split: str(corpus_dir / f"{split}.json") for split in ("train", "dev", "test")}
    experiment = {
        "experiment": "tiny", "model": {"encoder": str(encoder_dir), "encoder_group": {"learning_rate": 1e-3}},
        "data": {"class_path": "tests.studies.sweeps.dev_only.DevOnly", "init_args": files},
        "wandb": {"mode": "disabled"},
        "trainer": {"accelerator": "cpu", "max_epochs": 9},
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(experiment))
    content = {
        "experiment": "tiny.yaml", "facade": "multifidelity", "trials": 3, "initial": 2, "min_epochs": 1,
        "max_epochs": 3, "space": {**SPACE, BATCH: [4, 8]},
    }  # fmt: skip
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "sweep.yaml"


@pytest.mark.slow
def test_a_sweep_is_killed_and_goes_on(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "sweep"
    arguments = ["sweep", f"--config={sweep}", f"--folder={folder}", "--jobs=2", f"--report={tmp_path / 'reports'}"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "iter_lightning", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    journal = folder / "trials.jsonl"
    eventually(lambda: killed.poll() is not None or (journal.exists() and '"told"' in journal.read_text()), 600)
    killed.send_signal(signal.SIGKILL)
    said, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said
    first = Journal(journal)
    done = [trial.number for trial in first.trials if trial.status == "finished"]
    running = [trial.number for trial in first.trials if trial.status == "running"]
    assert done
    assert running

    with heard() as lines:
        assert main(arguments) == 0
    said = "\n".join([*lines, capsys.readouterr().out])
    assert all(f"trial {number} of 3" in said for number in running)
    assert not any(f"trial {number} of 3" in said for number in done)
    trials = Journal(journal).trials
    assert [trial.status for trial in trials] == ["finished"] * 3
    assert [trial.epochs for trial in trials] == [3, 1, 1]
    manifests = [RunFolder(folder / trial.folder).manifest for trial in trials]
    assert [manifest["best"]["dev/f1"] for manifest in manifests] == [trial.f1 for trial in trials]
    assert [manifest["epochs"] for manifest in manifests] == [3, 1, 1]
    assert manifests[1]["config"]["data"]["init_args"]["batch_size"] == trials[1].proposal.values[BATCH]
    assert manifests[1]["config"]["model"]["encoder_group"]["learning_rate"] == trials[1].proposal.values[RATE]
    assert not list(folder.glob("trials/*/test_sentences.jsonl"))
    assert all("test" not in RunFolder(folder / trial.folder).read_results() for trial in trials)
    assert [path.parent.name for path in folder.glob("trials/*/model")] == ["0001"]  # the only one of 3 epochs
    report = json.loads((tmp_path / "reports" / "sweep_sweep.json").read_text())
    assert (report["trials"], report["crashed"], report["task"], report["beats_default"]) == (3, 0, "RE+", False)
    assert report["default"]["values"] == {RATE: 1e-3, BATCH: 8, "model.activation": "relu"}
    assert "No trial beats the unchanged experiment" in said
    assert "the test split was touched" not in "".join(path.read_text() for path in folder.glob("trials/*.log"))

    incumbent = folder / "incumbent.yaml"
    assert merged(incumbent)["experiment"] == "sweep-incumbent"
    more = [f"--config={incumbent}", f"--run_dir={tmp_path / 'run'}", "--trainer.enable_progress_bar=false"]
    assert main(["fit", *more, "--trainer.max_epochs=1"]) == 0
    with pytest.raises(AssertionError, match="the test split was touched"):  # the guard is awake
        main(["test", *more, "--trainer.max_epochs=1"])


def test_what_cannot_work_is_told_before_anything_is_trained(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sweep", f"--config={sweep}", f"--folder={tmp_path / 'sweep'}"]
    good = yaml.safe_load(sweep.read_text())
    for space, said in (
        ({"model.encodr": ["a", "b"]}, "unrecognized|not expected|encodr"),
        ({"data.init_args.mention_swap": {"low": 2.0, "high": 3.0}}, "mention_swap must lie between 0 and 1"),
    ):
        sweep.write_text(yaml.safe_dump({**good, "space": {**SPACE, **space}}))
        assert main(arguments) == 2
        told = capsys.readouterr().err
        assert any(part in told for part in said.split("|")), told
        assert "`fit` does not take these options" in told
    sweep.write_text(
        yaml.safe_dump(
            {**good, "overrides": {"data": {"class_path": "CoNLL04", "init_args": {"data_dir": os.devnull}}}}
        )
    )
    assert main(arguments) == 2
    assert "prepare conll04" in capsys.readouterr().err
    assert not (tmp_path / "sweep" / "trials.jsonl").exists()
    sweep.write_text(yaml.safe_dump(good))
    with locked(tmp_path / "sweep" / ".lock", RuntimeError("taken")):
        assert main(arguments) == 2
    assert "another process runs the sweep" in capsys.readouterr().err
    assert main([*arguments, "--trials=0"]) == 2
    assert "trials: expected at least 1, found 0" in capsys.readouterr().err
