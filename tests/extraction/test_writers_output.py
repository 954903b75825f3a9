"""What appears at the path: all of it, or what was there before."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from iter_lightning.errors import ConfigError, IterError
from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.formats import formats, open_writer, output_format
from iter_lightning.extraction.formats.support.target import replacing
from tests.extraction.test_writers import BOOKS, SCHEMA

NAMES = [name for name, format in formats().items() if format.writable]
OUTPUTS = {name: f"out{formats()[name].suffixes[0]}" for name in NAMES} | {"gzip": "out.jsonl.gz"}


def contents(path: Path) -> dict[str, bytes]:
    """Every file below."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def write(path: Path, *found: Document, then: Callable[[], None] = lambda: None) -> list[str]:
    with open_writer(path, None, SCHEMA) as writer:
        for document in found:
            writer.write(document)
        then()
    return writer.notes


def raises(error: type[BaseException]) -> None:
    raise error


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file grows past `limit` bytes, by order of the kernel."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_the_same_documents_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / OUTPUTS[name], *BOOKS)
    found = contents(tmp_path / "a")
    assert any(found.values())
    assert found == contents(tmp_path / "b")
    assert all(not path.name.startswith(".") for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_an_exception_leaves_what_was_there(name: str, error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / OUTPUTS[name]
    for _ in range(2):  # nothing there, something there
        before = contents(tmp_path)
        with pytest.raises(error):
            write(path, BOOKS[0], then=lambda: raises(error))
        assert contents(tmp_path) == before
        assert sorted(tmp_path.iterdir()) == ([path] if before else [])
        write(path, BOOKS[3])


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_a_full_disk_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    path = tmp_path / OUTPUTS[name]
    write(path, BOOKS[0])
    before = contents(tmp_path)
    text = "".join(chr(0x4E00 + (n * n * 7919) % 20000) for n in range(30_000))  # large also when compressed
    entity = TextEntity(0, len(text), "Loc", text)
    large = Document(text, ((0, len(text)),), ((0, len(text)),), (entity,), id="large")
    many = [replace(BOOKS[0], id=str(n)) for n in range(300)]
    with pytest.raises(IterError, match=r"out\..*: .*(cannot be written|the page)"), full_disk(8192):
        write(path, large, *many)
    assert contents(tmp_path) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["jsonl", "brat"])
def test_an_error_while_moving_leaves_what_was_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / OUTPUTS[name]
    write(path, BOOKS[0])
    before = contents(tmp_path)
    method = "rename" if name == "brat" else "replace"
    real: Callable[..., Path] = getattr(Path, method)

    def fail(self: Path, target: Path) -> Path:
        if target == path and self.name == path.name:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, method, fail)
    with pytest.raises(IterError, match="cannot be written: Input/output error"):
        write(path, BOOKS[3])
    assert contents(tmp_path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_brat_replaces_its_own_folders_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down.brat"
    write(path, BOOKS[0])
    write(path, BOOKS[1])
    assert sorted(contents(path)) == ["annotation.conf", "empty.ann", "empty.txt"]
    for foreign in (path / "thesis.tex", path / "visual.conf"):
        foreign.write_text("mine")
        with pytest.raises(ConfigError, match=f"holds {foreign.name}: only an empty folder"):
            write(path, BOOKS[0])
        assert foreign.read_text() == "mine"
        foreign.unlink()
    (path / "annotation.conf").unlink()
    with pytest.raises(ConfigError, match=r"holds no annotation\.conf"):
        write(path, BOOKS[0])
    bare = tmp_path / "bare"
    bare.mkdir()
    write(bare, BOOKS[0])
    assert "book_1.ann" in contents(bare)


def test_files_that_come_meanwhile_are_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "out.brat"

    def come() -> None:
        path.mkdir()
        (path / "thesis.tex").write_text("mine")

    with pytest.raises(ConfigError, match="thesis"):
        write(path, BOOKS[0], then=come)
    assert contents(tmp_path) == {"out.brat/thesis.tex": b"mine"}


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    pipe, folder, file = tmp_path / "pipe.jsonl", tmp_path / "folder.jsonl", tmp_path / "file.brat"
    os.mkfifo(pipe)
    folder.mkdir()
    file.write_text("mine")
    for path, reason in ((pipe, "not a regular file"), (folder, "is a folder"), (file, "is a file")):
        with pytest.raises(ConfigError, match=reason):
            write(path, BOOKS[0])
    with pytest.raises(ConfigError, match="mount point"), open_writer("/proc", "brat", SCHEMA):
        pass
    with pytest.raises(IterError, match=r"file\.brat is not a folder"):
        write(file / "out.jsonl", BOOKS[0])
    assert sorted(tmp_path.iterdir()) == [file, folder, pipe]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "out.csv"
    link.symlink_to(tmp_path / "disk" / "real.csv")
    write(link, BOOKS[0])
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.csv").read_bytes() == link.read_bytes() != b""


@pytest.mark.parametrize(
    ("path", "format", "expected"),
    [
        ("a.jsonl", None, "jsonl"), ("a.NDJSON", None, "jsonl"), ("a.jsonl.gz", None, "jsonl"), ("a.gz", None, "jsonl"),
        ("a.b.parquet", None, "parquet"), ("a.tsv.gz", None, "csv"), ("a.conll", None, "conll"),
        ("a.json", None, "spert"), ("folder/", None, "brat"), ("a.brat", None, "brat"), ("a.spacy", None, "docbin"),
        ("a.nt", None, "ntriples"), ("a.graphml", None, "graphml"), ("a.html", None, "html"), ("a.txt", "csv", "csv"),
        ("a.csv", "jsonl", "jsonl"),
    ],
)  # fmt: skip
def test_the_path_tells_the_format(path: str, format: str | None, expected: str) -> None:
    assert output_format(path, format) == expected


@pytest.mark.parametrize(
    ("path", "format", "reason"),
    [
        ("a.txt", None, r"a\.txt: which format\? Use a suffix or name one: brat \(\.brat\), conll"),
        ("a", None, "which format"), ("a.txt.gz", None, "which format"),
        ("a.csv", "excel", "format 'excel' cannot be written; expected one of"),
        ("a.parquet.gz", None, "not written compressed"), ("a.gz", "docbin", "not written compressed"),
    ],
)  # fmt: skip
def test_a_format_that_is_none(path: str, format: str | None, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        output_format(path, format)


def test_wrong_options_make_no_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="context 'page': expected one of"),
        open_writer(tmp_path / "a" / "b.csv", None, SCHEMA, "page"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "package"), [("parquet", "pyarrow"), ("docbin", "spacy")])
def test_a_missing_package_is_told_at_once(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [m for m in sys.modules if m.split(".")[0] == package] + [package]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"pip install 'iter-lightning\[extract\]'"):
        write(tmp_path / OUTPUTS[name])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["", ".", "/", "..", "a/..", "a\0b.jsonl", "a\0/b.jsonl"])
def test_path_without_name_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for format in ("jsonl", "brat"):
        with pytest.raises(ConfigError, match="expected a path that ends in a name"), open_writer(path, format, SCHEMA):
            pass
    assert list(tmp_path.iterdir()) == []


def test_closing_early_is_closing_once(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.json", None, SCHEMA) as writer:
        writer.write(BOOKS[3])
        writer.close()
        with pytest.raises(ValueError, match="closed"):
            writer.write(BOOKS[3])
    assert (tmp_path / "a.json").read_text().count("orig_id") == 1


def test_process_killed_while_it_removes_leaves_its_lock(tmp_path: Path) -> None:
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


def test_what_a_killed_process_left_goes_and_what_another_holds_stays(tmp_path: Path) -> None:
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
