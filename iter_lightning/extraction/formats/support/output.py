"""Open the writer of an output, which appears as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import CONTEXTS, Document
from iter_lightning.extraction.formats.support.base import Format
from iter_lightning.extraction.formats.support.registry import formats, suffixes
from iter_lightning.extraction.formats.support.target import cannot_be_written, replacing
from iter_lightning.extraction.formats.support.writing import Losses
from iter_lightning.types import Schema


def output_format(path: str | Path, format: str | None = None) -> str:
    """Return the name of an output's format: the given one, else by the suffix of the path; a folder means brat.

    Raises:
        ConfigError: an unknown format or suffix, or `.gz` for a format that is not compressed.

    Example:
        >>> output_format("found.graphml")
        'graphml'
    """
    text, known = str(path), {name: format for name, format in formats().items() if format.write}
    listing = ", ".join(f"{name} ({' '.join(f.suffixes)})" for name, f in known.items())
    stem, compressed = (text[:-3], True) if text.lower().endswith(".gz") else (text, False)
    suffix = Path(stem).suffix.lower()
    if format is None:
        if text.endswith(("/", os.sep)) or (Path(text).is_dir() and not suffix):
            format = "brat"
        elif compressed and not suffix:
            format = "jsonl"
        else:
            format = suffixes(write=True).get(suffix)
        if format is None:
            raise ConfigError(f"{text}: which format? Use a suffix or name one: {listing}")
    if format not in known:
        raise ConfigError(f"format {format!r} cannot be written; expected one of {listing}")
    if compressed and not known[format].gzip:
        raise ConfigError(f"{text}: {format} is not written compressed; leave out .gz")
    return format


class Output:
    """An open output.

    Counts gold that the format does not write, and names the path in errors of the file system. `notes` lists, after
    `close`, what the format could not represent.
    """

    def __init__(self, format: Format, path: Path, part: Path, schema: Schema, context: str) -> None:
        if format.write is None:
            raise ConfigError(f"format {format.name!r} cannot be written")
        self.notes: list[str] = []
        self._format, self._path, self._open = format, path, True
        self._losses = Losses(format.name)
        with cannot_be_written(path):
            self._writer = format.write(part, schema, context, self._losses)

    def write(self, document: Document) -> None:
        """Add a document.

        Raises:
            ValueError: the output is closed.
            IterError: the file system refuses.
        """
        if not self._open:
            raise ValueError("the output is closed")
        if document.gold and not self._format.writes_gold:
            self._losses.add("does not hold the gold of documents")
        with cannot_be_written(self._path):
            self._writer.write(document)

    def close(self) -> None:
        """Write the rest; a second time does nothing."""
        if self._open:
            with cannot_be_written(self._path):
                self._writer.close()
            self._open = False
            self.notes = self._losses.notes()

    def discard(self) -> None:
        """Release open files unless the output is closed; only the error that led here is of interest."""
        if self._open:
            with suppress(Exception):
                self._writer.discard()


@contextmanager
def open_writer(path: str | Path, format: str | None, schema: Schema, context: str = "sentence") -> Iterator[Output]:
    """Open an output that appears at `path` when the block ends without an exception, and otherwise not at all.

    Args:
        path: a file, or a folder for brat. It is replaced at the end. Missing folders above it are created.
        format: the name of a format; None to choose by the path, see `output_format`.
        schema: the types that may occur.
        context: `sentence` or `document`: what the model read at once, and so the extent of SpERT's records.

    Raises:
        ConfigError: an unknown format or context, a missing optional package, or a path that cannot be replaced.
        IterError: the file system refuses, or the disk is full.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with open_writer(f"{folder}/found.jsonl", None, Schema(("Person",))) as writer:
        ...         writer.write(Document("Ada lives in London."))
    """
    chosen = formats()[output_format(path, format)]
    if context not in CONTEXTS:
        raise ConfigError(f"context {context!r}: expected one of {', '.join(CONTEXTS)}")
    with replacing(Path(path), chosen.folder) as part:
        output = Output(chosen, Path(path), part, schema, context)
        try:
            yield output
            output.close()
        finally:
            output.discard()
