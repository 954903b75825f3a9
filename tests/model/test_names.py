"""One function decides which folder the name of a model means."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from iter_lightning.errors import EncoderError
from iter_lightning.model.names import resolve_model


@pytest.mark.parametrize("kind", [str, Path])
def test_resolve_model_finds_run_and_model_folders(tmp_path: Path, kind: type) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text("{}")
    for name in ("run", "run/model"):
        assert resolve_model(kind(tmp_path / name)) == tmp_path / "run" / "model"


def test_resolve_model_folder_without_model_is_not_searched_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    (tmp_path / "owner" / "model").mkdir(parents=True)
    with pytest.raises(EncoderError, match=r"no ITER model owner/model: tried owner/model/model and owner/model, "):
        resolve_model("owner/model")
