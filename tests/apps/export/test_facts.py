from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.apps.export.facts import public_name, read_manifest, read_results
from iter_lightning.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("google/flan-t5-large", "google/flan-t5-large"),
        ("package:minilm", "package:minilm"),
        ("/data/models/mine", "mine"),
        ("../models/mine", "mine"),
        ("a/b/mine", "mine"),
    ],
)
def test_public_name_path_keeps_last_part(name: str, shown: str) -> None:
    assert public_name(name) == shown


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"definition": {"gold": "fools"}}, "test: entry 0: .*fools"),
        ({"scores": {"NER": {"micro": {}}}}, r"test.0.scores.NER.micro.* is missing"),
        ({"scores": {"NER": []}}, "test.0.scores.NER: found a list"),
    ],
)
def test_read_results_damaged_names_value(run: Path, change: dict[str, Any], fault: str) -> None:
    entry = {**json.loads((run / "results.json").read_text())["test"][0], **change}
    (run / "results.json").write_text(json.dumps({"test": [entry]}))
    with pytest.raises(ConfigError, match=rf"results.json is damaged \({fault}"):
        read_results(run / "results.json")


def test_read_manifest_damaged_names_file(run: Path) -> None:
    (run / "manifest.json").write_text("[")
    with pytest.raises(ConfigError, match=r"manifest.json is damaged"):
        read_manifest(run)
