"""Split raw text into words and sentences with spaCy's blank pipelines, which need no trained components."""

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
"""Default language, if neither the caller nor the model sets one."""
NO_LANGUAGE = "none"
"""Value of a language option for documents that have words already."""
_ENDLESS = re.compile(r"\S{300}")
"""Long text without spaces. It is split in pieces, because the time of spaCy's tokenizer is quadratic for it."""
_KANA, _THAI, _OTHERS = "\u3040-\u30ff", "\u0e00-\u0e7f", "\u0e80-\u0fff\u1000-\u109f\u1780-\u17ff"
_HAN = "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED = re.compile(f"[{_KANA}{_HAN}]{{4,}}|[{_THAI}{_OTHERS}]{{12,}}")
"""Runs of letters in scripts without spaces between words, longer than most words."""
_REMEDIES = (
    (f"[{_KANA}]", "Japanese", "ja", "use language 'ja' (--language ja; pip install sudachipy sudachidict_core)"),
    (f"[{_HAN}]", "Chinese", "zh", "use language 'zh' (--language zh)"),
    (f"[{_THAI}]", "Thai", "th", "use language 'th' (--language th; pip install pythainlp)"),
    (f"[{_OTHERS}]", "Lao, Tibetan, Burmese, or Khmer", "", "provide documents with words (--language none)"),
)
"""Pattern of letters, their probable language, spaCy's code for it, and advice for the user."""
_SPLIT = {"zh": ("zh", "ja"), "ja": ("zh", "ja"), "th": ("th",)}
"""Languages without spaces that each language's tokenizer can split."""
_UNSPLIT_LETTERS = 100
"""Number of unsplit letters that is always reported, even if most of the text is in another script."""


def resolve_language(language: str | None, folder: Path) -> str | None:
    """Return spaCy's code for the language of texts, or None if documents have words already.

    Args:
        language: Option of the caller. None means the language of the model.
        folder: Model folder.

    Raises:
        EncoderError: If config.json cannot be read, or if its language is not a valid code.
    """
    if language is None:
        from iter_lightning.model.config import check_language
        from iter_lightning.model.stored import read_json

        path = folder / "config.json"
        try:
            # loading the model reports a missing file later
            stored = check_language(read_json(path).get("language")) if path.is_file() else None
        except ConfigError as error:
            raise EncoderError(f"{path}: {error}") from error
        language = stored or LANGUAGE
    return None if language == NO_LANGUAGE else language


class Splitter:
    """Split texts of one language into words and sentences.

    A warning is logged for the first text with large parts that cannot be split into words.

    Args:
        language: spaCy's code, such as `en`, `de`, or `xx` for several languages.

    Raises:
        ConfigError: If spaCy is missing, does not support the language, or needs another package for it.

    Example:
        >>> splitter = Splitter("en")  # doctest: +SKIP
        >>> [document] = splitter([Document("Ada works. Bo sleeps.")])  # doctest: +SKIP
        >>> document.word_texts()  # doctest: +SKIP
        ('Ada', 'works', '.', 'Bo', 'sleeps', '.')
    """

    def __init__(self, language: str = "en") -> None:
        try:
            import spacy
        except ImportError as error:
            raise ConfigError(
                "splitting text into words needs spaCy: pip install 'iter-lightning[extract]', or pass words"
            ) from error
        try:
            self._nlp: Any = spacy.blank(language)
        except (ImportError, AttributeError) as error:  # AttributeError: a module of spacy.lang that is not a language
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"language {language[:40]!r}: spaCy cannot split it: {reason[:200]}") from error
        self.language = language
        sentencizer: Any = self._nlp.add_pipe("sentencizer")
        self._stops = frozenset(sentencizer.punct_chars)
        self._nlp.max_length = sys.maxsize  # the limit protects trained components, which are not used here
        self._warned = False

    def __call__(self, documents: Sequence[Document]) -> list[Document]:
        """Add words and sentences to documents. Documents that have words already do not change."""
        # free spaCy's string cache afterwards, because it grows with every new word
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
        """Yield all tokens that are not white space."""
        from spacy.attrs import IDX, IS_PUNCT, IS_SPACE, LENGTH, SENT_START

        cuts = [0, *(match.end() for match in _ENDLESS.finditer(text)), len(text)]
        for begin, end in pairwise(cuts):
            if begin == end:
                continue
            table = self._nlp(text[begin:end]).to_array([IDX, LENGTH, IS_SPACE, SENT_START, IS_PUNCT]).astype(np.int64)
            pending = False  # the first token of a sentence may be white space
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
        """Log one warning if most of a text is in a script that the tokenizer cannot split into words."""
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
                    "%s text is not split into words by language %r, so little will be found in it: %s",
                    name, self.language, remedy,
                )  # fmt: skip
                return
