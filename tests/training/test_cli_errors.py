"""What users get wrong: one clear message, status 2, no traceback, no half-written output."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from iter_lightning.cli import main

pytestmark = pytest.mark.usefixtures("without_analysis")


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
        ("relations", [{"type": "Leads", "head": 0, "tail": 70}], "record 1: relation 0: tail 70 is not an entity"),
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
    (tmp_path / "mine.yaml").write_text("extends: x.yaml\ndata: {init_args: {sentences: 9}}\n")
    text = said(["fit", "--config", str(tmp_path / "mine.yaml")], capsys)
    assert f"{tmp_path / 'x.yaml'}: " in text
    assert "'model.droppout'" in text
    (tmp_path / "mine.yaml").write_text("extends: x.yaml\ndata: {init_args: {sentencs: 9}}\n")
    text = said(["fit", "--config", str(tmp_path / "mine.yaml")], capsys)
    assert f"{tmp_path / 'mine.yaml'}: data: " in text
    assert "'sentencs'" in text


def test_key_given_twice_and_value_that_cannot_be_merged_name_their_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.yaml").write_text("experiment: a\nexperiment: b\n")
    assert f"{tmp_path / 'x.yaml'}: " in said(["fit", "--config", str(tmp_path / "x.yaml")], capsys)
    (tmp_path / "x.yaml").write_text("trainer: {callbacks: []}\n")
    (tmp_path / "mine.yaml").write_text("extends: x.yaml\ntrainer: {callbacks: {class_path: EarlyStopping}}\n")
    assert f"{tmp_path / 'mine.yaml'}: " in said(["fit", "--config", str(tmp_path / "mine.yaml")], capsys)
    (tmp_path / "mine.yaml").write_text("experiment: ${\n")
    assert f"{tmp_path / 'mine.yaml'}: experiment: " in said(["fit", "--config", str(tmp_path / "mine.yaml")], capsys)


def test_configurations_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be read" in said(["fit", "--config", str(tmp_path / "absent.yaml")], capsys)
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert "must hold keys and values" in said(["fit", "--config", str(tmp_path / "list.yaml")], capsys)
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    assert "is not valid YAML" in said(["fit", "--config", str(tmp_path / "broken.yaml")], capsys)
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
    text = said(["fit", *arguments, "--model.type_decision=best"], capsys)
    assert "model.type_decision: expected one of argmax, all, sum, found best" in text
    text = said(["fit", *arguments, "--wandb.mode=on"], capsys)
    assert "wandb.mode: expected one of auto, online, offline, disabled, found on" in text
    assert "folds 0 to 9" in said(["fit", "--data=ADE", "--data.fold=10"], capsys)


def test_test_without_a_trained_model(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "no trained model in" in said(["test", *arguments], capsys)


def test_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the verb comes first" in said(["--config", "x.yaml", "fit"], capsys)
    assert "unknown verb 'train'; expected one of fit" in said(["train"], capsys)
    assert main(["--help"]) == 0
    assert "usage" in capsys.readouterr().out


@pytest.mark.slow
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
    assert "unknown corpus 'conll05'" in said(["inspect", "conll05"], capsys)
    assert status(["prepare", "conll05"]) == 2


def test_a_model_is_not_scored_under_another_configuration(
    trained: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a protocol, nor a fold, nor a decoding that the model was not trained or exported for."""
    before = (tmp_path / "run" / "results.json").read_text()
    for option in ("--data.split_protocol=paper", "--model.link_threshold=0.3", "--model.resolve_overlaps=false"):
        text = said(["test", *trained, option], capsys)
        assert "was trained with another configuration" in text
        assert option.partition("=")[0].rpartition(".")[2] in text
    assert (tmp_path / "run" / "results.json").read_text() == before
    assert main(["test", *trained, "--data.eval_batch_size=4", "--data.num_workers=0"]) == 0  # changes no score


def test_a_later_test_split_with_other_types(
    arguments: list[str], corpus_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    untested = [a for a in arguments if not a.startswith("--data.test")]
    assert main(["fit", *untested, "--trainer.max_epochs=1"]) == 0
    assert main(["test", *arguments]) == 0
    records = json.loads((corpus_dir / "test.json").read_text())
    records[0]["entities"][0]["type"] = "Planet"
    (tmp_path / "other.json").write_text(json.dumps(records))
    text = said(["test", *untested, f"--data.test={tmp_path / 'other.json'}"], capsys)
    assert "was trained for other types" in text
    assert "Planet" in text


def test_other_data_or_another_encoder_are_another_run(
    arguments: list[str], corpus_dir: Path, encoder_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, encoder = tmp_path / "train.json", tmp_path / "encoder"
    train.write_text((corpus_dir / "train.json").read_text())
    shutil.copytree(encoder_dir, encoder)
    mine = [*with_train(arguments, train), f"--model.encoder={encoder}", "--trainer.max_epochs=1"]
    assert main(["fit", *mine]) == 0
    assert main(["fit", *mine]) == 0
    assert "finished" in capsys.readouterr().out
    records = json.loads(train.read_text())
    train.write_text(json.dumps([{**records[0], "relations": []}, *records[1:]]))
    text = said(["fit", *mine], capsys)
    assert "holds a run of another data, tokenizer or encoder" in text
    assert "splits.train" in text
    train.write_text(json.dumps(records))
    weights = load_file(encoder / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, encoder / "model.safetensors", {"format": "pt"})
    assert "encoder_sha256" in said(["fit", *mine], capsys)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--trainer.limit_val_batches=0", "leaves no dev score"),
        ("--trainer.check_val_every_n_epoch=9", "check_val_every_n_epoch 9 is past the last of 3 epochs"),
    ],
)
def test_a_training_that_would_never_be_evaluated(
    option: str, expected: str, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in said(["fit", *arguments, option], capsys)
    assert not (tmp_path / "run").exists()


def test_what_the_encoding_loses_is_told_and_kept(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *arguments, "--data.nesting=1", "--trainer.max_epochs=1"]) == 0
    out = capsys.readouterr().out
    counts = json.loads((tmp_path / "run" / "manifest.json").read_text())["encoding"]["train"]
    lost = counts["entities"] - counts["entities_expressed"]
    assert lost > 0
    assert f"train: {lost} entities cannot be expressed and count as missed" in out
