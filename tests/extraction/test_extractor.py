from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor, TorchBackend, check_torch
from iter_lightning.extraction.splitting import Splitter
from iter_lightning.extraction.thresholds import Thresholds
from iter_lightning.types import Entity, Example, Prediction, Relation, Schema
from tests.builders import COMMON, SCHEMA, tiny_model

SPLITTER = Splitter("en")
ODD_TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(st.sampled_from(COMMON), st.text(max_size=4)), max_size=30).map(" ".join),
    st.text(alphabet=st.sampled_from(list("ab. \n\r\t\u00a0\u2028\u0301🙂👩‍🚀é")), max_size=60),
)


@lru_cache
def random_model_extractor(context: str = "sentence", max_subwords: int = 64) -> Extractor:
    """Of a random model, which finds much."""
    model = tiny_model("bert", omega=3, max_subwords=max_subwords, window_overlap=16)
    return Extractor(TorchBackend(model), SPLITTER, context)


@dataclass
class EveryWord:
    """A backend that finds each word and links neighbours; scores fall with the position."""

    schema: Schema = field(default=Schema(("Even", "Odd"), ("Next", "Other")))
    link_threshold: float = 0.5
    seen: list[Example] = field(default_factory=list)

    def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
        for example in examples:
            self.seen.append(example)
            found = [Entity(i, i + 1, "Odd" if i % 2 else "Even") for i in range(len(example.words))]
            scores = [1 - i / 10 for i in range(len(found))]
            links = [
                (Relation(head, tail, kind), scores[i])
                for i, (head, tail) in enumerate(pairwise(found))
                for kind in self.schema.relation_types
                if scores[i] > link_threshold
            ]
            yield Prediction(tuple(found), tuple(r for r, _ in links), tuple(scores), tuple(s for _, s in links))


@settings(max_examples=60)
@given(st.lists(ODD_TEXT, max_size=4), st.sampled_from(["sentence", "document"]))
def test_offsets_hold_on_any_text(texts: list[str], context: str) -> None:
    documents = random_model_extractor(context)(texts)
    assert [document.text for document in documents] == texts
    for document in documents:
        for entity in document.entities:
            assert document.text[entity.start : entity.end] == entity.text
            assert 0 < entity.score <= 1
            first, last = document.word_bounds(entity)
            assert (document.words[first][0], document.words[last - 1][1]) == (entity.start, entity.end)
            if context == "sentence":
                assert any(start <= entity.start and entity.end <= end for start, end in document.sentences)


def test_a_random_model_finds_something() -> None:
    """Else the property above holds of nothing."""
    document = random_model_extractor()(" ".join(COMMON))
    assert document.entities
    assert document.relations


def test_a_text_a_list_and_a_stream_give_the_same() -> None:
    texts = ["Ada met Bo. Bo left.", "", "  \n", "Rissick is old."]
    extractor = Extractor(EveryWord(), SPLITTER)
    listed = extractor(texts)
    streamed = extractor(iter(texts))
    assert not isinstance(streamed, list)
    assert list(streamed) == listed == [extractor(text) for text in texts]
    assert [len(document.entities) for document in listed] == [7, 0, 0, 4]


def test_a_stream_is_read_as_it_is_asked_for() -> None:
    taken = []

    def endless() -> Iterator[str]:
        number = 0
        while True:
            taken.append(number)
            yield f"Text {number}." if number % 3 else ""
            number += 1

    found = Extractor(EveryWord(), SPLITTER)(endless())
    assert [next(found).text for _ in range(5)] == ["", "Text 1.", "Text 2.", "", "Text 4."]
    assert len(taken) <= 2048


@pytest.mark.parametrize("text", ["", "word " * 20_000])
def test_a_stream_is_held_in_bounds_whatever_it_is_made_of(text: str) -> None:
    """Nothing to read in it, or long texts each of which is read at once."""
    taken = []
    found = Extractor(EveryWord(), None, "document")(
        taken.append(number) or Document.from_words([text.split()])
        for number in count()  # type: ignore[func-returns-value]
    )
    assert next(found).words == next(found).words
    assert len(taken) <= (3 if text else 2048)


@pytest.mark.parametrize("wrong", [None, 3.5, b"text"])
def test_what_is_no_text_is_told_with_its_place(wrong: object) -> None:
    with pytest.raises(ConfigError, match=f"text 1: expected a string or a Document, found {type(wrong).__name__}"):
        Extractor(EveryWord(), SPLITTER)(["Ada", wrong])  # type: ignore[list-item]


def test_a_link_just_above_the_threshold_is_not_lost_by_rounding() -> None:
    class Close(EveryWord):
        def predict(self, examples: Iterable[Example], link_threshold: float, max_tokens: int) -> Iterator[Prediction]:
            ends = Entity(0, 1, "Even"), Entity(1, 2, "Odd")
            for _ in examples:
                yield Prediction(ends, (Relation(*ends, "Next"),), (0.9, 0.9), (0.5000001,))

    extractor = Extractor(Close(), SPLITTER)
    assert [r.score for r in extractor("a b").relations] == [0.5]
    assert not extractor("a b", thresholds={"Next": 0.51}).relations


def test_context_decides_what_is_read_at_once() -> None:
    text = "Ada met Bo. Bo left."
    for context, lengths in (("sentence", [4, 3]), ("document", [7])):
        backend = EveryWord()
        found = Extractor(backend, SPLITTER, context)(text, link_threshold=0.0)
        assert [len(example.words) for example in backend.seen] == lengths
        crossing = [r for r in found.relations if r.head.end <= 11 < r.tail.start]
        assert bool(crossing) == (context == "document")


