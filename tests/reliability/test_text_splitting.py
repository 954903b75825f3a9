"""Sentences, quotation marks and scripts: whatever the text, offsets are exact and nothing is lost."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.splitting import Splitter
from tests.builders import tiny_model
from tests.reliability.campaign import Campaign

pytestmark = pytest.mark.reliability

PAIRS = ('""', "''", "“”", "‘’", "„“", "„”", "‚‘", "«»", "»«", "””", "’’", "()", "[]", "{}", "¿?", "¡!", "「」", "『』")
"""Opening and closing marks of English, German, French, Danish, Polish, Swedish, Finnish, Spanish and Japanese."""
ALPHABET = (
    *"ab.!?,;:-–—…*/\\@#'\"“”„‚‘’«»‹›()[]{}¿¡「」。！？", *" \n\r\t\u00a0\u2009\u2028\u3000", "\u0301", "\u200b",
    "\ufeff", "\u202e", "🙂", "👩‍🚀", "我", "あ", "ก", "ا", "Ω", "\ud7ff", "``", "''", "...", "Mr.", "z.B.", "5'10\"",
    "don't", "http://a.b/?c=.",
)  # fmt: skip


@pytest.fixture(scope="module")
def splitter() -> Splitter:
    return Splitter("en")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model("bert").save_pretrained(folder)
    return folder


def check(splitter: Splitter, text: str) -> Document:
    """Split a text; offsets must be exact, and sentences must share out all words."""
    (document,) = splitter([Document(text)])  # whose constructor holds that nothing overlaps
    covered = {place for start, end in document.words for place in range(start, end)}
    assert document.text == text
    assert {place for place, letter in enumerate(text) if not letter.isspace()} <= covered
    shared = [range(*unit) for unit in document.units()]
    assert [number for unit in shared for number in unit] == list(range(len(document.words)))
    assert all(len(unit) for unit in shared)
    return document


def expect(splitter: Splitter, sentences: list[str], glue: str) -> None:
    text = glue.join(sentences)
    found = check(splitter, text)
    assert [text[start:end] for start, end in found.sentences] == sentences


@pytest.mark.parametrize("pair", PAIRS)
def test_opening_marks_stay_with_their_sentence(campaign: Campaign, splitter: Splitter, pair: str) -> None:
    rng = random.Random(pair)
    opening, closing = pair[0], pair[1]
    for _ in range(40):
        sentences = []
        for _ in range(rng.randint(2, 6)):
            words = " ".join(rng.choices(("Ada", "left", "the", "bank", "in", "Rissick", "now"), k=rng.randint(1, 6)))
            stop = rng.choice(".!?") if closing not in "?!" else ""
            sentences.append(
                rng.choice((f"{opening}{words}{stop}{closing}", f"{words}.", f"{opening}{words}{closing} she said."))
                if closing not in "?!"
                else rng.choice((f"{opening}{words}{closing}", f"{words}."))
            )
        campaign.tries(expect, splitter, sentences, rng.choice((" ", "  ", "\n", "\n\n", "\u00a0")))


@pytest.mark.parametrize("seed", range(4))
def test_any_text_is_split_whole(campaign: Campaign, splitter: Splitter, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        campaign.tries(check, splitter, "".join(rng.choices(ALPHABET, k=rng.randint(0, 80))))


@pytest.mark.parametrize(
    "unit", ['. " a ', '. "', ". ' a ", "。「", '."a" ', "(", '. (" ', "我爱北京天安门", "¿", ". — a ", "\n\n\" a . ' "]
)
def test_long_texts_take_linear_time(campaign: Campaign, splitter: Splitter, unit: str) -> None:
    campaign.tries(check, splitter, unit * (20_000 // len(unit)), limit_s=60)


def test_text_that_cannot_be_split_gives_one_line_with_the_remedy(campaign: Campaign, model: Path) -> None:
    texts = campaign.folder / "texts.jsonl"
    lines = [json.dumps({"text": text}) for text in ("Ada lives here.", *["我爱北京天安门，天安门上太阳升。"] * 5)]
    texts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["extract", str(model), str(texts), "--device", "cpu", "-o"]
    for name, options, expected in (("a", (), 1), ("b", ("--quiet",), 0), ("c", ("--language", "zh"), 0)):
        outcome = campaign.process([*command, str(campaign.folder / f"{name}.jsonl"), *options])
        assert outcome.status == 0, outcome.stderr
        told = [line for line in outcome.stderr.splitlines() if "--language zh" in line]
        assert len(told) == expected, outcome.stderr


def test_the_model_knows_its_language(campaign: Campaign, model: Path) -> None:
    folder, text = campaign.folder / "zh", campaign.folder / "a.txt"
    tiny_model("bert", language="zh").save_pretrained(folder)
    text.write_text("我爱北京天安门。", encoding="utf-8")
    words = {}
    for name, used, options in (("zh", folder, ()), ("en", model, ()), ("given", folder, ("--language", "en"))):
        output = campaign.folder / f"{name}.jsonl"
        outcome = campaign.run(["extract", str(used), str(text), "--device", "cpu", "-o", str(output), *options])
        assert outcome.status == 0, outcome.stderr
        words[name] = len(json.loads(output.read_text(encoding="utf-8"))["words"])
        settings = json.loads(Path(f"{output}.manifest.json").read_text())["settings"]
        assert settings["language"] == ("zh" if name == "zh" else "en")
    assert words == {"zh": 8, "en": 2, "given": 2}  # "en" splits off nothing but the full stop


@pytest.mark.parametrize("language", ["qq", "../../os", "", "en-US", "NONE", "\x00", "e" * 9999, "punctuation"])
def test_a_language_that_is_none_is_refused(campaign: Campaign, model: Path, language: str) -> None:
    text = campaign.folder / "a.txt"
    text.write_text("Ada.", encoding="utf-8")
    output = campaign.folder / "out.jsonl"
    campaign.refused(["extract", str(model), str(text), "-o", str(output), "--language", language], "language")
    assert sorted(path.name for path in campaign.folder.iterdir()) == ["a.txt"]


@pytest.mark.parametrize("language", ["english", "../../os", "", 7, [], True, {"en": 1}, "e" * 9999])
def test_a_model_with_a_bad_language_is_refused(campaign: Campaign, language: object) -> None:
    folder, text = campaign.folder / "model", campaign.folder / "a.txt"
    text.write_text("Ada.", encoding="utf-8")
    tiny_model("bert").save_pretrained(folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "language": language}))
    output = campaign.folder / "out.jsonl"
    campaign.refused(["extract", str(folder), str(text), "-o", str(output)], "config.json: language: expected")
    assert not output.exists()
