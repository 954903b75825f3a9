"""Correct the sentence boundaries of spaCy's sentencizer at quotation marks, brackets, and paragraphs.

The sentencizer assigns all punctuation after a full stop to the sentence that ends. It separates, for example, the
opening quotation mark of `He left. "Stay," she said.` from its sentence. Here, a mark belongs to the text that it
touches.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum

from iter_lightning.extraction.documents import Bounds

_BREAK = r"(?:\r\n|\n|\r(?!\n))"
_PARAGRAPH = re.compile(rf"{_BREAK}[^\S\r\n]*{_BREAK}")
"""Empty line, which always ends a sentence."""
_OPENING = frozenset({"Ps", "Pi", "Pd"})
"""Unicode categories of opening marks: brackets, quotation marks, and dashes (of direct speech and lists)."""
_INVERTED = frozenset("¿¡")
_STRAIGHT = {mark: re.compile(rf"(?<!\w){mark}|{mark}(?!\w)") for mark in "\"'"}
"""Straight quotation marks. A mark between two letters is an apostrophe."""


class Kind(Enum):
    """Classify tokens by their role at the end of a sentence."""

    TEXT = 0
    STOP = 1
    """Mark that ends a sentence, such as a full stop or a question mark."""
    MARK = 2
    """Other punctuation."""


Token = tuple[int, int, bool, Kind]
"""Start, end, whether the sentencizer starts a sentence here (or at white space before it), and the kind."""


def sentence_starts(text: str, tokens: Iterable[Token]) -> Iterator[tuple[int, int, bool]]:
    """Decide at which tokens sentences start.

    Args:
        text: Whole text.
        tokens: Tokens of the text in order, without white space.

    Yields:
        Start and end of each token, and whether a sentence starts with it.
    """
    paragraphs = (match.start() for match in _PARAGRAPH.finditer(text))
    paragraph = next(paragraphs, None)
    straight = _StraightMarks(text)
    stop: int | None = None  # end of the stop before the marks
    marks: list[Bounds] = []  # marks after a stop, whose sentence depends on the next token
    for start, end, starts, kind in tokens:
        # a paragraph break ends the sentence
        while paragraph is not None and paragraph < start:
            yield from ((*mark, False) for mark in marks)
            stop, marks, starts, paragraph = None, [], True, next(paragraphs, None)
            straight.start_paragraph(start)
        # after a stop, collect marks until another token follows
        if kind is Kind.MARK and stop is not None:
            marks.append((start, end))
            continue
        # divide the marks between the two sentences
        if marks:
            first = _count_closing(straight, stop or 0, marks, start) if kind is Kind.TEXT else len(marks)
            yield from ((*mark, number == first) for number, mark in enumerate(marks))
            starts, marks = kind is Kind.TEXT and first == len(marks), []
        stop = end if kind is Kind.STOP else None
        yield start, end, starts
    yield from ((*mark, False) for mark in marks)


class _StraightMarks:
    """Distinguish opening and closing straight quotation marks: every second one in a paragraph closes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._first = 0
        self._counts: dict[str, tuple[int, int]] = {}
        """Position for each mark, and the number of occurrences in the paragraph before this position."""

    def start_paragraph(self, place: int) -> None:
        """Restart counting, so that an unclosed mark does not affect later paragraphs."""
        self._first, self._counts = place, {}

    def opens(self, mark: str, place: int) -> bool:
        """Return whether the mark at a position opens. Positions must increase from call to call."""
        begin, count = self._counts.get(mark, (self._first, 0))
        count += sum(1 for _ in _STRAIGHT[mark].finditer(self.text, begin, place))
        self._counts[mark] = place, count
        return count % 2 == 0


def _count_closing(straight: _StraightMarks, before: int, marks: Sequence[Bounds], after: int) -> int:
    """Return how many of the marks between two sentences belong to the first one.

    A mark opens the second sentence if white space separates it from the first one but not from the second, and closes
    the first sentence in the opposite case. Otherwise, the direction of the bracket or quotation mark decides.

    Args:
        straight: Counter of straight quotation marks of the text.
        before: End of the stop of the first sentence.
        marks: Bounds of the marks, in order.
        after: Start of the first word of the second sentence.
    """
    left = right = 0
    place = before
    while left < len(marks) and marks[left][0] == place:
        place, left = marks[left][1], left + 1
    place = after
    while right < len(marks) and marks[-1 - right][1] == place:
        place, right = marks[-1 - right][0], right + 1
    closing = 0
    for number, (start, end) in enumerate(marks):
        touches_first, touches_second = number < left, number >= len(marks) - right
        if touches_first != touches_second:
            opens = touches_second
        elif (mark := straight.text[start:end]) in _STRAIGHT:
            opens = straight.opens(mark, start)
        else:
            opens = mark[0] in _INVERTED or unicodedata.category(mark[0]) in _OPENING
        closing = closing if opens else number + 1
    return closing