def test_thresholds_by_type() -> None:
    extractor = Extractor(EveryWord(), SPLITTER)
    text = "a b c d e f"  # scores 1, 0.9, 0.8, ...
    plain = extractor(text)
    assert [r.score for r in plain.relations if r.type == "Next"] == [1.0, 0.9, 0.8, 0.7, 0.6]
    lower = extractor(text, link_threshold=0.95, thresholds={"Next": 0.65, "Odd": 0.6})
    assert [(r.type, r.score) for r in lower.relations] == [
        ("Next", 1.0), ("Other", 1.0), ("Next", 0.9), ("Next", 0.8), ("Next", 0.7),
    ]  # fmt: skip
    assert [e.text for e in lower.entities] == ["a", "b", "c", "d", "e"]
    gone = extractor(text, thresholds={"Even": 0.9})
    assert [e.text for e in gone.entities] == ["a", "b", "d", "f"]
    assert [(r.head.text, r.tail.text) for r in gone.relations if r.type == "Next"] == [("a", "b")]


@given(st.lists(st.sampled_from(COMMON), min_size=1, max_size=30))
def test_windowed_is_unwindowed_where_the_text_fits(words: list[str]) -> None:
    wide, narrow = (random_model_extractor("document", n) for n in (256, 40))
    assert isinstance(narrow.backend, TorchBackend)
    text = " ".join(words)
    found = narrow(text)
    (encoded,) = narrow.backend.model.aligner().encode(found.examples("document"))
    if len(encoded.windows) == 1:
        assert found == wide(text)
    assert len({(e.start, e.end, e.type) for e in found.entities}) == len(found.entities)


def test_windows_of_a_long_text_merge() -> None:
    rng = random.Random(3)
    text = " ".join(rng.choice(COMMON) for _ in range(200))
    found = random_model_extractor("document", 40)(text)
    starts = [entity.start for entity in found.entities]
    assert starts == sorted(starts)
    assert starts[-1] > len(text) / 2
    assert len({(e.start, e.end, e.type) for e in found.entities}) == len(found.entities)
    keys = [(r.head.start, r.head.end, r.tail.start, r.tail.end, r.type, r.head.type, r.tail.type)
            for r in found.relations]  # fmt: skip
    assert keys
    assert len(set(keys)) == len(keys)


def test_own_words_need_no_language() -> None:
    extractor = Extractor(EveryWord(), None)
    document = extractor(Document.from_words([["New York", "sleeps"]], id="x"))
    assert [e.text for e in document.entities] == ["New York", "sleeps"]
    assert document.id == "x"
    with pytest.raises(ConfigError, match="text without words"):
        extractor("New York sleeps")


@pytest.mark.parametrize(
    ("link", "thresholds", "told"),
    [
        (2.0, None, r"link_threshold must be a number in \[0, 1\], found 2.0"),
        (None, {"Odd": "x"}, "threshold Odd must be a number"),
        (None, {"Person": 0.5}, "thresholds name 'Person'; the model has"),
    ],
)
def test_thresholds_that_cannot_be(link: float | None, thresholds: dict[str, float] | None, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Thresholds.of(EveryWord(), link, thresholds)


def test_loading(tmp_path) -> None:  # type: ignore[no-untyped-def]
    tiny_model("bert", omega=2).save_pretrained(tmp_path / "model")
    extractor = Extractor.from_pretrained(tmp_path, device="cpu")
    assert extractor.schema == SCHEMA
    assert extractor("Ada met Bo.").words
    for options, told in (
        ({"backend": "tf"}, "backend 'tf'"), ({"device": "nowhere"}, "device 'nowhere'"),
        ({"context": "page"}, "context 'page'"), ({"max_tokens": 0}, "max_tokens"), ({"language": "qq"}, "language"),
        ({"backend": "onnx", "device": "cuda"}, "onnx backend runs on a CPU"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=told):
            Extractor.from_pretrained(tmp_path, **options)
    with pytest.raises(EncoderError, match="no ITER model"):
        Extractor.from_pretrained(tmp_path / "none")


def test_the_models_language_splits_its_texts_unless_another_is_given(tmp_path: Path) -> None:
    tiny_model("bert", language="zh").save_pretrained(tmp_path / "zh")
    tiny_model("bert").save_pretrained(tmp_path / "old")
    path = tmp_path / "old" / "config.json"
    values = json.loads(path.read_text())
    del values["language"]  # as it was saved before there was the key
    path.write_text(json.dumps(values))

    def language(model: str, **options: str | None) -> str | None:
        splitter = Extractor.from_pretrained(tmp_path / model, device="cpu", **options).splitter
        return None if splitter is None else splitter.language

    assert (language("zh"), language("old")) == ("zh", "en")
    assert (language("zh", language="de"), language("old", language="de")) == ("de", "de")
    assert (language("zh", language="none"), language("old", language="none")) == (None, None)
    assert len(Extractor.from_pretrained(tmp_path / "zh", device="cpu")("我爱北京天安门。").words) == 8


@pytest.mark.parametrize("language", ["../../os", "", 7, ["en"]])
def test_a_model_with_a_language_that_is_no_code_is_refused(tmp_path: Path, language: object) -> None:
    tiny_model("bert").save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "language": language}))
    for given_language in (None, "en"):
        with pytest.raises(EncoderError, match=r"config\.json: language: expected a spaCy code"):
            Extractor.from_pretrained(tmp_path, language=given_language, device="cpu")


def test_without_torch_the_torch_backend_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match="the torch backend needs torch; --backend onnx runs"):
        check_torch()
