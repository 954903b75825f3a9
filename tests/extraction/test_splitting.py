from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.splitting import Splitter

SPLITTER = Splitter("en")


def split(text: str, splitter: Splitter = SPLITTER) -> Document:
    (document,) = splitter([Document(text)])
    return document


def test_words_and_sentences() -> None:
    document = split("Mr. Firnsen went\u00a0to Rissick.  He\tlives there 🙂👍🏽.")
    assert [document.text[start:end] for start, end in document.sentences] == [
        "Mr. Firnsen went\u00a0to Rissick.",
        "He\tlives there 🙂👍🏽.",
    ]
    assert document.word_texts()[:6] == ("Mr.", "Firnsen", "went", "to", "Rissick", ".")


@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"])
def test_an_empty_line_ends_a_sentence_and_a_single_break_does_not(line: str) -> None:
    document = split(f"A title{line}{line}It goes{line}on here{line}  {line}and ends")
    assert [document.text[start:end] for start, end in document.sentences] == [
        "A title",
        f"It goes{line}on here",
        "and ends",
    ]


@given(st.one_of(st.text(), st.text(alphabet=st.sampled_from(list("ab.!? \n\r\t\u00a0\u2028\u0301🙂👩‍🚀)-'\"@/:")))))
def test_whatever_is_no_space_is_a_word_once_and_in_place(text: str) -> None:
    document = split(text)  # whose constructor holds that words are in order and sentences hold them all
    covered = {place for start, end in document.words for place in range(start, end)}
    assert {place for place, letter in enumerate(text) if not letter.isspace()} <= covered
    assert document.text == text


def test_stretches_without_a_space_are_read_in_pieces() -> None:
    document = split("(" * 5_000 + " end of it. And more")
    assert sum(end - start for start, end in document.words) == 5_000 + len("endofit.Andmore")
    assert document.text[document.sentences[-1][0] :] == "And more"


def test_own_words_stay() -> None:
    own = Document.from_words([["New York", "is", "big"]])
    assert SPLITTER([own, Document("x")])[0] is own


def test_other_languages() -> None:
    document = split("Frau Dr. Koller wohnt in Wien. Sie arbeitet z.B. dort.", Splitter("de"))
    assert len(document.sentences) == 2
    with pytest.raises(ConfigError, match=r"language 'qq': spaCy cannot split it"):
        Splitter("qq")
