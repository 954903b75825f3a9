"""Every output is complete, or what was there before."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from iter_lightning.errors import ConfigError, IterError
from iter_lightning.extraction.documents import Document, TextEntity
from iter_lightning.extraction.formats import open_writer, output_format
from tests.extraction.formats.builders import BOOKS, OUTPUTS, SCHEMA, contents, write_documents


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
def test_equal_documents_give_equal_bytes(name: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_documents(tmp_path / folder / OUTPUTS[name], *BOOKS)
    found = contents(tmp_path / "a")
    assert any(found.values())
    assert found == contents(tmp_path / "b")
    assert all(not path.name.startswith(".") for path in tmp_path.rglob("*"))


@pytest.mark.slow
def test_equal_documents_give_equal_bytes_in_another_process(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from tests.extraction.formats.builders import BOOKS, OUTPUTS, write_documents
for name in OUTPUTS.values():
    write_documents(Path(sys.argv[1]) / name, *BOOKS)
"""
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / seed)], check=True, env=environment)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_exception_leaves_the_earlier_output(name: str, error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / OUTPUTS[name]
    for _ in range(2):  # nothing there, something there
        before = contents(tmp_path)
        with pytest.raises(error):
            write_documents(path, BOOKS[0], then=lambda: raises(error))
        assert contents(tmp_path) == before
        assert sorted(tmp_path.iterdir()) == ([path] if before else [])
        write_documents(path, BOOKS[3])


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_full_disk_leaves_the_earlier_output(name: str, tmp_path: Path) -> None:
    path = tmp_path / OUTPUTS[name]
    write_documents(path, BOOKS[0])
    before = contents(tmp_path)
    text = "".join(chr(0x4E00 + (n * n * 7919) % 20000) for n in range(30_000))  # large also when compressed
    entity = TextEntity(0, len(text), "Loc", text)
    large = Document(text, ((0, len(text)),), ((0, len(text)),), (entity,), id="large")
    many = [replace(BOOKS[0], id=str(n)) for n in range(300)]
    with pytest.raises(IterError, match=r"out\..*: .*(cannot be written|the page)"), full_disk(8192):
        write_documents(path, large, *many)
    assert contents(tmp_path) == before
    assert list(tmp_path.iterdir()) == [path]


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
def test_path_selects_the_format(path: str, format: str | None, expected: str) -> None:
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
def test_unknown_format_is_refused(path: str, format: str | None, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        output_format(path, format)


def test_invalid_context_creates_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="context 'page': expected one of"),
        open_writer(tmp_path / "a" / "b.csv", None, SCHEMA, "page"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "package"), [("parquet", "pyarrow"), ("docbin", "spacy")])
def test_missing_package_names_the_extra(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [m for m in sys.modules if m.split(".")[0] == package] + [package]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"pip install 'iter-lightning\[extract\]'"):
        write_documents(tmp_path / OUTPUTS[name])
    assert list(tmp_path.iterdir()) == []


def test_closed_output_takes_no_document(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.json", None, SCHEMA) as writer:
        writer.write(BOOKS[3])
        writer.close()
        with pytest.raises(ValueError, match="closed"):
            writer.write(BOOKS[3])
    assert (tmp_path / "a.json").read_text().count("orig_id") == 1
