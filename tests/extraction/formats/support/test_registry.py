"""Formats of this package, of installed packages and registered ones; the how-to's toy format is one file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from iter_lightning import cli
from iter_lightning.errors import ConfigError
from iter_lightning.extraction import formats as package
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.formats import Format, TextWriter, formats, open_writer, register_format
from iter_lightning.extraction.formats.support import registry
from iter_lightning.types import Schema
from tests.builders import tiny_model

HOW_TO = (Path(__file__).parents[4] / "docs" / "add-an-output-format.md").read_text(encoding="utf-8")
CODE, ENTRY_POINT = (re.search(rf"```{kind}\n(.*?)```", HOW_TO, re.DOTALL)[1] for kind in ("python", "toml"))  # type: ignore[index]


@pytest.fixture(autouse=True)
def fresh_registry() -> Iterator[None]:
    registry._registry.cache_clear()
    yield
    registry._registry.cache_clear()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str = CODE) -> None:
    """Put the toy format where an installed package would be."""
    (folder / "toy_format.py").write_text(code)
    information = folder / "toy_format-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-format\nVersion: 1.0\n")
    target = ENTRY_POINT.splitlines()[1].replace('"', "")
    (information / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\n{target}\n")
    monkeypatch.syspath_prepend(str(folder))


def test_extract_writes_the_format_of_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, monkeypatch)
    model, texts, out = tmp_path / "model", tmp_path / "a.txt", tmp_path / "x.toy"
    tiny_model("bert", omega=2).save_pretrained(model)
    texts.write_text("Ada lives in London. Her brother works for the Bank of London.")
    arguments = ["extract", str(model), str(texts), "--device", "cpu"]
    assert cli.main([*arguments, "-o", str(out)]) == 0
    (found,) = Extractor.from_pretrained(str(model), device="cpu")([texts.read_text()])
    expected = [f"{e.type}\t{e.text}\t{e.score}" for e in found.entities]
    assert expected
    assert found.relations
    assert out.read_text().splitlines() == expected
    assert f"toy holds no relations: {len(found.relations):,} left out" in capsys.readouterr().err


def test_module_in_the_package_is_found_without_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(CODE)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    assert formats()["toy"].suffixes == (".toy",)
    with open_writer(tmp_path / "x.toy.gz", None, Schema(("Person",))) as writer:
        writer.write(Document("Ada"))
    assert (tmp_path / "x.toy.gz").exists()


def test_broken_package_is_reported_and_the_others_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, monkeypatch, "raise RuntimeError('no luck')")
    monkeypatch.delitem(__import__("sys").modules, "toy_format", raising=False)
    assert "graphml" in formats()
    assert "format toy (toy_format:TOY) is not available: no luck" in caplog.text


def test_registered_format_is_used_and_a_taken_name_or_suffix_is_refused(tmp_path: Path) -> None:
    register_format(Format("toy", "nothing", (".toy", ".txt"), write=TextWriter))  # type: ignore[type-abstract]
    assert list(formats()) == sorted(formats())
    with pytest.raises(ConfigError, match="format 'toy' is registered already"):
        register_format(Format("toy", "again"))
    with pytest.raises(ConfigError, match=r"format 'other': the suffix \.toy belongs to toy"):
        register_format(Format("other", "again", (".toy",), write=TextWriter))  # type: ignore[type-abstract]
    with pytest.raises(ConfigError, match="expected a Format, found str"):
        register_format("toy")  # type: ignore[arg-type]


def test_every_format_declares_what_it_is() -> None:
    table = package.__doc__ or ""
    for name, format in formats().items():
        assert name == format.name
        assert format.summary
        assert format.read or format.write
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}`")]
        assert all(suffix in row for suffix in format.suffixes)
