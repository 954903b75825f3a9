"""Parquet: a document a row, in typed columns."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.types import Schema

_ROWS_AT_ONCE = 256
"""Documents turned into columns together; until then they are Python objects, which are large."""
_GROUP_BYTES = 64 << 20
"""Of columns in memory: about what a row group holds before compression."""


class ParquetWriter:
    """Columns as `Document.to_dict` names them; `Document.from_dict` reads a row back.

    Raises:
        ConfigError: pyarrow is missing.
    """

    def __init__(self, path: Path, schema: Schema, context: str) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise ConfigError("writing Parquet needs pyarrow: pip install 'iter-lightning[extract]'") from error
        self.notes: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self._batches: list[Any] = []
        self._bytes = 0
        self._arrow: Any = pa
        self._columns = _columns(pa)
        self._file: Any = pq.ParquetWriter(path, self._columns, compression="zstd")

    def write(self, document: Document) -> None:
        """Add a document."""
        self._rows.append(document.to_dict())  # gold has no column
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._to_columns()

    def close(self) -> None:
        """Write the last row group and the footer."""
        self._to_columns()
        self._write_group()
        self._file.close()

    def discard(self) -> None:
        """Close without care for what is left."""
        with suppress(OSError):
            self._file.close()

    def _to_columns(self) -> None:
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
