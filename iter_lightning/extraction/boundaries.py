"""Where sentences begin: what spaCy's sentencizer says, with opening marks given to the sentence that they open.

The sentencizer leaves all punctuation after a full stop to the sentence that ended: in `He left. "Stay," she said.` the
opening quotation mark is parted from its sentence. Here a mark belongs to the text that it touches.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum

from iter_lightning.extraction.documents import Bounds

_BREAK = r"(?:\r\n|\n|\r(?!\n))"
_PARAGRAPH = re.compile(rf"{_BREAK}[^\S\r\n]*{_BREAK}")
"""An empty line ends a sentence, whatever it ends with."""
_OPENING = frozenset({"Ps", "Pi", "Pd"})
"""Unicode categories of marks that open: brackets, quotation marks, and dashes (of direct speech, of lists)."""
_INVERTED = frozenset("¿¡")
_STRAIGHT = {mark: re.compile(rf"(?<!\w){mark}|{mark}(?!\w)") for mark in "\"'"}
"""Quotation marks that look the same at both ends; one between two letters is an apostrophe."""


class Kind(Enum):
    """What a token is to the end of a sentence."""

    TEXT = 0
    STOP = 1
    """Ends a sentence: a full stop, a question mark."""
    MARK = 2
    """Other punctuation."""


Token = tuple[int, int, bool, Kind]
"""Start, end, and whether the sentencizer starts a sentence here, or at white space before."""


def sentence_starts(text: str, tokens: Iterable[Token]) -> Iterator[tuple[int, int, bool]]:
    """Decide at which tokens sentences start.

    Args:
        text: the whole text.
        tokens: its tokens without those of white space, in order.

    Yields:
        Start and end of each token, and whether a sentence starts with it.
    """
    paragraphs = (match.start() for match in _PARAGRAPH.finditer(text))
    paragraph = next(paragraphs, None)
    straight = _StraightMarks(text)
    stop: int | None = None  # the end of the stop that the marks follow
    marks: list[Bounds] = []  # after a stop: of which sentence they are depends on what comes next
    for start, end, starts, kind in tokens:
        while paragraph is not None and paragraph < start:
            yield from ((*mark, False) for mark in marks)
            stop, marks, starts, paragraph = None, [], True, next(paragraphs, None)
            straight.start_paragraph(start)
        if kind is Kind.MARK and stop is not None:
            marks.append((start, end))
            continue
        if marks:
            first = _count_closing(straight, stop or 0, marks, start) if kind is Kind.TEXT else len(marks)
            yield from ((*mark, number == first) for number, mark in enumerate(marks))
            starts, marks = kind is Kind.TEXT and first == len(marks), []
        stop = end if kind is Kind.STOP else None
        yield start, end, starts
    yield from ((*mark, False) for mark in marks)


class _StraightMarks:
    """Tells opening from closing straight quotation marks: every second one in a paragraph closes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._first = 0
        self._counts: dict[str, tuple[int, int]] = {}
        """For each mark a place, and how often the mark occurs in the paragraph before that place."""

    def start_paragraph(self, place: int) -> None:
        """Count from here: a mark that was never closed has no effect on later paragraphs."""
        self._first, self._counts = place, {}

    def opens(self, mark: str, place: int) -> bool:
        """Whether the mark at a place opens; places only grow from call to call."""
        begin, count = self._counts.get(mark, (self._first, 0))
        count += sum(1 for _ in _STRAIGHT[mark].finditer(self.text, begin, place))
        self._counts[mark] = place, count
        return count % 2 == 0


def _count_closing(straight: _StraightMarks, before: int, marks: Sequence[Bounds], after: int) -> int:
    """Return how many of the marks between two sentences belong to the first one.

    A mark opens the second sentence if white space parts it from the first one but not from the second; it closes the
    first one in the opposite case. Where both or neither hold, brackets and quotation marks go by their direction.

    Args:
        straight: of the text.
        before: where the stop of the first sentence ends.
        marks: in order.
        after: where the first word of the second sentence starts.
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
