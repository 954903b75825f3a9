"""Replacing files and folders atomically."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from iter_lightning.errors import ConfigError, IterError
from iter_lightning.extraction.formats import open_writer
from iter_lightning.extraction.formats.support.target import replacing
from tests.extraction.formats.builders import BOOKS, OUTPUTS, SCHEMA, contents, write_documents


@pytest.mark.parametrize("name", ["jsonl", "brat"])
def test_error_while_moving_leaves_the_earlier_output(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / OUTPUTS[name]
    write_documents(path, BOOKS[0])
    before = contents(tmp_path)
    real: Callable[..., Path] = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target == path and self.name == path.name:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(IterError, match="cannot be written: Input/output error"):
        write_documents(path, BOOKS[3])
    assert contents(tmp_path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_folder_with_foreign_files_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down.brat"
    write_documents(path, BOOKS[0])
    write_documents(path, BOOKS[1])
    assert sorted(contents(path)) == ["annotation.conf", "empty.ann", "empty.txt"]
    for foreign in (path / "thesis.tex", path / "visual.conf"):
        foreign.write_text("mine")
        with pytest.raises(ConfigError, match=f"holds {foreign.name}: only an empty folder"):
            write_documents(path, BOOKS[0])
        assert foreign.read_text() == "mine"
        foreign.unlink()
    (path / "annotation.conf").unlink()
    with pytest.raises(ConfigError, match=r"holds no annotation\.conf"):
        write_documents(path, BOOKS[0])
    bare = tmp_path / "bare"
    bare.mkdir()
    write_documents(bare, BOOKS[0])
    assert "book_1.ann" in contents(bare)


def test_foreign_files_that_appear_meanwhile_stay(tmp_path: Path) -> None:
    path = tmp_path / "out.brat"

    def come() -> None:
        path.mkdir()
        (path / "thesis.tex").write_text("mine")

    with pytest.raises(ConfigError, match="thesis"):
        write_documents(path, BOOKS[0], then=come)
    assert contents(tmp_path) == {"out.brat/thesis.tex": b"mine"}


def test_special_files_are_not_replaced(tmp_path: Path) -> None:
    pipe, folder, file = tmp_path / "pipe.jsonl", tmp_path / "folder.jsonl", tmp_path / "file.brat"
    os.mkfifo(pipe)
    folder.mkdir()
    file.write_text("mine")
    for path, reason in ((pipe, "not a regular file"), (folder, "is a folder"), (file, "is a file")):
        with pytest.raises(ConfigError, match=reason):
            write_documents(path, BOOKS[0])
    with pytest.raises(ConfigError, match="mount point"), open_writer("/proc", "brat", SCHEMA):
        pass
    with pytest.raises(IterError, match=r"file\.brat is not a folder"):
        write_documents(file / "out.jsonl", BOOKS[0])
    assert sorted(tmp_path.iterdir()) == [file, folder, pipe]


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "out.csv"
    link.symlink_to(tmp_path / "disk" / "real.csv")
    write_documents(link, BOOKS[0])
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.csv").read_bytes() == link.read_bytes() != b""


@pytest.mark.parametrize("path", ["", ".", "/", "..", "a/..", "a\0b.jsonl", "a\0/b.jsonl"])
def test_path_without_a_name_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for format in ("jsonl", "brat"):
        with pytest.raises(ConfigError, match="expected a path that ends in a name"), open_writer(path, format, SCHEMA):
            pass
    assert list(tmp_path.iterdir()) == []


def test_killed_while_removing_is_cleaned_up_later(tmp_path: Path) -> None:
    script = f"""
import os, shutil, signal
from pathlib import Path
from iter_lightning.extraction.formats.support import target
shutil.rmtree = lambda path, **options: os.kill(os.getpid(), signal.SIGKILL)
with target.replacing(Path({str(tmp_path / "found.jsonl")!r}), ) as part:
    part.write_text("whole")
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    with replacing(
        tmp_path / "found.jsonl",
    ) as part:
        part.write_text("again")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("found.jsonl", "again")]


def test_remains_of_a_killed_process_are_removed_and_others_stay(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
from pathlib import Path
from iter_lightning.extraction.formats.support.target import replacing
with replacing(Path({str(tmp_path / "found.jsonl")!r}), ) as part:
    part.write_text("half of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    (left,) = tmp_path.iterdir()
    with replacing(
        tmp_path / "found.jsonl",
    ) as mine:
        assert not left.exists()
        mine.write_text("mine")
        with replacing(
            tmp_path / "found.jsonl",
        ) as other:
            assert mine.read_text() == "mine"
            other.write_text("other")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("found.jsonl", "mine")]
