"""JSON lines, and lists of records that are read record by record."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from iter_lightning.extraction.readers.items import Advance, BadRecord, DamagedError, Item, ReadOptions, Source
from iter_lightning.extraction.readers.records import document_of
from iter_lightning.extraction.readers.streams import BLOCK, FAULTS, lines_of, opened, told, without_ending

_SPACE = re.compile(r"[ \t\r\n]*")
_NEAR_END = 16
"""Characters: an error so near to what has been read so far may be a word of JSON that is cut off there."""


def read_jsonl(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """A line is a record; blank ones are passed over."""
    limit = options.longest_record
    with opened(source, advance) as stream:
        for line in lines_of(stream, limit):
            try:
                text = without_ending(line.text(limit))
                if not text.strip():
                    continue
                document = document_of(_parsed(text), options, f"{source.name}:{line.place}")
            except ValueError as error:
                yield BadRecord(source.name, line.place, str(error), line.shown())
            else:
                yield document


def read_json(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """The records of a list, or records one after another with white space between them."""
    with opened(source, advance) as stream:
        window = _Window(stream, options.longest_record)
        for number, (record, raw) in enumerate(_values(window)):
            place = f"record {number}"
            window.place = f"record {number + 1}"
            try:
                document = document_of(record, options, f"{source.name}:{place}")
            except ValueError as error:
                yield BadRecord(source.name, place, str(error), raw)
            else:
                yield document


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"column {error.colno}: no JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError("nested too deep") from None


def _values(window: _Window) -> Iterator[tuple[Any, str]]:
    """Each value with its beginning as it is written."""
    first = window.next_character()
    if first not in ("[", "{"):
        raise DamagedError(
            "file", f"expected a list of records, found {first!r}" if first else "empty, expected a list"
        )
    if first == "{":
        while window.next_character():
            yield window.value()
        return
    window.at += 1
    if window.next_character() != "]":
        while True:
            yield window.value()
            after = window.next_character()
            if after == "]":
                break
            if after != ",":
                raise window.damaged(f"expected ',' or ']', found {after!r}" if after else "cut off: no ']'")
            window.at += 1
    window.at += 1
    if after := window.next_character():
        raise window.damaged(f"expected nothing after the list, found {after!r}")


class _Window:
    """The part of a file that is in memory: from the value that is being read on."""

    def __init__(self, stream: io.BufferedReader, limit: int) -> None:
        self.text = ""
        self.at = 0
        self.place = "record 0"
        self._lines = 1
        self._ended = False
        self._stream = stream
        self._limit = limit
        self._fault: Exception | None = None
        # bytes that are no UTF-8 are found with the record they are in
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._scanner = json.JSONDecoder()

    def next_character(self) -> str:
        """The first that is no white space, `at` is its place; empty at the end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text) or not self._read_on():
                return self.text[self.at : self.at + 1]

    def value(self) -> tuple[Any, str]:
        """The value that begins at the next character, and its beginning as it is written."""
        self.next_character()
        while True:
            try:
                value, end = self._scanner.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                reason, known = error.msg, not error.msg.startswith("Unterminated")
                known = known and error.pos < len(self.text) - _NEAR_END
                if known or not self._read_on():
                    line = self._lines + self.text.count("\n", 0, error.pos)
                    raise self.damaged(f"line {line}: no JSON: {reason}") from None
            except RecursionError:
                raise self.damaged("nested too deep") from None
            except ValueError as error:  # numbers of thousands of digits
                raise self.damaged(str(error)) from None
            else:
                # a number may go on
                if end < len(self.text) or isinstance(value, (dict, list, str)) or not self._read_on():
                    raw = self.text[self.at : min(end, self.at + 1000)]
                    self.at = end
                    return value, raw

    def damaged(self, reason: str) -> DamagedError:
        """Why nothing more is read."""
        return DamagedError(self.place, f"{reason}; nothing more is read of the file")

    def _read_on(self) -> bool:
        """Let go of what lies before `at` and read as much again as is left; False at the end."""
        self._lines += self.text.count("\n", 0, self.at)
        pieces = [self.text[self.at :]]
        wanted, found = max(1, len(pieces[0])), 0
        if wanted > self._limit:
            raise self.damaged(f"longer than {self._limit:,} characters")
        if self._fault is not None:
            raise DamagedError(self.place, told(self._fault))
        while found < wanted and not self._ended:
            try:
                data = self._stream.read1(BLOCK)
            except FAULTS as error:
                self._fault = error
                if found:
                    break  # told when this is used up
                raise DamagedError(self.place, told(error)) from error
            self._ended = not data
            pieces.append(self._decoder.decode(data, final=self._ended))
            found += len(pieces[-1])
        self.text, self.at = "".join(pieces), 0
        return found > 0
