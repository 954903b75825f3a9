"""The corpus of the how-to is one file, and works on the command line once its package is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from iter_lightning.corpora import CATALOG, Corpus, register_corpus
from iter_lightning.errors import ConfigError, CorpusError

HOW_TO = (Path(__file__).parents[2] / "docs" / "add-a-corpus.md").read_text(encoding="utf-8")
CODE, ENTRY_POINT = (re.search(rf"```{kind}\n(.*?)```", HOW_TO, re.DOTALL)[1] for kind in ("python", "toml"))  # type: ignore[index]
LINES = ["Ada|Person lives in London|Place .", "Grace|Person left Paris|Place .", "It rained ."]
COMMANDS = """
import sys
from iter_lightning.cli import main
data, source, encoder, run = sys.argv[1:]
assert main(["prepare", "notes", "--from", source, "--to", data]) == 0
assert main(["inspect", "notes", "--data", data, "--encoder", encoder]) == 0
options = [f"--data.data_dir={data}", f"--model.encoder={encoder}", f"--run_dir={run}", "--wandb.mode=disabled"]
options += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
assert main(["fit", "--data", "Notes", *options]) == 0
assert main(["test", f"--config={run}/config.yaml"]) == 0
"""


def test_prepare_inspect_fit_and_test_take_the_corpus_of_an_installed_package(
    tmp_path: Path, encoder_dir: Path
) -> None:
    (tmp_path / "notes_corpus.py").write_text(CODE)
    information = tmp_path / "notes_corpus-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: notes-corpus\nVersion: 1.0\n")
    group, target = ENTRY_POINT.split("\n")[:2]
    assert CATALOG.group in group
    (information / "entry_points.txt").write_text(f"[{CATALOG.group}]\n{target.replace(chr(34), '')}\n")
    source = tmp_path / "source"
    source.mkdir()
    for split in ("train", "test"):
        (source / f"{split}.txt").write_text("\n".join([*LINES, split]) + "\n")
    command = [sys.executable, "-c", COMMANDS, *map(str, (tmp_path / "data", source, encoder_dir, tmp_path / "run"))]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert "Notes prepared in" in done.stdout
    assert "  Person" in done.stdout
    assert "class_path: iter_lightning.training.datamodules.Notes" in (tmp_path / "run" / "config.yaml").read_text()
    assert " test " in done.stdout


def notes() -> Corpus:
    names: dict[str, Corpus] = {}
    exec(CODE, names)
    return names["NOTES"]


def test_corpus_of_the_how_to_reports_faults_by_line(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for split in ("train", "test"):
        (tmp_path / "notes" / f"{split}.txt").write_text("Ada| lives\nin London|City\n")
    with pytest.raises(CorpusError, match=r"train.txt: line 1: expected a type after \|"):
        notes().load(tmp_path)
    for split in ("train", "test"):
        (tmp_path / "notes" / f"{split}.txt").write_text("Ada lives\nin London|City\n")
    with pytest.raises(CorpusError, match=r"Notes: train: record 1: unknown entity type 'City', expected one of Per"):
        notes().load(tmp_path)


def test_registered_corpus_is_used_and_a_taken_or_unusable_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from iter_lightning.training import datamodules

    monkeypatch.setattr(CATALOG, "_known", dict(CATALOG))
    monkeypatch.setitem(vars(datamodules), "Notes", None)  # what the test adds is removed after it
    monkeypatch.delitem(vars(datamodules), "Notes")
    added = register_corpus(notes())
    assert CATALOG.find("notes") is added
    assert datamodules.data_modules()["Notes"]().schema.entity_types == ("Person", "Place")
    with pytest.raises(ConfigError, match="corpus 'notes' is registered already"):
        register_corpus(notes())
    with pytest.raises(ConfigError, match="corpus 'My Notes': expected a name in lowercase letters"):
        Corpus(name="My Notes", title="x", schema=added.schema, omega=1, files=(), read=added.read)
