"""The declaration of a format, and what its reader receives and returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.writing import Losses, Writer
from iter_lightning.types import Schema

_SHOWN = 1000
"""Characters of a bad record that are kept."""


@dataclass(frozen=True)
class BadRecord:
    """A record that could not be read as a document.

    Args:
        source: the input that holds it.
        place: `line 17`, `row 3`, `record 3` or `file`; lines count from 1, rows and records from 0.
        reason: what was found and what was expected, in one line.
        record: the record itself, cut to 1000 characters; empty if it cannot be shown.
    """

    source: str
    place: str
    reason: str
    record: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", " ".join(printable(self.reason[:_SHOWN]).split()))
        object.__setattr__(self, "record", printable(self.record[:_SHOWN])[:_SHOWN])


Item = Document | BadRecord


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading inputs.

    Raises:
        ConfigError: a field that is not a non-empty string, or a limit below 1. (The format is checked together with
            the inputs.)

    Example:
        >>> ReadOptions(text_field="body", gold=True).format is None
        True
    """

    format: str | None = None
    """The format of all inputs. By default the suffix decides, and standard input is read as `lines`."""
    text_field: str = "text"
    """Field or column with the text. `a.b` means the field b of the field a, unless a field has that very name."""
    id_field: str = "id"
    """Field or column with the id. Documents without an id are named after their place."""
    gold: bool = False
    """Keep the annotation of records as `Document.gold`. By default it is ignored."""
    max_characters: int = 10_000_000
    """Longer texts are bad records, because memory grows with the longest text."""

    def __post_init__(self) -> None:
        for name in ("text_field", "id_field"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ConfigError(f"{name}: expected the name of a field, found {getattr(self, name)!r}")
        limit = self.max_characters
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigError(f"max_characters: expected a whole number of at least 1, found {limit!r}")

    @property
    def longest_record(self) -> int:
        """The most bytes a record may have: an escaped character takes up to 12, and words and fields need some."""
        return max(16 * self.max_characters, 1 << 24)


@dataclass(frozen=True, slots=True)
class Source:
    """One file, or standard input."""

    name: str
    """The name shown in messages and used in document ids."""
    path: str | None
    """None for standard input."""
    format: str
    size: int | None
    """Bytes; None if unknown."""
    modified: int | None = None
    """Time of the last change in nanoseconds; None for standard input."""


class DamagedError(Exception):
    """Raised by a reader when the rest of an input cannot be read."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place
        self.reason = reason


Advance = Callable[[int], None]
"""Called with the number of further bytes that were read."""


@dataclass(frozen=True)
class Format:
    r"""A document format: one declaration for reading and writing.

    Args:
        name: as `--format` and `--input-format` take it.
        summary: a few words for help texts.
        suffixes: file suffixes that select the format when none is named.
        read: yields the documents of a source. Raises `DamagedError` when the rest cannot be read, and `ConfigError`
            for a missing column. None if the format cannot be read.
        write: makes a writer. It is called with the path to write, the schema, the context (`sentence` or `document`)
            and the counter of what is lost; a subclass of `Writer` fits. None if the format cannot be written.
        cannot_hold: what a writer drops, for the documentation.
        gzip: files may be compressed (`.gz`), and can be read from a stream.
        folder: for an output that is a folder, patterns of its files; one without the first is not replaced.
        reads_gold: records can carry gold annotation.
        writes_gold: the gold annotation of documents is written.
        other_suffixes: further suffixes that are read from a folder when the format is named.
        check: returns what is wrong with the beginning of a source, or None. Called before anything is read.

    Example:
        >>> from iter_lightning.extraction.formats import Format, TextWriter
        >>> class Names(TextWriter):
        ...     def write(self, document):
        ...         self.file.writelines(f"{entity.text}\n" for entity in document.entities)
        >>> Format("names", "a name per line", (".names",), write=Names).summary
        'a name per line'
    """

    name: str
    summary: str
    suffixes: tuple[str, ...] = ()
    read: Callable[[Source, ReadOptions, Advance], Iterator[Item]] | None = None
    write: Callable[[Path, Schema, str, Losses], Writer] | None = None
    cannot_hold: str = ""
    gzip: bool = False
    folder: tuple[str, ...] = ()
    reads_gold: bool = False
    writes_gold: bool = False
    other_suffixes: tuple[str, ...] = ()
    check: Callable[[Source, ReadOptions], str | None] | None = None


def printable(text: str) -> str:
    """Return the text with lone surrogates escaped, so that UTF-8 can hold it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def checked_length(text: str, options: ReadOptions) -> str:
    """Return the text, or raise `ValueError` if it is longer than the options allow."""
    if len(text) > options.max_characters:
        raise ValueError(f"{len(text):,} characters, at most {options.max_characters:,} are read (max_characters)")
    return text
