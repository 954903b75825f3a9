"""`fit --model.init_from RUN`: a run that starts from another corpus's run (Appendix E)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from iter_lightning.cli import main
from iter_lightning.errors import ConfigError
from iter_lightning.training.cli import build_cli
from iter_lightning.training.module import IterModule
from tests.training.test_cli_errors import said

pytestmark = pytest.mark.usefixtures("without_analysis")

OUTPUTS = {"is_span.w_out.weight", "is_link.w_out.weight"}


@pytest.fixture
def other(arguments: list[str], corpus_dir: Path, tmp_path: Path) -> list[str]:
    """Arguments for a corpus of other types: persons alone, and one relation."""
    options = [a for a in arguments if not a.startswith(("--data.t", "--data.dev", "--run_dir"))]
    for split in ("train", "dev", "test"):
        records = json.loads((corpus_dir / f"{split}.json").read_text())
        for record in records:
            for entity in record["entities"]:
                entity["type"] = "Thing"
            for relation in record["relations"]:
                relation["type"] = "Related"
        (tmp_path / f"{split}.json").write_text(json.dumps(records))
        options.append(f"--data.{split}={tmp_path / split}.json")
    return options


def manifest(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return found


def test_a_run_starts_from_another_corpus(
    trained: list[str], other: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "run", tmp_path / "second"
    mine = [*other, f"--run_dir={second}", "--trainer.max_epochs=1", f"--model.init_from={first}"]

    module = build_cli("fit", mine).model
    module.configure_model()  # the weights before the first step
    given = load_file(first / "model" / "model.safetensors")
    own = module.network.state_dict()
    assert {name for name in own if own[name].shape != given[name].shape} == OUTPUTS
    assert all(torch.equal(own[name], given[name]) for name in own if name not in OUTPUTS)
    assert module.network.training

    capsys.readouterr()
    assert main(["fit", *mine]) == 0
    out = capsys.readouterr().out
    assert out.count("starting from") == 1
    assert "fresh: is_span.w_out.weight, is_link.w_out.weight" in out
    init = manifest(second)["init"]
    assert init["from"] == str(first)
    assert init["sha256"] == manifest(second)["origin"]["init_sha256"]
    assert init["encoder_tensors"] == sum(name.startswith("encoder.") for name in given)
    assert set(init["fresh"]) == OUTPUTS
    assert set(init["taken"]) == {n for n in given if not n.startswith("encoder.")} - OUTPUTS
    assert "init" not in manifest(first)
    assert "init_sha256" not in manifest(first)["origin"]

    shutil.copytree(first / "model", tmp_path / "exported")
    there = [*mine[:-1], f"--model.init_from={tmp_path / 'exported'}"]  # the same weights elsewhere
    assert main(["fit", *there]) == 0
    assert "finished" in capsys.readouterr().out
    shutil.rmtree(first)
    assert main(["fit", *mine]) == 0  # gone, and not needed
    assert "finished" in capsys.readouterr().out
    assert main(["test", *mine]) == 0
    assert main(["test", "--config", str(second / "config.yaml"), f"--run_dir={second}"]) == 0


def test_a_start_is_part_of_what_a_run_is(
    trained: list[str], other: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "run", tmp_path / "second"
    plain = [*trained, f"--model.init_from={first}"]
    assert "init_sha256: None there" in said(["fit", *plain], capsys)
    started = [*other, f"--run_dir={second}", "--trainer.max_epochs=1"]
    assert main(["fit", *started, f"--model.init_from={first}"]) == 0
    assert "init_sha256" in said(["fit", *started], capsys)
    assert "init_sha256" in said(["fit", *started, f"--model.init_from={second}"], capsys)


def test_what_cannot_be_started_from(
    arguments: list[str], encoder_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told before anything is written."""
    text = said(["fit", *arguments, f"--model.init_from={tmp_path / 'nowhere'}"], capsys)
    assert "init_from" in text
    assert "which do not exist; expected a run folder" in text
    text = said(["fit", *arguments, f"--model.init_from={encoder_dir}"], capsys)  # a bare encoder
    assert "the encoders differ: encoder." in text
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_broken_off_run_needs_its_start_no_more(
    trained: list[str], other: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """It continues from its checkpoint to the very weights of an undisturbed one."""
    first, second = tmp_path / "run", tmp_path / "second"
    more = [*other, f"--model.init_from={first}"]
    assert main(["fit", *more, f"--run_dir={tmp_path / 'whole'}"]) == 0
    begin = IterModule.on_train_epoch_start

    def break_off(module: IterModule) -> None:
        begin(module)
        if module.current_epoch == 2:
            raise ConfigError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(IterModule, "on_train_epoch_start", break_off)
        assert "broken off" in said(["fit", *more, f"--run_dir={second}"], capsys)
    init = manifest(second)["init"]
    shutil.rmtree(first)
    assert main(["fit", *more, f"--run_dir={second}"]) == 0
    assert "continuing the run" in capsys.readouterr().out
    assert manifest(second)["init"] == init
    a, b = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("second", "whole"))
    assert all(torch.equal(a[name], b[name]) for name in a)
