"""Columns: CSV and TSV row by row, Parquet some rows at a time and only the columns that are needed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.readers.items import Advance, BadRecord, DamagedError, Item, ReadOptions, Source
from iter_lightning.extraction.readers.records import GOLD_FIELDS, ID_FIELDS, WORD_FIELDS, document_of, record_text
from iter_lightning.extraction.readers.streams import FAULTS, lines_of, opened, told

_ROWS = 64
"""Rows in memory at once, at most."""
_ROW_BYTES = 1 << 25
"""Bytes they may have together, by the average the file tells."""
_PARQUET = b"PAR1"
"""How a Parquet file begins."""
_ESCAPED = range(0xDC80, 0xDD00)
"""What bytes that are no UTF-8 are read as."""


# CSV and TSV ---------------------------------------------------------------------------------------------------------


def read_csv(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """A row is a document; the first row names the columns, a quoted field may hold line ends."""
    with opened(source, advance) as stream:
        rows = _rows(stream, source, options)
        header = next(rows, None)
        if header is None:
            raise DamagedError("file", "empty, expected a row with the names of the columns")
        if fault := _missing(header.fields, options):
            raise ConfigError(f"{source.name}: {fault}")
        for row in rows:
            try:
                if row.fault:
                    raise ValueError(row.fault)
                record = _record(header.fields, row.fields, options)
                document = document_of(record, options, f"{source.name}:{row.place}")
            except ValueError as error:
                raw = ("\t" if _is_tabbed(source) else ",").join(row.fields)
                yield BadRecord(source.name, row.place, str(error), raw)
            else:
                yield document


def check_csv(source: Source, options: ReadOptions) -> str | None:
    """A column that is missing; damage is told when it is read."""
    try:
        with opened(source, lambda count: None) as stream:
            header = next(_rows(stream, source, options), None)
    except DamagedError:
        return None
    return _missing(header.fields, options) if header else None


class _Row(NamedTuple):
    place: str
    fields: list[str]
    fault: str = ""


def _rows(stream: BinaryIO, source: Source, options: ReadOptions) -> Iterator[_Row]:
    """The rows that are not blank; of one that is no CSV the line it is on."""
    csv.field_size_limit(max(csv.field_size_limit(), options.longest_record))  # the process has one for all
    lines = _Lines(stream, options.longest_record)
    reader = csv.reader(lines, strict=True, delimiter="\t" if _is_tabbed(source) else ",")
    while True:
        first = lines.number + 1
        place = f"line {first}"
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.number > first or lines.ended:
                reason = f"no CSV: {error} (line {lines.number}); where it ends cannot be told"
                raise DamagedError(place, f"{reason}: nothing more is read of the file") from None
            yield _Row(place, [lines.last.rstrip("\r\n")], f"no CSV: {error}")
        else:
            if fields:
                yield _Row(place, fields)


class _Lines:
    """Lines for `csv.reader`; an iterator that goes on after an error."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._lines = lines_of(stream, limit)
        self._limit = limit
        self.number = 0
        self.last = ""
        self.ended = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            self.ended = True
            raise StopIteration
        if not line.whole:
            raise DamagedError(line.place, f"longer than {self._limit:,} bytes; nothing more is read of the file")
        self.number = line.number
        self.last = line.data.decode("utf-8", "surrogateescape")
        return self.last


def _record(names: list[str], fields: list[str], options: ReadOptions) -> dict[str, str]:
    """The text and the id of a row."""
    if len(fields) != len(names):
        raise ValueError(f"{len(fields)} fields, the first row has {len(names)} (a delimiter that is not quoted?)")
    record = {name: fields[names.index(name)] for name in (options.text_field, options.id_field) if name in names}
    for name, text in record.items():
        if not text.isascii() and (wrong := next((c for c in text if ord(c) in _ESCAPED), "")):
            raise ValueError(f"{name}: the byte 0x{ord(wrong) - 0xDC00:02x} is not UTF-8")
    return record


def _is_tabbed(source: Source) -> bool:
    return source.format == "tsv" or (source.path or "").lower().removesuffix(".gz").endswith(".tsv")


# Parquet -------------------------------------------------------------------------------------------------------------


