"""Runs on disk: complete manifests, commits, splits."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iter_lightning.studies.runs.plan import load_plan, select
from iter_lightning.studies.runs.stored import commits_of, gaps, load_runs, splits_of
from iter_lightning.training import cli
from iter_lightning.training.run import RunFolder
from tests.studies.builders import manifest_of, write_plan, write_run


def test_gaps_name_what_a_manifest_lacks(tmp_path: Path) -> None:
    whole = manifest_of(select(load_plan(write_plan(tmp_path)))[0])
    assert gaps(whole) == []
    assert gaps({**whole, "versions": {}, "commit": None}) == ["versions", "commit"]
    assert gaps({**whole, "device": ""}) == ["device"]
    without = json.loads(json.dumps(whole))
    del without["data"]["splits"]["test"]
    del without["origin"]["encoder_sha256"]
    assert gaps(without) == ["data.splits.test.sha256", "origin.encoder_sha256"]


def test_commits_of_marks_changed_checkouts() -> None:
    manifests = [{"commit": "0123456789", "commit_clean": True}, {"commit": "abcdefabcd", "commit_clean": False}, {}]
    assert commits_of(manifests) == ["0123456", "None+", "abcdefa+"]


def test_load_runs_finds_one_run_or_all_below(tmp_path: Path) -> None:
    for name in ("a/seed1", "b/seed1", "sweeps/x/trials/0001"):
        write_run(tmp_path / name, {"status": "finished"})
    (tmp_path / "b" / "seed1" / "manifest.json").write_text("{")
    assert [run.folder.path.name for run in load_runs(tmp_path / "a" / "seed1")] == ["seed1"]
    assert len(load_runs(tmp_path)) == 3
    assert [run.finished for run in load_runs(tmp_path, "*/*")] == [True, False]


@pytest.mark.parametrize(("own", "given"), [("null", True), ("elsewhere", False)])
def test_splits_of_uses_the_folder_of_corpora_and_no_environment(
    own: str, given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def build(verb: str, arguments: list[str]) -> Any:
        seen.extend(arguments)
        assert "ITER_DATA" not in os.environ
        return SimpleNamespace(datamodule=SimpleNamespace(splits=lambda: {"test": []}))

    monkeypatch.delenv("ITER_DATA", raising=False)
    monkeypatch.setattr(cli, "build_cli", build)
    (tmp_path / "config.yaml").write_text(f"data: {{init_args: {{data_dir: {own}}}}}")
    assert splits_of(RunFolder(tmp_path), Path("corpora")) == {"test": []}
    assert ("--data.init_args.data_dir=corpora" in seen) == given
