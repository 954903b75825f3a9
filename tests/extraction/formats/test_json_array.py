"""JSON arrays: any blocks, and damage."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats import Reading, ReadOptions
from tests.extraction.formats.builders import TEXTS, documents_in, read, told, write


@settings(max_examples=60)
@given(
    st.lists(st.fixed_dictionaries({"text": TEXTS, "more": st.lists(st.floats(allow_nan=False) | TEXTS)}), max_size=5),
    st.sampled_from([None, 1]), st.booleans(), st.integers(1, 40),
)  # fmt: skip
def test_array_in_blocks_of_any_size_is_read_as_json_reads_it(
    records: list[dict[str, Any]], indent: int | None, ascii: bool, block: int
) -> None:
    written = json.dumps(records, indent=indent, ensure_ascii=ascii)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("iter_lightning.extraction.formats.json_array.BLOCK", block)
        assert [d.text for d in documents_in(write(Path(folder, "a.json"), written))] == [r["text"] for r in records]
        loose = "\n".join(json.dumps(record, indent=indent) for record in records)
        path = write(Path(folder, "b.json.gz"), loose)
        if records:
            assert [d.text for d in documents_in(path)] == [r["text"] for r in records]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ["file: empty, expected a list"]),
        (" \n", ["file: empty, expected a list"]),
        ("[]", []),
        (" [ ] ", []),
        ("3", ["file: expected a list of records, found '3'"]),
        ('[{"text": "a"}', ["a", "record 1: cut off: no ']'; nothing more is read of the file"]),
        ('[{"text": "a"}, {"text": "b',
         ["a", "record 1: line 1: not valid JSON: Unterminated string starting at; nothing more"]),
        ('[{"text": "a"},\n\n{"text": b},' + " " * 99,
         ["a", "record 1: line 3: not valid JSON: Expecting value; nothing more"]),
        ('[{"text": "a"} {"text": "b"}]', ["a", "record 1: expected ',' or ']', found '{'; nothing more"]),
        ('[{"text": "a"}] x', ["a", "record 1: expected nothing after the list, found 'x'; nothing more"]),
        ('[{"text": "a"}, 12, null, {"text": "b"}]',
         ["a", "record 1: expected an object, found 12", "record 2: expected an object, found null", "b"]),
        ('[{"text": "a"}, {"text": "b"},]',
         ["a", "b", "record 2: line 1: not valid JSON: Expecting value; nothing more"]),
        ("[" * 200_000, ["record 0: nested too deep"]),
        ("[" + "1" * 5000 + "]", ["record 0: Exceeds the limit"]),
        ('{"data": [{"text": "a"}]}', ["record 0: neither 'text' nor tokens or words, found 'data'"]),
    ],
)  # fmt: skip
def test_damaged_array_gives_the_records_before_the_damage(tmp_path: Path, content: str, expected: list[str]) -> None:
    found = told(read(write(tmp_path / "a.json", content)))
    assert len(found) == len(expected)
    assert all(one.startswith(other) for one, other in zip(found, expected, strict=True)), found


def test_number_across_blocks_is_one_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.json", "[12345, 678]")
    monkeypatch.setattr("iter_lightning.extraction.formats.json_array.BLOCK", 1)
    assert [bad.split()[-1] for bad in told(read(path))] == ["12345", "678"]


def test_byte_that_is_not_utf8_makes_only_its_record_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", b'[{"text": "a"}, {"text": "caf\xe9"}, {"text": "b", "other": "\xff"}]')
    bad = "record 1: text: character 3 is '\\udce9', a lone surrogate (half of a pair, or a byte that is not UTF-8)"
    assert told(read(path)) == ["a", bad, "b"]


def test_long_array_is_read_in_blocks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json.dumps([{"text": "x" * 1000}] * 2000 + [{"text": "y" * 3_000_000}]))
    reading = Reading([str(path)])
    items = iter(reading)
    next(items)
    assert reading.done <= 2 * 65536 < (reading.total or 0)
    assert [len(item.text) for item in items if isinstance(item, Document)] == [1000] * 1999 + [3_000_000]
    last = told(read(path, max_characters=2_000_000))[-1]
    assert last == "record 2000: 3,000,000 characters, at most 2,000,000 are read (max_characters)"


def test_endless_record_is_not_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json.gz", b'[{"text": "a"}, {"text": "' + b"x" * (40 << 20) + b'"}]')
    reading = Reading([str(path)], ReadOptions(max_characters=1000))
    assert told(list(reading)) == [
        "a", "record 1: longer than 16,777,216 characters; nothing more is read of the file",
    ]  # fmt: skip
