"""Raw text into words and sentences, by spaCy's blank pipelines: no trained component, any language spaCy has."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.boundaries import Kind, Token, sentence_starts
from iter_lightning.extraction.documents import Bounds, Document

logger = logging.getLogger(__name__)
LANGUAGE = "en"
"""Of the texts, where neither the caller nor the model names one."""
NO_LANGUAGE = "none"
"""Given as a language: all documents come with their words."""
_ENDLESS = re.compile(r"\S{300}")
"""spaCy's tokenizer takes quadratic time over what holds no space; it is given such stretches in pieces."""
_KANA, _THAI, _OTHERS = "\u3040-\u30ff", "\u0e00-\u0e7f", "\u0e80-\u0fff\u1000-\u109f\u1780-\u17ff"
_HAN = "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED = re.compile(f"[{_KANA}{_HAN}]{{4,}}|[{_THAI}{_OTHERS}]{{12,}}")
"""Letters of scripts that put no space between words, more than most words have."""
_REMEDIES = (
    (f"[{_KANA}]", "Japanese", "ja", "use language 'ja' (--language ja; pip install sudachipy sudachidict_core)"),
    (f"[{_HAN}]", "Chinese", "zh", "use language 'zh' (--language zh)"),
    (f"[{_THAI}]", "Thai", "th", "use language 'th' (--language th; pip install pythainlp)"),
    (f"[{_OTHERS}]", "Lao, Tibetan, Burmese or Khmer", "", "give words of your own (--language none)"),
)
"""A letter's pattern, the language it is probably in, spaCy's code for that, and what to do."""
_SPLIT = {"zh": ("zh", "ja"), "ja": ("zh", "ja"), "th": ("th",)}
"""What languages can split, besides those that put spaces between words."""
_UNSPLIT_LETTERS = 100
"""A long text may be mostly in another script; so many letters that were not split are reported anyway."""


def resolve_language(language: str | None, folder: Path) -> str | None:
    """Return spaCy's code for the language that texts are split in; None if they come with their words.

    Args:
        language: as the caller gave it; None is the language of the model.
        folder: the model's.

    Raises:
        EncoderError: config.json cannot be read, or names a language that is no code.
    """
    if language is None:
        from iter_lightning.model.config import check_language
        from iter_lightning.model.hub import read_json

        path = folder / "config.json"
        try:
            # a folder without the file is no model, as loading it will report
            stored = check_language(read_json(path).get("language")) if path.is_file() else None
        except ConfigError as error:
            raise EncoderError(f"{path}: {error}") from error
        language = stored or LANGUAGE
    return None if language == NO_LANGUAGE else language


class Splitter:
    """Words and sentences of texts in one language.

    The first text of which large parts cannot be split into words is reported by a warning in the log.

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
        except (ImportError, AttributeError) as error:  # the latter for a module of spacy.lang that is no language
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"language {language[:40]!r}: spaCy cannot split it: {reason[:200]}") from error
        self.language = language
        sentencizer: Any = self._nlp.add_pipe("sentencizer")
        self._stops = frozenset(sentencizer.punct_chars)
        self._nlp.max_length = sys.maxsize  # a limit for trained components, of which there are none
        self._warned = False

    def __call__(self, documents: Sequence[Document]) -> list[Document]:
        """The documents with words and sentences; those that have words already stay as they are."""
        # what spaCy learns of spellings is let go of, else memory grows with every new word
        with self._nlp.memory_zone():
            return [document if document.words else self._split(document) for document in documents]

    def _split(self, document: Document) -> Document:
        words: list[Bounds] = []
        sentences: list[Bounds] = []
        first = 0
        for start, end, opens in sentence_starts(document.text, self._tokens(document.text)):
            if opens and len(words) > first:
                sentences.append((words[first][0], words[-1][1]))
                first = len(words)
            words.append((start, end))
        if len(words) > first:
            sentences.append((words[first][0], words[-1][1]))
        if not self._warned and not document.text.isascii():
            self._warn_unsplit(document.text, words)
        return replace(document, words=tuple(words), sentences=tuple(sentences))

    def _tokens(self, text: str) -> Iterator[Token]:
        """Everything that is not white space."""
        from spacy.attrs import IDX, IS_PUNCT, IS_SPACE, LENGTH, SENT_START

        cuts = [0, *(match.end() for match in _ENDLESS.finditer(text)), len(text)]
        for begin, end in pairwise(cuts):
            if begin == end:
                continue
            table = self._nlp(text[begin:end]).to_array([IDX, LENGTH, IS_SPACE, SENT_START, IS_PUNCT]).astype(np.int64)
            pending = False  # a sentence's first token may be white space
            for number, (place, length, space, sentence, punct) in enumerate(table.tolist()):
                pending = pending or (sentence == 1 and (number > 0 or begin == 0))
                if space:
                    continue
                start = begin + place
                kind = Kind.MARK if punct else Kind.TEXT
                if length == 1 and text[start] in self._stops:
                    kind = Kind.STOP
                yield start, start + length, pending, kind
                pending = False

    def _warn_unsplit(self, text: str, words: Sequence[Bounds]) -> None:
        """Warn, once, if most of a text is in a script that this language's tokenizer leaves in one piece."""
        if _UNSPACED.search(text) is None:
            return
        runs = [
            match.group() for start, end in words if end - start >= 4 for match in _UNSPACED.finditer(text, start, end)
        ]
        for pattern, name, code, remedy in _REMEDIES:
            letters = sum(map(len, runs)) if any(re.search(pattern, run) for run in runs) else 0
            enough = letters >= _UNSPLIT_LETTERS or 2 * letters >= sum(end - start for start, end in words)
            if letters and enough and code not in _SPLIT.get(self.language, ()):
                self._warned = True
                logger.warning(
                    "%s text is not split into words by language %r, and little is found in it: %s",
                    name, self.language, remedy,
                )  # fmt: skip
                return
