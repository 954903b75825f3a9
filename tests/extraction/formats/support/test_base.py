"""Bad records and options."""

from __future__ import annotations

from pathlib import Path

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.formats import BadRecord, ReadOptions
from tests.extraction.formats.builders import only_bad, write_jsonl


def test_bad_record_is_utf8_and_its_reason_one_line(tmp_path: Path) -> None:
    bad = only_bad(write_jsonl(tmp_path / "a.jsonl", {"text": {"\ud800\n": "x" * 5000}}))
    assert bad.reason.encode()
    assert len(bad.record.encode()) == 1000
    assert BadRecord("a", "file", "two\nlines \ud800", "\ud800" * 1000).reason == "two lines \\ud800"
    assert len(BadRecord("a", "file", "", "\ud800" * 1000).record) == 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_field": ""}, "text_field: expected the name of a field, found ''"),
        ({"id_field": ""}, "id_field"),
        ({"max_characters": 0}, "max_characters: expected a whole number of at least 1, found 0"),
        ({"max_characters": 1.5}, "max_characters"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReadOptions(**options)  # type: ignore[arg-type]
