from __future__ import annotations

import logging
import re

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


@given(st.text(alphabet=st.sampled_from(list("ab.!? \n\"'“”„«»()[]¿—"))))
def test_every_word_is_in_one_sentence_and_none_is_lost(text: str) -> None:
    document = split(text)
    inside = [
        [word for word in document.words if start <= word[0] and word[1] <= end] for start, end in document.sentences
    ]
    assert [word for words in inside for word in words] == list(document.words)
    assert all(inside)


def test_own_words_stay() -> None:
    own = Document.from_words([["New York", "is", "big"]])
    assert SPLITTER([own, Document("x")])[0] is own


def test_other_languages() -> None:
    document = split("Frau Dr. Koller wohnt in Wien. Sie arbeitet z.B. dort.", Splitter("de"))
    assert len(document.sentences) == 2
    with pytest.raises(ConfigError, match=r"language 'qq': spaCy cannot split it"):
        Splitter("qq")


CHINESE, THAI = "我爱北京天安门，天安门上太阳升。", "ฉันรักกรุงเทพมหานครมากที่สุดในโลก"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CHINESE, r"Chinese text .* language 'en', .*: use language 'zh' \(--language zh\)$"),
        ("東京タワーは日本の東京都にあります。", r"Japanese text .*use language 'ja' .*pip install sudachipy"),
        (THAI, r"Thai text .*use language 'th' .*pip install pythainlp"),
        ("ຂ້ອຍຮັກປະເທດລາວຫຼາຍທີ່ສຸດ", r"Lao, Tibetan, Burmese, or Khmer text .*documents with words"),
        ("Ada lives in London and works for the Bank of the University. " * 9 + CHINESE * 9, "Chinese text"),
    ],
)
def test_text_that_cannot_be_split_gives_one_warning(text: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    splitter = Splitter("en")
    with caplog.at_level(logging.WARNING, "iter_lightning"):
        splitter([Document("Ada lives in London."), Document(text)])
        splitter([Document(text)] * 3)
    (record,) = caplog.records
    assert re.search(told, record.getMessage())
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", CHINESE),
        ("en", "Ada “lives” in Zürich – naïve café; Привет, мир! Γειά σου Κόσμε. שלום עולם. مرحبا بالعالم"),
        ("en", "나는 서울에 산다. 한국어는 띄어쓰기가 있다. 대한민국헌법제일조"),
        (
            "en",
            "The city 北京市朝阳区 is as large as Tokyo (東京都庁舎前), and so is the harbor of Kobe.",
        ),
        ("en", "北京 上海"),
        ("en", ""),
    ],
)
def test_text_that_is_split_gives_no_warning(language: str, text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "iter_lightning"):
        Splitter(language)([Document(text)])
    assert not caplog.records


def test_words_of_ones_own_give_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    SPLITTER([Document.from_words([[CHINESE]])])
    assert not caplog.records
