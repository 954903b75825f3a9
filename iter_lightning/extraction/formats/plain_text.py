"""Plain text: a document per file (`text`) or per line (`lines`)."""

from __future__ import annotations

from collections.abc import Iterator

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.base import (
    Advance,
    BadRecord,
    DamagedError,
    Format,
    Item,
    ReadOptions,
    Source,
    checked_length,
)
from iter_lightning.extraction.formats.support.streams import FAULTS, cannot_be_read, decoded, lines_of, opened


def read_text(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """Read the whole source as one document, named after it."""
    most = 4 * options.max_characters
    with opened(source, advance) as stream:
        try:
            data = stream.read(most + 1)
        except FAULTS as error:
            raise DamagedError("file", cannot_be_read(error)) from error
    try:
        if len(data) > most:
            raise ValueError(f"more than {options.max_characters:,} characters (max_characters)")
        document = Document(checked_length(decoded(data), options), id=source.name)
    except ValueError as error:
        yield BadRecord(source.name, "file", str(error), data[:4000].decode("utf-8", "backslashreplace"))
    else:
        yield document


def read_lines(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """Read each line as a document; an empty line is an empty document."""
    for line in lines_of(source, options, advance):
        try:
            document = Document(checked_length(line.text(), options), id=f"{source.name}:{line.place}")
        except ValueError as error:
            yield BadRecord(source.name, line.place, str(error), line.shown())
        else:
            yield document


TEXT = Format("text", "a document per file", (".txt", ".md"), read=read_text, gzip=True)
LINES = Format("lines", "a document per line", read=read_lines, gzip=True, other_suffixes=(".txt", ".md"))
