"""`Reading`: the documents of all inputs, one after another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.readers.formats import FORMATS
from iter_lightning.extraction.readers.inputs import find_sources, raise_faults
from iter_lightning.extraction.readers.items import BadRecord, DamagedError, ReadOptions, Source


class Reading:
    """The documents of files, folders and standard input, and the records that are none.

    To iterate is to read from the beginning: the same inputs give the same items in the same order. Where a file is
    damaged, a `BadRecord` stands for the rest of it, and the next file follows. A document's id is its record's own
    (never changed, so unique as far as the input is), else `FILE:line 17` or the like, unique among those.

    Args:
        inputs: paths, `-` for standard input. A folder stands for all files of known suffixes in and below it that are
            not hidden, sorted.
        options: how they are read.

    Raises:
        ConfigError: all that can be told before reading: inputs that are missing or of no known format, columns that
            are missing. A missing column of a stream is told when it is read.
    """

    def __init__(self, inputs: Sequence[str], options: ReadOptions | None = None) -> None:
        self.options = options or ReadOptions()
        self.sources, self.notes = find_sources(inputs, self.options)
        self.done = 0
        """Bytes read so far, packed ones of packed files; for Parquet the share of its rows."""
        self._used = False
        self.check()

    @property
    def total(self) -> int | None:
        """Bytes of all inputs; None where one is a stream."""
        sizes = [source.size for source in self.sources]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def check(self) -> None:
        """Look at the beginning of the files that have columns.

        Raises:
            ConfigError: every file that lacks a column, with those it has.
        """
        faults = []
        for source in self.sources:
            check = FORMATS[source.format].check
            if check and source.size is not None and (fault := check(source, self.options)):
                faults.append(f"{source.name}: {fault}")
        raise_faults(faults)

    def __iter__(self) -> Iterator[Document | BadRecord]:
        if self._used and self.total is None:
            raise ConfigError("standard input can be read once")
        self._used = True
        self.done = behind = 0
        for source in self.sources:
            try:
                yield from FORMATS[source.format].read(source, self.options, self._advance)
            except DamagedError as fault:
                yield BadRecord(source.name, fault.place, fault.reason)
            behind = self.done if source.size is None else behind + source.size
            self.done = behind

    def shards(self, size: int) -> list[Reading]:
        """The same inputs in several readings: consecutive files together, up to so many bytes."""
        groups: list[list[Source]] = []
        weight = 0
        for source in self.sources:
            own = size if source.size is None else source.size
            if not groups or weight + own > size:
                groups.append([])
                weight = 0
            groups[-1].append(source)
            weight += own
        return [self._part(tuple(group)) for group in groups]

    def files(self) -> list[list[str | int | None]]:
        """Name, bytes and time of change of each input, for JSON; equal where the inputs are, a stream never is."""
        return [
            [source.name, source.size, time.time_ns() if source.size is None else source.modified]
            for source in self.sources
        ]

    def _part(self, sources: tuple[Source, ...]) -> Reading:
        part = object.__new__(Reading)
        part.options, part.sources, part.notes, part.done, part._used = self.options, sources, [], 0, False
        return part

    def _advance(self, count: int) -> None:
        self.done += count
