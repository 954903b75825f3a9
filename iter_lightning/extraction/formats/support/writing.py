"""Base classes of writers."""

from __future__ import annotations

import gzip
import io
import sqlite3
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.losses import Losses
from iter_lightning.types import Schema


class Writer(ABC):
    """Writes documents one by one.

    `open_writer` calls `close` at the end, or `discard` after an error.

    Args:
        path: where to write: a new file, or a new folder. It has the output's name and suffix, and its folder is
            removed afterwards.
        schema: the types that may occur.
        context: `sentence` or `document`: what the model read at once.
        losses: counts what the format cannot represent.
    """

    def __init__(self, path: Path, schema: Schema, context: str, losses: Losses) -> None:
        self.path = path
        self.schema = schema
        self.context = context
        self.losses = losses

    @abstractmethod
    def write(self, document: Document) -> None:
        """Add a document."""

    def close(self) -> None:  # noqa: B027 (optional)
        """Write the rest; this may take a while."""

    def discard(self) -> None:  # noqa: B027 (optional)
        """Release open files after an error."""


class TextWriter(Writer):
    """Writes a UTF-8 file as `self.file`; see `Writer` for the arguments.

    The file is compressed if its path ends in `.gz` (without a time stamp, so equal text gives equal bytes). Line
    endings are written unchanged.
    """

    def __init__(self, path: Path, schema: Schema, context: str, losses: Losses) -> None:
        super().__init__(path, schema, context, losses)
        self._raw = path.open("wb")
        self._packed = None
        if path.suffix.lower() == ".gz":
            self._packed = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._raw, mtime=0)
        self.file = io.TextIOWrapper(self._packed or self._raw, encoding="utf-8", newline="")

    def close(self) -> None:
        """Write the rest."""
        self.file.close()
        self._raw.close()

    def discard(self) -> None:
        """Close the files and ignore errors."""
        for file in (self.file, self._packed, self._raw):
            if file is not None:
                with suppress(OSError, ValueError):
                    file.close()


class Occurrences:
    """Counts how often each key occurred, in a temporary SQLite database: millions of keys need little memory.

    SQLite places the database in the folder for temporary files and removes it when it is closed.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{16 << 10}"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def count(self, key: str) -> int:
        """Return how often the key occurred, including this time."""
        rows = self._database.execute(
            "INSERT INTO seen VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times", (key,)
        )
        return int(rows.fetchone()[0])

    def close(self) -> None:
        """Remove the database."""
        self._database.close()
