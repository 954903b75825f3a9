"""Parquet: a document per row, in typed columns. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.base import Advance, DamagedError, Format, Item, ReadOptions, Source
from iter_lightning.extraction.formats.support.records import (
    GOLD_FIELDS,
    ID_FIELDS,
    WORD_FIELDS,
    column_of,
    missing_columns,
    record_item,
)
from iter_lightning.extraction.formats.support.streams import FAULTS, cannot_be_read
from iter_lightning.extraction.formats.support.writing import Writer, needed

_ROWS_READ, _BYTES_READ = 64, 1 << 25
"""Rows in memory at once, and the bytes they may have together by the average of the file."""
_ROWS_WRITTEN = 256
"""Documents converted to columns together; until then they are Python objects, which are large."""
_GROUP_BYTES = 64 << 20
"""Bytes of columns in memory: about the size of a row group before compression."""
_MAGIC = b"PAR1"


# Reading -------------------------------------------------------------------------------------------------------------


def read_parquet(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """Read each row as a record, see `support.records`; only the columns that are needed."""
    import pyarrow

    faults = (*FAULTS, ValueError, pyarrow.ArrowException)
    number, before, size = 0, 0, source.size or 0
    try:
        with open(source.path or "", "rb") as stream:  # noqa: PTH123 (names of any bytes)
            file = _opened(stream)
            if fault := missing_columns(file.schema_arrow.names, options, nested=True):
                raise ConfigError(f"{source.name}: {fault}")
            columns = _needed(file.schema_arrow.names, options)
            for batch in file.iter_batches(_batch_rows(file.metadata, columns), columns=columns):
                for index, row in enumerate(_rows(batch)):
                    yield record_item(row, options, source, f"row {number + index}")
                number += batch.num_rows
                share = size * number // max(1, file.metadata.num_rows)
                advance(share - before)
                before = share
    except faults as error:
        raise DamagedError(f"row {number}" if number else "file", cannot_be_read(error)) from error


def check_parquet(source: Source, options: ReadOptions) -> str | None:
    """Return an error message if pyarrow, a column, or (for a named format) the mark of Parquet is missing.

    A damaged file with the right suffix is reported when it is read.
    """
    try:
        pyarrow = needed("pyarrow", "reading Parquet")
    except ConfigError as error:
        return str(error)
    try:
        with open(source.path or "", "rb") as stream:  # noqa: PTH123 (names of any bytes)
            if options.format is not None and (head := stream.read(4)) != _MAGIC:
                return f"not a Parquet file: it begins with {head!r}, expected {_MAGIC!r}; give another --input-format"
            return missing_columns(_opened(stream).schema_arrow.names, options, nested=True)
    except (*FAULTS, ValueError, pyarrow.ArrowException):
        return None


def _opened(stream: BinaryIO) -> Any:
    from pyarrow.parquet import ParquetFile

    return ParquetFile(stream, pre_buffer=False, page_checksum_verification=True)


def _needed(names: list[str], options: ReadOptions) -> list[str]:
    wanted = {column_of(names, options.text_field), column_of(names, options.id_field), *WORD_FIELDS, *ID_FIELDS}
    wanted |= {"sentences", *(GOLD_FIELDS if options.gold else ())}
    return [name for name in names if name in wanted]


def _batch_rows(metadata: Any, columns: list[str]) -> int:
    """Return how many rows fit into memory together, by the fullest row group."""
    largest = 1
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        chunks = (group.column(number) for number in range(group.num_columns))
        paths = ((chunk.path_in_schema, chunk.total_uncompressed_size) for chunk in chunks)
        size = sum(n for path, n in paths if any(path == name or path.startswith(f"{name}.") for name in columns))
        largest = max(largest, size // max(1, group.num_rows))
    return max(1, min(_ROWS_READ, _BYTES_READ // largest))


def _rows(batch: Any) -> Iterator[dict[str, Any] | ValueError]:
    """Yield rows as Python values, or the error of a row that has none."""
    try:
        yield from batch.to_pylist()
    except ValueError:  # a string that is not UTF-8
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except ValueError as error:
                yield error


# Writing -------------------------------------------------------------------------------------------------------------


class ParquetWriter(Writer):
    """Writes columns named as in `Document.to_dict`; `Document.from_dict` reads a row back.

    Raises:
        ConfigError: pyarrow is missing.
    """

    def open(self) -> None:
        """Open the file."""
        pa, pq = needed("pyarrow", "writing Parquet"), needed("pyarrow.parquet", "writing Parquet")
        self._rows: list[dict[str, Any]] = []
        self._batches: list[Any] = []
        self._bytes = 0
        self._arrow: Any = pa
        self._columns = _columns(pa)
        self._file: Any = self.files.enter_context(pq.ParquetWriter(self.path, self._columns, compression="zstd"))

    def write(self, document: Document) -> None:
        """Add a document; gold has no column."""
        self._rows.append(document.to_dict())
        if len(self._rows) >= _ROWS_WRITTEN:
            self._convert()

    def close(self) -> None:
        """Write the last row group and the footer."""
        self._convert()
        self._write_group()
        super().close()

    def _convert(self) -> None:
        batch = self._arrow.RecordBatch.from_pylist(self._rows, schema=self._columns)
        self._rows = []
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= _GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        table = self._arrow.Table.from_batches(self._batches, schema=self._columns)
        if table.num_rows:
            self._file.write_table(table, row_group_size=table.num_rows)
        self._batches, self._bytes = [], 0


def _columns(pa: Any) -> Any:
    place, score = pa.int32(), pa.float64()
    bounds = pa.list_(pa.list_(place))
    entity = pa.struct(
        [("start", place), ("end", place), ("type", pa.string()), ("text", pa.string()), ("score", score)]
    )
    relation = pa.struct([("head", place), ("tail", place), ("type", pa.string()), ("score", score)])
    return pa.schema([
        ("id", pa.string()), ("text", pa.string()), ("entities", pa.list_(entity)), ("relations", pa.list_(relation)),
        ("sentences", bounds), ("words", bounds),
    ])  # fmt: skip


PARQUET = Format(
    "parquet", "everything but gold, in typed columns", (".parquet",), read=read_parquet, write=ParquetWriter,
    cannot_hold="gold", reads_gold=True, check=check_parquet,
)  # fmt: skip
