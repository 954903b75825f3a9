"""Marks stay with the sentence that they open or close; whatever the text, nothing is lost or moved."""

from __future__ import annotations

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.apps.spacy import to_document
from iter_lightning.extraction.boundaries import Kind, Token, sentence_starts
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.splitting import Splitter

SPLITTER, BLANK = Splitter("en"), spacy.blank("en")
MARKS = list("\"'“”„‘’«»‹›()[]{}¿¡-–—,;:「」*…")
TEXT = st.text(alphabet=st.sampled_from([*MARKS, *"ab.!? \n\r\t\u00a0。"]), max_size=60)


def sentences(text: str) -> list[str]:
    (document,) = SPLITTER([Document(text)])
    return [text[start:end] for start, end in document.sentences]


@pytest.mark.parametrize(
    "expected",
    [
        ["He left.", '"Stay," she said.', '"No."', "He went."],
        ["He said “Go.”", "“No,” she said.", "‘Hi.’", "Bye."],
        ["Er ging.", "„Bleib!“", "Sie rief.", "»Komm.«", "Da.", "„Ja.“", "Nein."],
        ["Han gick.", "”Stanna!”", "sa hon."],
        ["Il part.", "« Reste ! »", "dit-elle.", "« Non. »", "Il rit."],
        ["Il part.", "«Reste!»", "dit-elle.", "«Non.»"],
        ["Se fue.", "¿Por qué?", "¡No!", "—Sí."],
        ["Poszedł.", "„Zostań!”", "Nie."],
        ["She did.", "(He sat.)", "Then [she left.]", "{All.}", "(“Why?”)", '("No.")', "End."],
        ["He left.", "'Stay,' she said.", "Don't.", "'No.'"],
        ["He left.", "\"It's 5'10\" tall.", "Good."],
        ["He left.", "- one.", "- two."],
        ["He left.", "(1) One.", "(2) Two."],
        ["Really?!", '"Yes!"', "So."],
    ],
)
def test_a_mark_stays_with_the_sentence_that_it_touches(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected
    assert sentences("\n".join(expected)) == expected
    assert sentences("  ".join(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'He left . " Stay , " she said . " No . " Done .',
            ["He left .", '" Stay , " she said .', '" No . "', "Done ."],
        ),
        ("Il part . « Reste . » Il rit .", ["Il part .", "« Reste . »", "Il rit ."]),
        ('"One."\n\n"Two. Three.', ['"One."', '"Two.', "Three."]),
        ('" One .\n\n" Two . " Three .', ['" One .', '" Two . "', "Three ."]),  # each paragraph counts for itself
        ('He said.) "Go." (', ["He said.)", '"Go." (']),
    ],
)
def test_a_mark_with_spaces_on_both_sides_goes_by_its_direction(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@pytest.mark.parametrize("text", ['"', '. "', '."', "(((", ". (((", '.\n\n"', '." (', "。「"])
def test_marks_alone_are_in_sentences_too(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(TEXT)
def test_docs_without_sentences_follow_the_same_rules(text: str) -> None:
    (document,) = SPLITTER([Document(text)])
    assert to_document(BLANK(text)).sentences == document.sentences


@given(st.lists(st.tuples(st.sampled_from(Kind), st.integers(1, 3), st.integers(0, 2), st.booleans()), max_size=20))
def test_tokens_come_back_in_order_whatever_they_are(given_tokens: list[tuple[Kind, int, int, bool]]) -> None:
    text, tokens = "", list[Token]()
    for kind, length, gap, starts in given_tokens:
        text += " " * gap
        tokens.append((len(text), len(text) + length, starts, kind))
        text += {Kind.TEXT: "a", Kind.STOP: ".", Kind.MARK: '"'}[kind] * length
    found = list(sentence_starts(text, tokens))
    assert [(start, end) for start, end, _ in found] == [(start, end) for start, end, _, _ in tokens]
