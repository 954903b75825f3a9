"""JSON lines: a record per line, with everything that a document holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.base import Advance, BadRecord, Format, Item, ReadOptions, Source
from iter_lightning.extraction.formats.support.records import document_of
from iter_lightning.extraction.formats.support.streams import lines_of, opened
from iter_lightning.extraction.formats.support.writing import TextWriter


def read_json_lines(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """Read each line as a record, see `support.records`; blank lines are skipped."""
    limit = options.longest_record
    with opened(source, advance) as stream:
        for line in lines_of(stream, limit):
            try:
                text = line.text(limit)
                if not text.strip():
                    continue
                document = document_of(_parsed(text), options, f"{source.name}:{line.place}")
            except ValueError as error:
                yield BadRecord(source.name, line.place, str(error), line.shown())
            else:
                yield document


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"column {error.colno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError("nested too deep") from None


class JsonLinesWriter(TextWriter):
    """Writes `Document.to_dict` as an object per line."""

    def write(self, document: Document) -> None:
        """Add a document."""
        self.file.write(json.dumps(document.to_dict(), ensure_ascii=False) + "\n")


JSON_LINES = Format(
    "jsonl", "a JSON object per line", (".jsonl", ".ndjson"), read=read_json_lines, write=JsonLinesWriter, gzip=True,
    reads_gold=True, writes_gold=True, other_suffixes=(".json",),
)  # fmt: skip
