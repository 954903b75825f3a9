"""The checkpoint plugin."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from iter_lightning.errors import IterError
from iter_lightning.training.checkpoints import WholeCheckpointIO, check_checkpoint

CONTENT: dict[str, Any] = {
    "state_dict": {"w": torch.arange(1000.0)}, "optimizer_states": [], "lr_schedulers": [], "loops": {}, "epoch": 1,
    "global_step": 3,
}  # fmt: skip


def test_checkpoint_is_read_back_and_leftovers_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.ckpt"
    WholeCheckpointIO().save_checkpoint(CONTENT, path)
    (path.parent / ".last.ckpt.00.part").write_bytes(b"left by a kill")
    WholeCheckpointIO().save_checkpoint(CONTENT, str(path))
    assert list(path.parent.iterdir()) == [path]
    check_checkpoint(path, "")
    found = WholeCheckpointIO().load_checkpoint(path, weights_only=False)
    assert torch.equal(found["state_dict"]["w"], CONTENT["state_dict"]["w"])


def test_full_disk_names_the_checkpoint_and_keeps_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint(CONTENT, path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("iter_lightning.io.atomic.os.fsync", full)
    with pytest.raises(IterError, match=r"last\.ckpt cannot be written: No space left on device"):
        WholeCheckpointIO().save_checkpoint(CONTENT, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such file"), (b"", "damaged"), (b"junk", "damaged"), ({"epoch": 1}, "state_dict"),
        ([1], "not a training checkpoint"),
    ],
)  # fmt: skip
def test_check_checkpoint_refuses_in_one_line(content: Any, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(IterError, match=expected) as refused:
        check_checkpoint(path, "move it away")
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith("; move it away")


def test_a_folder_is_refused_but_for_a_sharded_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(IterError, match="is a directory"):
        check_checkpoint(tmp_path, "")
    (tmp_path / "meta.pt").write_bytes(b"")
    check_checkpoint(tmp_path, "")
