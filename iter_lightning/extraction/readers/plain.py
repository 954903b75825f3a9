"""Texts without structure: a file, or a line, is a document."""

from __future__ import annotations

from collections.abc import Iterator

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.readers.items import (
    Advance,
    BadRecord,
    DamagedError,
    Item,
    ReadOptions,
    Source,
    checked_length,
)
from iter_lightning.extraction.readers.streams import FAULTS, decoded, lines_of, opened, told, without_ending


def read_text(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """The whole source is one document, named after it."""
    most = 4 * options.max_characters
    with opened(source, advance) as stream:
        try:
            data = stream.read(most + 1)
        except FAULTS as error:
            raise DamagedError("file", told(error)) from error
    try:
        if len(data) > most:
            raise ValueError(f"more than {options.max_characters:,} characters (max_characters)")
        document = Document(checked_length(decoded(data), options), id=source.name)
    except ValueError as error:
        yield BadRecord(source.name, "file", str(error), data[:4000].decode("utf-8", "backslashreplace"))
    else:
        yield document


def read_lines(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """A line is a document, an empty line an empty one."""
    limit = options.longest_record
    with opened(source, advance) as stream:
        for line in lines_of(stream, limit):
            try:
                text = checked_length(without_ending(line.text(limit)), options)
                document = Document(text, id=f"{source.name}:{line.place}")
            except ValueError as error:
                yield BadRecord(source.name, line.place, str(error), line.shown())
            else:
                yield document
