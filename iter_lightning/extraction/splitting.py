"""Raw text into words and sentences, by spaCy's blank pipelines: no trained component, any language spaCy has."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Bounds, Document

_ENDLESS = re.compile(r"\S{300}")
"""spaCy's tokenizer takes quadratic time over what holds no space; it is given such stretches in pieces."""
_BREAK = r"(?:\r\n|\n|\r(?!\n))"
_PARAGRAPH = re.compile(rf"{_BREAK}[^\S\r\n]*{_BREAK}")
"""An empty line ends a sentence, whatever it ends with."""


class Splitter:
    """Words and sentences of texts in one language.

    Args:
        language: spaCy's code for it (`en`, `de`, `xx` for several at once).

    Raises:
        ConfigError: spaCy is missing, has no such language, or needs a package for it.
    """

    def __init__(self, language: str = "en") -> None:
        try:
            import spacy
        except ImportError as error:
            raise ConfigError(
                "splitting text into words needs spaCy (pip install 'iter-lightning[extract]') or words of your own"
            ) from error
        try:
            self._nlp: Any = spacy.blank(language)
        except ImportError as error:  # spaCy's way to say either
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"language {language!r}: spaCy cannot split it: {reason}") from error
        self.language = language
        self._nlp.add_pipe("sentencizer")
        self._nlp.max_length = sys.maxsize  # a limit for trained components, of which there are none

    def __call__(self, documents: Sequence[Document]) -> list[Document]:
        """The documents with words and sentences; those that have words already stay as they are."""
        # what spaCy learns of spellings is let go of, else memory grows with every new word
        with self._nlp.memory_zone():
            return [document if document.words else self._split(document) for document in documents]

    def _split(self, document: Document) -> Document:
        breaks = [match.start() for match in _PARAGRAPH.finditer(document.text)]
        words: list[Bounds] = []
        sentences: list[Bounds] = []
        first, paragraph = 0, 0
        for start, end, opens in self._tokens(document.text):
            while paragraph < len(breaks) and breaks[paragraph] < start:
                opens, paragraph = True, paragraph + 1
            if opens and len(words) > first:
                sentences.append((words[first][0], words[-1][1]))
                first = len(words)
            words.append((start, end))
        if len(words) > first:
            sentences.append((words[first][0], words[-1][1]))
        return replace(document, words=tuple(words), sentences=tuple(sentences))

    def _tokens(self, text: str) -> Iterator[tuple[int, int, bool]]:
        """Start, end and whether a sentence may start here, of everything that is not white space."""
        from spacy.attrs import IDX, IS_SPACE, LENGTH, SENT_START

        cuts = [0, *(match.end() for match in _ENDLESS.finditer(text)), len(text)]
        for begin, end in pairwise(cuts):
            if begin == end:
                continue
            table = self._nlp(text[begin:end]).to_array([IDX, LENGTH, IS_SPACE, SENT_START]).astype(np.int64)
            pending = False  # a sentence's first token may be white space
            for number, (start, length, space, sentence) in enumerate(table.tolist()):
                pending = pending or (sentence == 1 and (number > 0 or begin == 0))
                if not space:
                    yield begin + start, begin + start + length, pending
                    pending = False
