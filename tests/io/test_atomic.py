"""Files and folders are written whole, with the permissions of the umask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iter_lightning.io.atomic import (
    finish_folder,
    hidden,
    permit,
    staged_file,
    sweep,
    whole_file,
    whole_folder,
    write_atomically,
)


@pytest.fixture
def umask() -> object:
    before = os.umask(0o027)
    yield None
    os.umask(before)


def test_whole_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomically(path, "old")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines(["new", 3])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_removes_what_a_kill_left_of_this_file_alone(tmp_path: Path) -> None:
    left, other = hidden(tmp_path / "last.ckpt"), hidden(tmp_path / "manifest.json")
    for path in (left, other, tmp_path / "last.ckpt", tmp_path / ".last.ckpt"):
        path.write_text("")
    sweep(tmp_path / "last.ckpt")
    assert {path.name for path in tmp_path.iterdir()} == {other.name, "last.ckpt", ".last.ckpt"}
    sweep(tmp_path / "missing" / "file")


@pytest.mark.usefixtures("umask")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    write_atomically(tmp_path / "text", "x")
    private = tmp_path / "private"
    private.touch(0o600)
    permit(private)
    folder = tmp_path / "folder"
    folder.mkdir(0o700)
    (folder / "inside").touch(0o600)
    finish_folder(folder)
    found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert found == {"text": 0o640, "private": 0o640, "folder": 0o750, "inside": 0o640}


def test_whole_folder_move_fails_restores_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    replace = Path.replace

    def refuse(self: Path, to: Path) -> Path:
        if to == target and (self / "new").exists():
            raise OSError(5, "Input/output error")
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Input/output"), whole_folder(target) as part:
        (part / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_sweep_removes_partial_folders(tmp_path: Path) -> None:
    left = hidden(tmp_path / "model")
    left.mkdir()
    (left / "config.json").touch()
    sweep(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_staged_file_written_by_a_library_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x"
    for content in ("old", "new"):
        with staged_file(path) as part:
            part.write_text(content)
        assert path.read_text() == content
        assert list(path.parent.iterdir()) == [path]


def test_whole_folder_keeps_the_folder_set_aside_until_a_new_one_is_complete(tmp_path: Path) -> None:
    aside = tmp_path / "out.old"
    aside.mkdir()  # left by a process that was killed between the two renames
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out", aside) as part:
        (part / "missing" / "half").touch()
    assert list(tmp_path.iterdir()) == [aside]
    with whole_folder(tmp_path / "out", aside) as part:
        (part / "new").touch()
    assert list(tmp_path.rglob("*")) == [tmp_path / "out", tmp_path / "out" / "new"]
