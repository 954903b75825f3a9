"""JSON lines: a record per line, with everything that a document holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.base import Advance, Format, Item, ReadOptions, Source
from iter_lightning.extraction.formats.support.records import record_item
from iter_lightning.extraction.formats.support.streams import Line, lines_of
from iter_lightning.extraction.formats.support.writing import TextWriter


def read_json_lines(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """Read each line as a record, see `support.records`; blank lines are skipped."""
    for line in lines_of(source, options, advance):
        if line.data.strip():
            yield record_item(_parsed(line), options, source, line.place, line.shown)


def _parsed(line: Line) -> Any:
    """Return the value in a line, or the error of a line that has none."""
    try:
        return json.loads(line.text())
    except json.JSONDecodeError as error:
        return ValueError(f"column {error.colno}: not valid JSON: {error.msg}")
    except RecursionError:
        return ValueError("nested too deep")
    except ValueError as error:
        return error


class JsonLinesWriter(TextWriter):
    """Writes `Document.to_dict` as an object per line."""

    def write(self, document: Document) -> None:
        """Add a document."""
        self.file.write(json.dumps(document.to_dict(), ensure_ascii=False) + "\n")


JSON_LINES = Format(
    "jsonl", "a JSON object per line", (".jsonl", ".ndjson"), read=read_json_lines, write=JsonLinesWriter, gzip=True,
    reads_gold=True, writes_gold=True, other_suffixes=(".json",),
)  # fmt: skip
