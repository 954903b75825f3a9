from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from iter_lightning import Extractor
from iter_lightning.apps.export.cli import main
from iter_lightning.apps.export.hub import check_repo_id, push
from iter_lightning.errors import ConfigError
from tests.builders import SCHEMA


@dataclass
class FakeHub:
    """The part of `HfApi` that is used."""

    public: bool = True
    fails: Exception | None = None
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, token: str) -> FakeHub:
        return self

    def create_repo(self, name: str, **options: Any) -> None:
        self.calls.append(("create", {"name": name, **options}))

    def repo_info(self, name: str, **_: Any) -> Any:
        return SimpleNamespace(private=not self.public)

    def upload_folder(self, **options: Any) -> Any:
        if self.fails:
            raise self.fails
        self.calls.append(("upload", options))
        return SimpleNamespace(commit_url="https://hub/commit/1")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret123")
    return fake


def test_push_uploads_folder(run: Path, tmp_path: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(run), str(tmp_path / "out"), "--push", "owner/mine", "--license", "mit"])
    (create, made), (upload, sent) = hub.calls
    assert (create, upload) == ("create", "upload")
    assert (made["name"], made["private"], made["exist_ok"]) == ("owner/mine", None, True)
    assert (sent["repo_id"], sent["folder_path"]) == ("owner/mine", tmp_path / "out")
    shown = capsys.readouterr()
    assert "uploaded: https://hub/commit/1" in shown.out
    assert "secret" not in shown.out + shown.err
    assert "from_pretrained('owner/mine'" in (tmp_path / "out" / "README.md").read_text()


def test_push_private_public_model_is_refused(tmp_path: Path, hub: FakeHub) -> None:
    with pytest.raises(ConfigError, match="exists and is public: nothing was uploaded"):
        push(tmp_path, "owner/mine", private=True)
    assert [name for name, _ in hub.calls] == ["create"]
    hub.public = False
    assert push(tmp_path, "owner/mine", private=True) == "https://hub/commit/1"


def test_push_without_token_keeps_folder(
    run: Path, tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ConfigError, match=r"no token for the hub: set HF_TOKEN .* complete and stays") as raised:
        main([str(run), str(tmp_path / "out"), "--push", "owner/mine"])
    assert "\n" not in str(raised.value)
    assert hub.calls == []
    assert Extractor.from_pretrained(tmp_path / "out", language="none").schema == SCHEMA


@pytest.mark.parametrize(
    "fault",
    [
        OfflineModeIsEnabled("offline mode\nis on, token hf_secret123"),
        ConnectionError("no route; hf_secret123"),
        RuntimeError("[Errno -2] hf_other no name"),  # an error of the HTTP library
    ],
)
def test_push_hub_out_of_reach_raises_one_line_without_token(tmp_path: Path, hub: FakeHub, fault: Exception) -> None:
    hub.fails = fault
    with pytest.raises(ConfigError, match=r"owner/mine was not uploaded: .* complete and stays") as raised:
        push(tmp_path, "owner/mine")
    assert "\n" not in str(raised.value)
    assert "hf_" not in str(raised.value)


@pytest.mark.parametrize("name", ["mine", "a/b/c", "owner/", "owner/a--b", "owner/mi ne", "owner/é", ""])
def test_check_repo_id_invalid_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--push"):
        check_repo_id(name)
    check_repo_id("owner/My_model-1.0")
