"""What users get wrong: one clear message, status 2, no traceback, no half-written output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from iter_lightning.cli import main


def status(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as error:
        return int(error.code or 0)


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert status(arguments) == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text


def with_train(arguments: list[str], path: Path) -> list[str]:
    return [*(a for a in arguments if not a.startswith("--data.train")), f"--data.train={path}"]


def test_truncated_corpus(
    arguments: list[str], corpus_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (corpus_dir / "train.json").read_text()
    (tmp_path / "cut.json").write_text(whole[:-200])
    text = said(["fit", *with_train(arguments, tmp_path / "cut.json")], capsys)
    assert "cut.json: line 1 column" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("entities", [{"type": "Person", "start": 0, "end": 99}], "record 1: entity 0: end 99 is past the sentence"),
        ("relations", [{"type": "Leads", "head": 0, "tail": 70}], "record 1: relation 0: tail 70 is no entity"),
    ],
)
def test_wrong_annotation(
    field: str, value: object, expected: str, arguments: list[str], corpus_dir: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    records = json.loads((corpus_dir / "train.json").read_text())
    records[1] = {**records[1], field: value, **({"relations": []} if field == "entities" else {})}
    (tmp_path / "bad.json").write_text(json.dumps(records))
    assert expected in said(["fit", *with_train(arguments, tmp_path / "bad.json")], capsys)


def test_unknown_type(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    types = {"entity_types": ["Person"], "relation_types": []}
    (tmp_path / "types.json").write_text(json.dumps(types))
    text = said(["fit", *arguments, f"--data.types={tmp_path / 'types.json'}"], capsys)
    assert "unknown entity type" in text
    assert "expected one of Person" in text


def test_unknown_key_in_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text("data: {class_path: Synthetic}\nmodel: {droppout: 0.3}\n")
    assert "droppout" in said(["fit", "--config", str(tmp_path / "x.yaml")], capsys)


def test_configurations_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be read" in said(["fit", "--config", str(tmp_path / "absent.yaml")], capsys)
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert "must hold keys and values" in said(["fit", "--config", str(tmp_path / "list.yaml")], capsys)
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    assert "is no YAML" in said(["fit", "--config", str(tmp_path / "broken.yaml")], capsys)
    (tmp_path / "loop.yaml").write_text("extends: loop.yaml\n")
    assert "extends itself" in said(["fit", "--config", str(tmp_path / "loop.yaml")], capsys)


def test_missing_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(["fit", "--data=CoNLL04", f"--data.data_dir={tmp_path}", f"--run_dir={tmp_path / 'run'}"], capsys)
    assert "python -m iter_lightning prepare conll04" in text
    assert not (tmp_path / "run").exists()


def test_unreachable_encoder(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [a for a in arguments if not a.startswith("--model.encoder=")]
    text = said(["fit", *options, f"--model.encoder={tmp_path / 'nowhere'}"], capsys)
    assert "cannot be loaded" in text
    assert "expected: a folder with config.json" in text
    assert "not installed" in said(["fit", *options, "--model.encoder=package:no_such_package"], capsys)
    assert not (tmp_path / "run").exists()


def test_unwritable_run_folder(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    options = [a for a in arguments if not a.startswith("--run_dir")]
    text = said(["fit", *options, f"--run_dir={tmp_path / 'file' / 'run'}"], capsys)
    assert "cannot be written" in text


def test_values_outside_their_range(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "type_decision 'best' is none of argmax, all" in said(
        ["fit", *arguments, "--model.type_decision=best"], capsys
    )
    assert "wandb.mode 'on'" in said(["fit", *arguments, "--wandb.mode=on"], capsys)
    assert "folds 0 to 9" in said(["fit", "--data=ADE", "--data.fold=10"], capsys)


def test_test_without_a_trained_model(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "no trained model in" in said(["test", *arguments], capsys)


def test_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the verb comes first" in said(["--config", "x.yaml", "fit"], capsys)
    assert "'train' is no verb" in said(["train"], capsys)
    assert main(["--help"]) == 0
    assert "usage" in capsys.readouterr().out


def test_full_disk(arguments: list[str], tmp_path: Path) -> None:
    """A file-size limit stands in for a full disk: told in one line, and the results of before stay whole."""
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from iter_lightning.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    found = subprocess.run([sys.executable, "-c", code, "fit", *arguments], capture_output=True, text=True, timeout=120)
    assert found.returncode == 2, found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "run" / "model").exists()


def test_prepare_and_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "LDC2006T06" in said(["prepare", "ace05", "--to", str(tmp_path)], capsys)
    assert "prepare conll04" in said(["inspect", "conll04", "--data", str(tmp_path)], capsys)
    assert "'conll05' is no corpus" in said(["inspect", "conll05"], capsys)
    assert status(["prepare", "conll05"]) == 2
