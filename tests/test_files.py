"""Whole files, permissions, locks, and files that are safe to read."""

from __future__ import annotations

import gzip
import io
import os
import random
from pathlib import Path

import pytest

from iter_lightning.errors import IterError
from iter_lightning.files import (
    GzipReader,
    finish_folder,
    hidden,
    locked,
    permit,
    regular_file,
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


def test_lock_is_refused_while_it_is_held_and_free_afterwards(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        locked(lock, RuntimeError("taken")),
        pytest.raises(RuntimeError, match="taken"),
        locked(lock, RuntimeError("taken")),
    ):
        pass
    with locked(lock, RuntimeError("taken")):
        pass


def test_lock_does_not_outlive_its_process_in_a_forked_child(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with locked(tmp_path / "lock", RuntimeError("taken")):
        child = os.fork()
        if not child:
            os.close(writing)
            os.read(reading, 1)  # until the test ends
            os._exit(0)
        with pytest.raises(RuntimeError), locked(tmp_path / "lock", RuntimeError()):
            pass  # a fork does not release it, either
    with locked(tmp_path / "lock", RuntimeError("the child holds it")):
        pass
    os.close(writing)
    os.waitpid(child, 0)
    os.close(reading)


def test_regular_file_is_returned_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    assert regular_file(tmp_path / "b") == tmp_path / "b"
    assert regular_file(str(tmp_path / "a")) == tmp_path / "a"


def test_regular_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, kind in ((tmp_path / "fifo", "a FIFO"), (tmp_path, "a folder"), (Path("/dev/null"), "a device")):
        with pytest.raises(IterError, match=f"{path} is {kind}, expected a regular file"):
            regular_file(path)
    with pytest.raises(FileNotFoundError):
        regular_file(tmp_path / "missing")


def unpacked(data: bytes) -> bytes:
    with io.BufferedReader(GzipReader(io.BytesIO(data))) as stream:
        return stream.read()


def test_gzip_stream_of_several_members_is_unpacked() -> None:
    data = os.urandom(100_000)
    assert unpacked(gzip.compress(data) + gzip.compress(b"more")) == data + b"more"


def test_gzip_stream_that_expands_too_far_is_refused() -> None:
    zeros = gzip.compress(bytes(1 << 20), 9)
    assert len(unpacked(zeros * 60)) == 60 << 20  # any small stream may
    with pytest.raises(gzip.BadGzipFile, match="more than 256 times its size"):
        unpacked(zeros * 100)
    half = gzip.compress(bytes(1 << 20) + os.urandom(1 << 14), 9)
    assert len(unpacked(half * 100)) == 100 * ((1 << 20) + (1 << 14))


def test_gzip_stream_that_is_damaged_is_refused() -> None:
    whole = gzip.compress(random.Random(0).randbytes(1000) * 2)
    for start in (0, 2, 100, len(whole) - 8):  # the magic number, the method, the data, the checksum
        with pytest.raises(OSError, match="damaged"):
            unpacked(whole[:start] + bytes(255 - byte for byte in whole[start : start + 4]) + whole[start + 4 :])
    with pytest.raises(EOFError):
        unpacked(whole[:-20])


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
