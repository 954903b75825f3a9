"""What readers are given and what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document

_SHOWN = 1000
"""Characters of a bad record that are told."""


@dataclass(frozen=True)
class BadRecord:
    """A document that could not be read.

    Args:
        source: the input it is from.
        place: `line 17`, `row 3`, `record 3` or `file`; lines count from 1, rows and records from 0.
        reason: what was found and what was expected, in one line.
        record: the record as it is, cut to 1000 characters; empty where it cannot be shown.
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
    """How inputs are read.

    Raises:
        ConfigError: a field that is none or empty, or a limit below 1. (The format is checked with the inputs.)
    """

    format: str | None = None
    """One for all inputs; None is by suffix, and `lines` for standard input."""
    text_field: str = "text"
    """Of a record or column; `a.b` is the field b of the field a, where there is none of that very name."""
    id_field: str = "id"
    """Likewise. Documents without one are named by their place."""
    gold: bool = False
    """Whether records carry annotation to be kept as `Document.gold`; else it is passed over."""
    max_characters: int = 10_000_000
    """Longer texts are bad records: memory grows with the longest."""

    def __post_init__(self) -> None:
        for name in ("text_field", "id_field"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ConfigError(f"{name}: expected the name of a field, found {getattr(self, name)!r}")
        limit = self.max_characters
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigError(f"max_characters: expected a whole number of at least 1, found {limit!r}")

    @property
    def longest_record(self) -> int:
        """Bytes a record may have around its text: an escaped character takes up to 12, words and fields theirs."""
        return max(16 * self.max_characters, 1 << 24)


@dataclass(frozen=True, slots=True)
class Source:
    """One file, or standard input."""

    name: str
    """As it is told and documents are named by."""
    path: str | None
    """None is standard input."""
    format: str
    size: int | None
    """Bytes; None where that cannot be known before it is read."""
    modified: int | None = None
    """Nanoseconds; None where it has no time."""

    @property
    def compressed(self) -> bool:
        """Whether its name says gzip."""
        return self.path is not None and self.path.lower().endswith(".gz")


class DamagedError(Exception):
    """From a place of an input on, nothing more can be read of it."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place
        self.reason = reason


Advance = Callable[[int], None]
"""Told how many more bytes are read."""


@dataclass(frozen=True)
class Reader:
    """A format.

    Args:
        read: the documents of a source; raises `DamagedError` and, for a missing column, `ConfigError`.
        suffixes: of files that are read so unless a format is asked for.
        also: more suffixes that files of a folder may have where the format is asked for.
        gold: whether its records can carry annotation.
        check: what is wrong with a source and can be seen at its beginning, if anything.
        seeks: whether it needs a file, not a stream.
    """

    read: Callable[[Source, ReadOptions, Advance], Iterator[Item]]
    suffixes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    gold: bool = False
    check: Callable[[Source, ReadOptions], str | None] | None = None
    seeks: bool = False


def printable(text: str) -> str:
    """The text with what UTF-8 cannot hold escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def checked_length(text: str, options: ReadOptions) -> str:
    """The text.

    Raises:
        ValueError: it is longer than the options allow.
    """
    if len(text) > options.max_characters:
        raise ValueError(f"{len(text):,} characters, at most {options.max_characters:,} are read (max_characters)")
    return text
