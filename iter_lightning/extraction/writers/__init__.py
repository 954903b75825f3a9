"""Documents with what was found in them, written in the formats other tools read; `FORMATS` lists them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import CONTEXTS, Document
from iter_lightning.extraction.writers.brat import BratWriter
from iter_lightning.extraction.writers.conll import ConllWriter
from iter_lightning.extraction.writers.docbin import DocBinWriter
from iter_lightning.extraction.writers.graphml import GraphmlWriter
from iter_lightning.extraction.writers.jsonl import JsonlWriter
from iter_lightning.extraction.writers.losses import Losses
from iter_lightning.extraction.writers.ntriples import NTriplesWriter
from iter_lightning.extraction.writers.parquet import ParquetWriter
from iter_lightning.extraction.writers.spert import SpertWriter
from iter_lightning.extraction.writers.target import cannot_be_written, replacing
from iter_lightning.extraction.writers.triples import TriplesWriter
from iter_lightning.types import Schema

__all__ = ["FORMATS", "Format", "Writer", "open_writer", "output_format"]


class Writer(Protocol):
    """Takes documents one by one."""

    @property
    def notes(self) -> list[str]:
        """After `close`: what the format could not hold, counted."""

    def write(self, document: Document) -> None:
        """Add a document."""

    def close(self) -> None:
        """Finish; this may take a while."""


@dataclass(frozen=True)
class Format:
    """One way to write documents."""

    make: Callable[[Path, Schema, str], Writer]
    """From where to write, the schema and the context."""
    suffixes: tuple[str, ...]
    """Of paths that mean this format."""
    what: str
    """In a few words, for help texts."""
    compresses: bool = False
    """Whether a further `.gz` compresses it."""
    folder: bool = False
    """Whether it is a folder, not a file."""
    gold: bool = False
    """Whether it holds the gold of documents that have some."""


def _page(path: Path, schema: Schema, context: str) -> Writer:
    from iter_lightning.extraction.page.writer import PageWriter

    return PageWriter(path, schema)


FORMATS: dict[str, Format] = {
    "jsonl": Format(JsonlWriter, (".jsonl", ".ndjson"), "everything, a JSON object a line", True, gold=True),
    "parquet": Format(ParquetWriter, (".parquet",), "all but gold, in typed columns"),
    "csv": Format(TriplesWriter, (".csv", ".tsv"), "a relation a row: head, relation, tail", True),
    "conll": Format(ConllWriter, (".conll",), "words and BIO tags", True),
    "brat": Format(BratWriter, (".brat",), "a folder of .txt and .ann for the annotation tool brat", folder=True),
    "spert": Format(SpertWriter, (".json",), "SpERT's records, to train on", True),
    "docbin": Format(DocBinWriter, (".spacy",), "spaCy's DocBin"),
    "ntriples": Format(NTriplesWriter, (".nt",), "RDF: mentions in NIF and the relations between them", True),
    "graphml": Format(GraphmlWriter, (".graphml",), "the graph of all documents, equal names in one node", True),
    "html": Format(_page, (".html", ".htm"), "a page to look at", gold=True),
}
"""By name."""


def output_format(path: str | Path, format: str | None = None) -> str:
    """The name of the format: the one asked for, else by the path's suffix; a folder means brat.

    Raises:
        ConfigError: no such format, a suffix of none, or `.gz` where the format is not compressed so.
    """
    text, listing = str(path), ", ".join(f"{name} ({' '.join(f.suffixes)})" for name, f in FORMATS.items())
    stem, compressed = (text[:-3], True) if text.lower().endswith(".gz") else (text, False)
    suffix = Path(stem).suffix.lower()
    if format is None:
        if text.endswith(("/", os.sep)) or (Path(text).is_dir() and not suffix):
            format = "brat"
        elif compressed and not suffix:
            format = "jsonl"
        else:
            format = next((name for name, f in FORMATS.items() if suffix in f.suffixes), None)
        if format is None:
            raise ConfigError(f"{text}: which format? There are {listing}; or name one")
    if format not in FORMATS:
        raise ConfigError(f"format {format!r} is none of {listing}")
    if compressed and not FORMATS[format].compresses:
        raise ConfigError(f"{text}: {format} is not written compressed; leave .gz off")
    return format


@contextmanager
def open_writer(path: str | Path, format: str | None, schema: Schema, context: str = "sentence") -> Iterator[Writer]:
    """A writer whose output appears at `path` whole, when the block ends without an exception, or not at all.

    Args:
        path: a file, or a folder for brat; what is there is replaced at the end. Folders above are made.
        format: one of `FORMATS`; None: by the path, see `output_format`.
        schema: the types that may occur.
        context: what the model read at once: where SpERT's records begin and end.

    Raises:
        ConfigError: a format or context that is none, an optional package that is missing, or a path whose place is
            taken by what must not be replaced.
        IterError: the file system refuses, is full.
    """
    name = output_format(path, format)
    if context not in CONTEXTS:
        raise ConfigError(f"context {context!r} is none of {', '.join(CONTEXTS)}")
    with replacing(Path(path), FORMATS[name].folder) as part:
        output = _Output(name, Path(path), part, schema, context)
        try:
            yield output
            output.close()
        finally:
            output.discard()


class _Output:
    """What all formats share: notes on gold that a format cannot hold, and errors that name the path."""

    def __init__(self, name: str, path: Path, part: Path, schema: Schema, context: str) -> None:
        self.notes: list[str] = []
        self._name, self._path, self._open = name, path, True
        self._losses = Losses(name)
        with cannot_be_written(path):
            self._writer = FORMATS[name].make(part, schema, context)

    def write(self, document: Document) -> None:
        if not self._open:
            raise ValueError("the writer is closed")
        if document.gold and not FORMATS[self._name].gold:
            self._losses.add("holds no document's gold")
        with cannot_be_written(self._path):
            self._writer.write(document)

    def close(self) -> None:
        if not self._open:
            return
        with cannot_be_written(self._path):
            self._writer.close()
        self._open = False
        self.notes = self._losses.notes() + self._writer.notes

    def discard(self) -> None:
        """Let go of open files after an exception; the first one is what counts."""
        if self._open and hasattr(self._writer, "discard"):
            with suppress(Exception):
                self._writer.discard()
