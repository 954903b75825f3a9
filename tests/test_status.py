"""Whether a run has finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.status import check_finished, unfinished_note


def write_run(folder: Path, manifest: str | None) -> Path:
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    if manifest is not None:
        (folder / "manifest.json").write_text(manifest)
    return folder


def test_check_finished_refuses_an_unfinished_run_unless_allowed() -> None:
    run = Path("runs/mine/seed1")
    with pytest.raises(ConfigError, match=r"runs/mine/seed1: this run has not finished; .* --allow-unfinished"):
        check_finished(run, {"status": "running"}, allowed=False)
    assert check_finished(run, {"status": "running"}, allowed=True)
    for manifest in ({"status": "finished"}, {}):  # the second is a model without a run
        assert not check_finished(run, manifest, allowed=False)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (None, ""), ('{"status": "finished"}', ""), ('{"status": "running"}', "has not finished"),
        ("{", "is damaged"),
    ],
)  # fmt: skip
def test_unfinished_note_warns_of_run_and_model_folder(manifest: str | None, expected: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", manifest)
    for source in (run, run / "model"):
        note = unfinished_note(source)
        assert bool(note) == bool(expected)
        assert expected in note
    assert unfinished_note("owner/model") == ""
