"""JSON: the records of an array, or records one after another. `spert` writes SpERT's records, which this reads.

ijson is not used: its C backend silently reads an escaped lone surrogate as `?` and stops at integers of more than 64
bits; its Python backend keeps the file in memory if strings cross its blocks, and is 20 times slower than `json`.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from iter_lightning.extraction.formats.support.base import Advance, DamagedError, Format, Item, ReadOptions, Source
from iter_lightning.extraction.formats.support.records import record_item
from iter_lightning.extraction.formats.support.streams import BLOCK, FAULTS, cannot_be_read, opened

_SPACE = re.compile(r"[ \t\r\n]*")
_NEAR_END = 16
"""Characters at the end of the window in which an error may be a word that is cut off."""


def read_json(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """Read each record as a document, see `support.records`."""
    with opened(source, advance) as stream:
        window = _Window(stream, options.longest_record)
        for record, raw in window.records():
            yield record_item(record, options, source, window.place, partial(str, raw))


class _Window:
    """The part of a file that is in memory: from the current record on.

    Args:
        stream: JSON in UTF-8.
        limit: the most characters of a record.
    """

    def __init__(self, stream: io.BufferedReader[Any], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._text = ""
        self._at = 0
        self._lines = 1
        self._number = 0
        self._ended = False
        self._fault: Exception | None = None
        # a byte that is not UTF-8 becomes a lone surrogate, so that only its record is bad
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._scanner = json.JSONDecoder()

    @property
    def place(self) -> str:
        """The current record, for messages."""
        return f"record {self._number}"

    def records(self) -> Iterator[tuple[Any, str]]:
        """Yield each record with the beginning of its text.

        Raises:
            DamagedError: the stream breaks off, is not JSON, or has a longer record.
        """
        first = self._next()
        if first not in ("[", "{"):
            found = f"expected a list of records, found {first!r}" if first else "empty, expected a list"
            raise DamagedError("file", found)
        if first == "[":
            self._at += 1
        after = self._next()
        while after and after != "]":
            yield self._value()
            self._number += 1
            after = self._next()
            if first == "[" and after not in (",", "]"):
                raise self._damaged(f"expected ',' or ']', found {after!r}" if after else "cut off: no ']'")
            if first == "[" and after == ",":
                self._at += 1
                self._next()
        if first == "[":
            self._at += 1
            if after := self._next():
                raise self._damaged(f"expected nothing after the list, found {after!r}")

    def _next(self) -> str:
        """Move to the next character that is not white space, and return it; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def _value(self) -> tuple[Any, str]:
        while True:
            try:
                value, end = self._scanner.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated") or error.pos >= len(self._text) - _NEAR_END
                if not cut_off or not self._read_on():
                    line = self._lines + self._text.count("\n", 0, error.pos)
                    raise self._damaged(f"line {line}: not valid JSON: {error.msg}") from None
            except RecursionError:
                raise self._damaged("nested too deep") from None
            except ValueError as error:  # numbers of thousands of digits
                raise self._damaged(str(error)) from None
            else:
                # a number at the end may continue
                if end < len(self._text) or isinstance(value, (dict, list, str)) or not self._read_on():
                    raw = self._text[self._at : min(end, self._at + 1000)]
                    self._at = end
                    return value, raw

    def _damaged(self, reason: str) -> DamagedError:
        return DamagedError(self.place, f"{reason}; nothing more is read of the file")

    def _read_on(self) -> bool:
        """Drop the text before the current record, and read as much as is left; return False at the end."""
        self._lines += self._text.count("\n", 0, self._at)
        pieces = [self._text[self._at :]]
        wanted, found = max(1, len(pieces[0])), 0
        if wanted > self._limit:
            raise self._damaged(f"longer than {self._limit:,} characters")
        while found < wanted and not self._ended and self._fault is None:
            try:
                data = self._stream.read1(BLOCK)
            except FAULTS as error:
                self._fault = error
                break
            self._ended = not data
            pieces.append(self._decoder.decode(data, final=self._ended))
            found += len(pieces[-1])
        if self._fault is not None and not found:  # reported when the text before it is used up
            raise DamagedError(self.place, cannot_be_read(self._fault)) from self._fault
        self._text, self._at = "".join(pieces), 0
        return found > 0


JSON = Format("json", "a record of an array", (".json",), read=read_json, gzip=True, reads_gold=True)
