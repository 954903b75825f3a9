"""Read the documents of all inputs, one after another."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.formats.support.base import BadRecord, DamagedError, Item, ReadOptions, Source
from iter_lightning.extraction.formats.support.inputs import find_sources, raise_faults
from iter_lightning.extraction.formats.support.registry import formats


class Reading:
    """The documents of files, folders and standard input, and the records that cannot be read.

    Iterating reads from the beginning: the same inputs give the same items in the same order. If a file is damaged, a
    `BadRecord` stands for the rest of it, and the next file follows. A document has the id of its record (unchanged,
    so it is unique only if the input's ids are), else `FILE:line 17` or the like.

    Args:
        inputs: paths, and `-` for standard input. A folder stands for all files with known suffixes in it and below,
            sorted, without hidden ones.
        options: how inputs are read.

    Raises:
        ConfigError: everything that can be checked before reading: inputs that are missing or of unknown format, and
            missing columns. A missing column of a stream is reported when it is read.

    Example:
        >>> from tempfile import NamedTemporaryFile
        >>> with NamedTemporaryFile("w", suffix=".txt") as file:
        ...     file.write("Ada lives in London.")
        ...     file.flush()
        ...     [document.text for document in Reading([file.name])]
        20
        ['Ada lives in London.']
    """

    def __init__(self, inputs: Sequence[str], options: ReadOptions | None = None) -> None:
        self.options = options or ReadOptions()
        self.sources, self.notes = find_sources(inputs, self.options)
        self.done = 0
        """Bytes read so far (of compressed files, compressed bytes; of Parquet, the share of its rows)."""
        self._used = False
        faults = []
        for source in self.sources:
            check = formats()[source.format].check
            if check and source.size is not None and (fault := check(source, self.options)):
                faults.append(f"{source.name}: {fault}")
        raise_faults(faults)

    @property
    def total(self) -> int | None:
        """Bytes of all inputs; None if one is a stream."""
        sizes = [source.size for source in self.sources]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def __iter__(self) -> Iterator[Item]:
        if self._used and self.total is None:
            raise ConfigError("standard input can be read once")
        self._used = True
        self.done = before = 0
        for source in self.sources:
            read = formats()[source.format].read
            try:
                if read is not None:
                    yield from read(source, self.options, self._advance)
            except DamagedError as fault:
                yield BadRecord(source.name, fault.place, fault.reason)
            before = self.done if source.size is None else before + source.size
            self.done = before

    def shards(self, size: int) -> list[Reading]:
        """Split into readings of consecutive files with up to `size` bytes together."""
        groups: list[list[Source]] = []
        weight = 0
        for source in self.sources:
            own = size if source.size is None else source.size
            if not groups or weight + own > size:
                groups.append([])
                weight = 0
            groups[-1].append(source)
            weight += own
        return [self._shard(tuple(group)) for group in groups]

    def files(self) -> list[list[str | int | None]]:
        """Return name, bytes and time of change of each input, for JSON.

        Equal values mean equal inputs; a stream never equals another.
        """
        return [
            [source.name, source.size, time.time_ns() if source.size is None else source.modified]
            for source in self.sources
        ]

    def _shard(self, sources: tuple[Source, ...]) -> Reading:
        shard = copy.copy(self)
        shard.sources, shard.notes, shard.done, shard._used = sources, [], 0, False
        return shard

    def _advance(self, count: int) -> None:
        self.done += count
