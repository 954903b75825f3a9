"""CSV and TSV: read a document per row, write a relation per row."""

from __future__ import annotations

import csv
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document, TextRelation
from iter_lightning.extraction.formats.support.base import Advance, DamagedError, Format, Item, ReadOptions, Source
from iter_lightning.extraction.formats.support.records import missing_columns, record_item
from iter_lightning.extraction.formats.support.streams import Line, lines_of
from iter_lightning.extraction.formats.support.writing import TextWriter

COLUMNS = (
    "document", "head", "head_type", "head_start", "head_end", "relation", "tail", "tail_type", "tail_start",
    "tail_end", "score", "sentence",
)  # fmt: skip
_ESCAPED = range(0xDC80, 0xDD00)
"""Characters that stand for bytes that are not UTF-8."""


# Reading -------------------------------------------------------------------------------------------------------------


def read_csv(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """Read each row as a document. The first row names the columns; a quoted field may contain line breaks."""
    rows = _rows(source, options, advance)
    header = next(rows, None)
    if header is None:
        raise DamagedError("file", "empty, expected a row with the names of the columns")
    if fault := missing_columns(header.fields, options):
        raise ConfigError(f"{source.name}: {fault}")
    for row in rows:
        record = ValueError(row.fault) if row.fault else _record(header.fields, row.fields, options)
        raw = partial(_delimiter(source).join, row.fields)
        yield record_item(record, options, source, row.place, raw)


def check_csv(source: Source, options: ReadOptions) -> str | None:
    """Return which column is missing; damage is reported when the file is read."""
    try:
        header = next(_rows(source, options, lambda count: None), None)
    except DamagedError:
        return None
    return missing_columns(header.fields, options) if header else None


class _Row(NamedTuple):
    place: str
    fields: list[str]
    fault: str = ""


def _rows(source: Source, options: ReadOptions, advance: Advance) -> Iterator[_Row]:
    """Yield the rows that are not blank; for a row that is not CSV, the line it is on."""
    csv.field_size_limit(max(csv.field_size_limit(), options.longest_record))  # one limit per process
    last: list[Line] = []  # the last line read; empty at the end

    def texts() -> Iterator[str]:
        for line in lines_of(source, options, advance):
            if not line.whole:
                reason = f"longer than {line.limit:,} bytes; nothing more is read of the file"
                raise DamagedError(line.place, reason)
            last[:] = [line]
            yield line.data.decode("utf-8", "surrogateescape")
        last.clear()

    reader = csv.reader(texts(), strict=True, delimiter=_delimiter(source))
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num > first or not last:
                reason = f"not valid CSV: {error} (line {reader.line_num}), and the end of the row is unknown"
                raise DamagedError(f"line {first}", f"{reason}; nothing more is read of the file") from None
            yield _Row(f"line {first}", [last[0].shown()], f"not valid CSV: {error}")
        else:
            if fields:
                yield _Row(f"line {first}", fields)


def _record(names: list[str], fields: list[str], options: ReadOptions) -> dict[str, str] | ValueError:
    """Return the text and the id of a row, or its fault."""
    if len(fields) != len(names):
        return ValueError(f"{len(fields)} fields, the first row has {len(names)} (a delimiter that is not quoted?)")
    record = {name: fields[names.index(name)] for name in (options.text_field, options.id_field) if name in names}
    for name, text in record.items():
        if not text.isascii() and (wrong := next((c for c in text if ord(c) in _ESCAPED), "")):
            return ValueError(f"{name}: the byte 0x{ord(wrong) - 0xDC00:02x} is not UTF-8")
    return record


def _delimiter(source: Source) -> str:
    tabs = source.format == "tsv" or (source.path or "").lower().removesuffix(".gz").endswith(".tsv")
    return "\t" if tabs else ","


# Writing -------------------------------------------------------------------------------------------------------------


class CsvWriter(TextWriter):
    """Writes rows as in RFC 4180, separated by tabs if the path ends in `.tsv`.

    `sentence` is the text of the sentence, or from the first to the last sentence that a relation spans. Fields are
    written unchanged, and spreadsheets take one that begins with `=`, `+`, `-` or `@` for a formula: import columns
    from untrusted texts as text.
    """

    def open(self) -> None:
        """Write the names of the columns."""
        super().open()
        tabs = ".tsv" in (suffix.lower() for suffix in self.path.suffixes[-2:])
        self._csv = csv.writer(self.file, csv.excel_tab if tabs else csv.excel)
        self._csv.writerow(COLUMNS)

    def write(self, document: Document) -> None:
        """Add the relations of a document."""
        starts = [start for start, _ in document.sentences]
        for relation in document.relations:
            head, tail = relation.head, relation.tail
            self._csv.writerow((
                document.id, head.text, head.type, head.start, head.end, relation.type, tail.text, tail.type,
                tail.start, tail.end, relation.score, _sentence(document, relation, starts),
            ))  # fmt: skip
        linked = {entity for relation in document.relations for entity in (relation.head, relation.tail)}
        self.losses.add("holds no entity without a relation", len(set(document.entities) - linked))


def _sentence(document: Document, relation: TextRelation, starts: list[int]) -> str:
    low = min(relation.head.start, relation.tail.start)
    high = max(relation.head.end, relation.tail.end)
    first, last = bisect_right(starts, low) - 1, bisect_left(starts, high) - 1
    if first >= 0:
        low = starts[first]
    if last >= 0:
        high = max(high, document.sentences[last][1])
    return document.text[low:high]


CSV = Format(
    "csv", "a relation per row: head, relation, tail", (".csv", ".tsv"), read=read_csv, write=CsvWriter,
    cannot_hold="entities without a relation", gzip=True, other_suffixes=(".txt",), check=check_csv,
)  # fmt: skip
TSV = Format("tsv", "like csv, with tabs", read=read_csv, gzip=True, other_suffixes=(".tsv", ".txt"), check=check_csv)
