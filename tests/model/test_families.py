"""The encoder of the how-to is one file, and trains on the command line once its package is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.model import IterModel, register_encoder
from iter_lightning.model.encoder_config import config_from_dict
from iter_lightning.model.families import FAMILIES, EncoderFamily, family_of
from tests.builders import SCHEMA, build_example, wordpiece_tokenizer

HOW_TO = (Path(__file__).parents[2] / "docs" / "add-an-encoder.md").read_text(encoding="utf-8")
CODE, ENTRY_POINT = (re.search(rf"```{kind}\n(.*?)```", HOW_TO, re.DOTALL)[1] for kind in ("python", "toml"))  # type: ignore[index]
COMMANDS = """
import sys
from iter_lightning.cli import main
folder, encoder, run = sys.argv[1:]
options = [f"--data.{split}={folder}/{split}.json" for split in ("train", "dev", "test")]
options += [f"--model.encoder={encoder}", f"--run_dir={run}", "--wandb.mode=disabled", "--trainer.max_epochs=1"]
options += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
assert main(["fit", "--data=Custom", *options]) == 0
assert main(["extract", run, f"{folder}/text.txt", "-o", f"{run}/found.jsonl", "--device=cpu"]) == 0
"""


@pytest.fixture(scope="module")
def toy() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "neighbors_encoder"}
    exec(CODE, names)
    return names


def save_encoder(toy: dict[str, Any], folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = wordpiece_tokenizer()
    config = toy["NeighborsConfig"](vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    toy["NeighborsModel"](config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_fit_and_extract_take_the_encoder_of_an_installed_package(
    toy: dict[str, Any], tmp_path: Path, corpus_dir: Path
) -> None:
    (tmp_path / "neighbors_encoder.py").write_text(CODE)
    information = tmp_path / "neighbors_encoder-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: neighbors-encoder\nVersion: 1.0\n")
    group, target = ENTRY_POINT.split("\n")[:2]
    assert FAMILIES.group in group
    (information / "entry_points.txt").write_text(f"[{FAMILIES.group}]\n{target.replace(chr(34), '')}\n")
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.json").write_bytes((corpus_dir / f"{split}.json").read_bytes())
    (tmp_path / "text.txt").write_text("Ada lives in London.")
    places = [tmp_path, save_encoder(toy, tmp_path / "encoder"), tmp_path / "run"]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, *map(str, places)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Ada lives in London." in (tmp_path / "run" / "found.jsonl").read_text()


def test_registered_family_loads_saves_and_ignores_padding(
    toy: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FAMILIES, "_known", dict(FAMILIES))
    encoder = save_encoder(toy, tmp_path / "encoder")
    with pytest.raises(EncoderError, match="model_type: found 'neighbors', expected one of albert"):
        IterModel.from_encoder(str(encoder), SCHEMA)
    register_encoder(toy["NEIGHBORS"])
    model = IterModel.from_encoder(str(encoder), SCHEMA).eval()
    model.save_pretrained(tmp_path / "model")
    again = IterModel.from_pretrained(tmp_path / "model")
    short, long = build_example(["Ada", "lives"], []), build_example(["Ada", "lives", "in", "London"] * 5, [])
    batch = model.collate([(encoded, 0) for encoded in model.aligner().encode([short, long])])
    alone = model.collate([(encoded, 0) for encoded in again.aligner().encode([short])])
    count = alone.input_ids_BN.shape[1]
    together, apart = (
        net.encoder(input_ids=part.input_ids_BN, attention_mask=part.mask_BN.long()).last_hidden_state[0, :count]
        for net, part in ((model, batch), (again, alone))
    )
    torch.testing.assert_close(together, apart)


def test_family_of_transformers_is_one_declaration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FAMILIES, "_known", dict(FAMILIES))
    family = register_encoder(EncoderFamily("splinter"))
    config = config_from_dict({"model_type": "splinter", "hidden_size": 32, "num_attention_heads": 4})
    assert family_of(config) is family
    with pytest.raises(ConfigError, match="encoder family 'bert' is registered already"):
        register_encoder(EncoderFamily("bert"))