def read_parquet(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """A row is a record, see `records`."""
    import pyarrow

    faults = (*FAULTS, ValueError, pyarrow.ArrowException)
    number, behind, size = 0, 0, source.size or 0
    try:
        with open(source.path or "", "rb") as stream:  # noqa: PTH123 (names of any bytes)
            file = _parquet(stream)
            if fault := _missing(file.schema_arrow.names, options, records=True):
                raise ConfigError(f"{source.name}: {fault}")
            columns = _columns(file.schema_arrow.names, options)
            batches = file.iter_batches(_batch_rows(file.metadata, columns), columns=columns)
            for batch in batches:
                for index, row in enumerate(_plain_rows(batch)):
                    yield _row_item(source, f"row {number + index}", row, options)
                number += batch.num_rows
                share = size * number // max(1, file.metadata.num_rows)
                advance(share - behind)
                behind = share
    except faults as error:
        raise DamagedError(f"row {number}" if number else "file", told(error)) from error


def check_parquet(source: Source, options: ReadOptions) -> str | None:
    """What is missing: pyarrow, a column, or the mark of the format where it was named.

    A damaged file is reported when it is read: its suffix said Parquet.
    """
    try:
        import pyarrow
    except ImportError:
        return "reading Parquet needs pyarrow (pip install 'iter-lightning[extract]')"
    try:
        with open(source.path or "", "rb") as stream:  # noqa: PTH123 (names of any bytes)
            if options.format is not None and (head := stream.read(4)) != _PARQUET:
                return (
                    f"not a Parquet file: it begins with {head!r}, expected {_PARQUET!r}; give another --input-format"
                )
            return _missing(_parquet(stream).schema_arrow.names, options, records=True)
    except (*FAULTS, ValueError, pyarrow.ArrowException):
        return None


def _parquet(stream: BinaryIO) -> Any:
    from pyarrow.parquet import ParquetFile

    return ParquetFile(stream, pre_buffer=False, page_checksum_verification=True)


def _columns(names: list[str], options: ReadOptions) -> list[str]:
    wanted = {_column(names, options.text_field), _column(names, options.id_field), *WORD_FIELDS, *ID_FIELDS}
    wanted |= {"sentences", *(GOLD_FIELDS if options.gold else ())}
    return [name for name in names if name in wanted]


def _column(names: list[str], field: str) -> str:
    """The column that holds a field, see `look_up`."""
    return field if field in names else field.split(".")[0]


def _batch_rows(metadata: Any, columns: list[str]) -> int:
    """Rows that fit into memory together, by the fullest row group."""
    largest = 1
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        chunks = (group.column(number) for number in range(group.num_columns))
        paths = ((chunk.path_in_schema, chunk.total_uncompressed_size) for chunk in chunks)
        size = sum(n for path, n in paths if any(path == name or path.startswith(f"{name}.") for name in columns))
        largest = max(largest, size // max(1, group.num_rows))
    return max(1, min(_ROWS, _ROW_BYTES // largest))


def _plain_rows(batch: Any) -> Iterator[dict[str, Any] | ValueError]:
    """The rows as Python's values; the error of one that has none."""
    try:
        yield from batch.to_pylist()
    except ValueError:  # a string that is not UTF-8
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except ValueError as error:
                yield error


def _row_item(source: Source, place: str, row: dict[str, Any] | ValueError, options: ReadOptions) -> Item:
    if isinstance(row, ValueError):
        return BadRecord(source.name, place, str(row))
    try:
        return document_of(row, options, f"{source.name}:{place}")
    except ValueError as error:
        return BadRecord(source.name, place, str(error), record_text(row))


def _missing(names: list[str], options: ReadOptions, records: bool = False) -> str | None:
    """What the columns lack."""
    there = f"it has {', '.join(map(repr, names[:30]))}" + (" and more" if len(names) > 30 else "")
    fields = (
        {options.text_field} if options.id_field == ReadOptions.id_field else {options.text_field, options.id_field}
    )
    own_words = records and any(name in names for name in WORD_FIELDS)
    if own_words and options.text_field == ReadOptions.text_field:
        fields.discard(options.text_field)
    lacking = sorted(name for name in fields if (_column(names, name) if records else name) not in names)
    if lacking:
        return f"no column {' and '.join(map(repr, lacking))}, {there}"
    if records and options.gold and not {"gold", "entities"} & set(names):
        return f"no column 'gold' or 'entities' with the gold that is asked for, {there}"
    return None
