"""What writers write to: text files, compressed or not, and temporary tables on disk."""

from __future__ import annotations

import gzip
import io
import os
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

from iter_lightning.extraction.writers.losses import Losses


class TextFile:
    """A UTF-8 file, gzipped where the path says so (without a time: equal text, equal bytes); lines end as written.

    Args:
        path: a new file; temporary ones come beside it.
        format: for the notes.
    """

    def __init__(self, path: Path, format: str) -> None:
        self.notes: list[str] = []
        self.losses = Losses(format)
        self._raw = path.open("wb")
        self._packed = None
        if path.suffix.lower() == ".gz":
            self._packed = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._raw, mtime=0)
        self._file = io.TextIOWrapper(self._packed or self._raw, encoding="utf-8", newline="")

    def close(self) -> None:
        """Write out what is left."""
        self._file.close()
        self._raw.close()
        self.notes = self.losses.notes()

    def discard(self) -> None:
        """Close without care for what is left."""
        for file in (self._file, self._packed, self._raw):
            if file is not None:
                with suppress(OSError, ValueError):
                    file.close()


class Scratch:
    """A SQLite database in a temporary file in `folder`: tables larger than memory, `megabytes` of which are in it."""

    def __init__(self, folder: Path, tables: str, megabytes: int = 64) -> None:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".sqlite")
        os.close(handle)
        self._path = Path(name)
        self.database = sqlite3.connect(name, isolation_level=None)
        # nobody else reads it and no crash outlives it: neither journal nor sync
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{megabytes * 1024}", "temp_store=FILE"):
            self.database.execute(f"PRAGMA {setting}")
        self.database.executescript(tables)
        self.database.execute("BEGIN")

    def close(self) -> None:
        """Remove the file."""
        self.database.close()
        self._path.unlink(missing_ok=True)


class Occurrences:
    """How often each key came, counted on disk, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._scratch = Scratch(folder, "CREATE TABLE seen (key TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID", 16)

    def count(self, key: str) -> int:
        """How often the key came, this time too."""
        database = self._scratch.database
        found = database.execute("SELECT times FROM seen WHERE key = ?", (key,)).fetchone()
        times = 1 + (found[0] if found else 0)
        database.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (key, times))
        return times

    def close(self) -> None:
        """Remove the file."""
        self._scratch.close()
