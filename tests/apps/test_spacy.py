from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span

from iter_lightning.apps.spacy import IterComponent, annotate, to_document
from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.documents import Document, TextEntity, TextRelation
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.formats.docbin import to_spacy
from iter_lightning.model.label_layers import LabelLinear
from iter_lightning.model.names import DEFAULT
from tests.builders import SCHEMA, tiny_model

BLANK = spacy.blank("en")
TEXTS = ("Ada lives in London and works for the Bank.", "", " \n\n ", "Her brother lives in the University.\n\nAda")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model(link_threshold=0.4).save_pretrained(place)
    return place


@cache
def extractor(folder: Path, context: str = "sentence") -> Extractor:
    return Extractor.from_pretrained(folder, context=context)


def fresh(folder: Path, **config: Any) -> Language:
    """Build a pipeline that loads its model at the first use."""
    nlp = spacy.blank("en")
    nlp.add_pipe("iter", config={"model": str(folder), **config})
    return nlp


def pipeline(folder: Path, context: str = "sentence", **config: Any) -> Language:
    """Build a pipeline with a model that is loaded once for all tests."""
    nlp = fresh(folder, context=context, **config)
    component(nlp)._extractor = replaced = copy(extractor(folder, context))
    replaced.splitter = None
    return nlp


def component(nlp: Language) -> IterComponent:
    found = nlp.get_pipe("iter")
    assert isinstance(found, IterComponent)
    return found


def plain(doc: Doc) -> list[Any]:
    spans = [(s.start, s.end, s.label_) for s in doc.spans["iter"]]
    relations = [((r.head.start, r.head.end), r.type, (r.tail.start, r.tail.end), r.score) for r in doc._.relations]
    ents = [(s.start, s.end, s.label_) for s in doc.ents]
    return [spans, doc.spans["iter"].attrs["scores"].tolist(), relations, ents]


@pytest.mark.parametrize("context", ["sentence", "document"])
def test_pipe_finds_what_extractor_finds(folder: Path, context: str) -> None:
    nlp = pipeline(folder, context=context)
    docs = list(nlp.pipe(TEXTS))
    documents = extractor(folder, context)(list(TEXTS))
    assert sum(len(document.relations) for document in documents) > 3
    for doc, document in zip(docs, documents, strict=True):
        assert [(s.start_char, s.end_char, s.label_, s.text) for s in doc.spans["iter"]] == [
            (e.start, e.end, e.type, e.text) for e in document.entities
        ]
        assert doc.spans["iter"].attrs["scores"].tolist() == [e.score for e in document.entities]
        assert [(r.head.start_char, r.type, r.tail.start_char, r.score) for r in doc._.relations] == [
            (r.head.start, r.type, r.tail.start, r.score) for r in document.relations
        ]
        assert len(doc) < 2 or not doc.has_annotation("SENT_START")


def test_pipe_batches_equal_single_docs(folder: Path) -> None:
    nlp = pipeline(folder)
    assert [plain(nlp(text)) for text in TEXTS] == [plain(doc) for doc in nlp.pipe(TEXTS, batch_size=3)]


def test_component_doc_equals_written_doc(folder: Path) -> None:
    doc = pipeline(folder)(TEXTS[0])
    document = extractor(folder)(TEXTS[0])
    written = to_spacy(document, BLANK.vocab)
    assert plain(written) == plain(doc)
    assert written.user_data["iter_relations"] == doc.user_data["iter_relations"]


def test_to_document_keeps_sentences_without_white_space() -> None:
    nlp = spacy.blank("en")
    doc = nlp("  Ada  left.  \n Bo came .")
    assert any(token.is_space for token in doc)
    for token in doc:
        token.is_sent_start = token.text in ("left", "came")
    document = to_document(doc, id="x")
    assert document.word_texts() == ("Ada", "left", ".", "Bo", "came", ".")
    assert [document.text[start:end] for start, end in document.sentences] == ["Ada", "left.  \n Bo", "came ."]
    assert (document.text, document.id) == (doc.text, "x")


def test_to_document_without_sentences_uses_rules() -> None:
    doc = BLANK("Ada left. Bo came\n\nThe end\r\rof it  \n all.")
    document = to_document(doc)
    cut = [document.text[start:end] for start, end in document.sentences]
    assert cut == ["Ada left.", "Bo came", "The end", "of it  \n all."]
    assert not doc.has_annotation("SENT_START")
    assert to_document(BLANK("")) == Document("")


def test_to_document_any_tokenization_keeps_tokens() -> None:
    """Tokens without blanks between them, and one that holds a blank."""
    doc = Doc(BLANK.vocab, words=["New York", "北", "京", "☕"], spaces=[False, False, True, False])
    assert to_document(doc).word_texts() == ("New York", "北", "京", "☕")


def found(doc: Doc, *spans: tuple[int, int, str, float]) -> Document:
    document = to_document(doc)
    entities = []
    for first, last, kind, score in spans:
        start, end = document.words[first][0], document.words[last - 1][1]
        entities.append(TextEntity(start, end, kind, document.text[start:end], score))
    relations = (TextRelation(entities[0], entities[-1], "LiveIn", 0.75),) if entities else ()
    return Document(document.text, document.words, document.sentences, tuple(entities), relations)


def test_annotate_nested_entities_outermost_is_ent() -> None:
    doc = BLANK("the Bank of northern  London and Ada")
    document = found(doc, (0, 5, "Org", 0.9), (3, 5, "Loc", 0.8), (4, 5, "Loc", 0.7), (6, 7, "Per", 0.6))
    annotate(doc, document)
    assert [span.text for span in doc.spans["iter"]] == [
        "the Bank of northern  London", "northern  London", "London", "Ada"
    ]  # fmt: skip
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("the Bank of northern  London", "Org"), ("Ada", "Per")]
    (relation,) = doc._.relations
    assert (relation.head.text, relation.head.label_, relation.type) == (
        "the Bank of northern  London",
        "Org",
        "LiveIn",
    )
    assert (relation.tail.text, relation.tail.label_, relation.score) == ("Ada", "Per", 0.75)


@pytest.mark.parametrize(
    ("overwrite", "expected"), [(True, ["PERSON Ada", "Loc London"]), (False, ["PERSON Ada", "GPE in London"])]
)
def test_annotate_existing_ents_replaced_or_kept(overwrite: bool, expected: list[str]) -> None:
    doc = BLANK("Ada lives in London")
    doc.ents = [Span(doc, 0, 1, "PERSON"), Span(doc, 2, 4, "GPE")]
    annotate(doc, found(doc, (3, 4, "Loc", 0.9)), overwrite_ents=overwrite)
    assert [f"{ent.label_} {ent.text}" for ent in doc.ents] == expected
    assert [span.text for span in doc.spans["iter"]] == ["London"]


def test_component_second_reading_replaces_first(folder: Path) -> None:
    nlp = pipeline(folder)
    doc = nlp(TEXTS[0])
    before = plain(doc)
    assert plain(component(nlp)(doc)) == before


def test_component_two_models_keep_apart(folder: Path) -> None:
    nlp = pipeline(folder, thresholds={"Loc": 1.0, "Per": 1.0, "Org": 1.0})
    nlp.add_pipe("iter", "second", config={"model": str(folder), "spans_key": "second", "link_threshold": 0.0})
    doc = nlp(TEXTS[0])
    assert not doc.spans["iter"]
    assert doc.spans["second"]
    assert len(doc._.relations) == len(doc.user_data["iter_relations:second"]) > 0


def test_annotated_doc_survives_bytes(folder: Path) -> None:
    nlp = pipeline(folder)
    doc = nlp(TEXTS[0])
    assert plain(Doc(nlp.vocab).from_bytes(doc.to_bytes())) == plain(doc)
    packed = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (unpacked,) = DocBin().from_bytes(packed).get_docs(spacy.blank("en").vocab)
    assert plain(unpacked)[:3] == plain(doc)[:3]


def test_relations_unread_doc_is_empty() -> None:
    assert BLANK("Ada")._.relations == []


def test_link_threshold_drops_relations_only(folder: Path) -> None:
    everything, nothing = pipeline(folder)(TEXTS[0]), pipeline(folder, link_threshold=1.0)(TEXTS[0])
    assert everything._.relations
    assert not nothing._.relations
    assert plain(everything)[0] == plain(nothing)[0]


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"context": "paragraph"}, "context: expected one of sentence, document, found 'paragraph'"),
        ({"backend": "tensorflow"}, "backend: expected one of torch, onnx, found 'tensorflow'"),
        ({"folder": Path()}, "no ITER model .*: tried"),
    ],
)
def test_add_pipe_bad_option_is_refused(folder: Path, config: dict[str, Any], fault: str) -> None:
    with pytest.raises((ConfigError, EncoderError), match=fault):
        fresh(**{"folder": folder, **config})


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"thresholds": {"Pers": 0.5}}, "'Pers'; the model has"),
        ({"link_threshold": 2.0}, r"link_threshold must be a number in \[0, 1\], found 2.0"),
        ({"folder": "nowhere/at-all"}, "no ITER model nowhere/at-all"),
        ({"device": "cuda:7"}, "cuda:7"),
    ],
)
def test_first_use_bad_option_is_refused(folder: Path, config: dict[str, Any], fault: str) -> None:
    nlp = fresh(**{"folder": folder, **config})
    nlp.set_error_handler(lambda *_: None)
    with pytest.raises((ConfigError, EncoderError), match=fault):
        list(nlp.pipe(TEXTS))


def test_add_pipe_foreign_extension_is_refused(folder: Path) -> None:
    own = Doc.get_extension("relations")
    Doc.set_extension("relations", default=None, force=True)
    try:
        with pytest.raises(ConfigError, match="another package"):
            pipeline(folder)
    finally:
        Doc.set_extension("relations", getter=own[2], force=True)


@dataclass
class Failing:
    """An extractor that fails on one word."""

    backend: Any

    def __call__(self, documents: Sequence[Document], *rules: Any) -> list[Document]:
        if any("poison" in document.text for document in documents):
            raise RuntimeError("failed")
        return list(documents)


def test_pipe_failing_doc_goes_to_error_handler(folder: Path) -> None:
    nlp = pipeline(folder)
    component(nlp)._extractor = Failing(None)  # type: ignore[assignment]
    failed: list[tuple[str, str, str]] = []
    nlp.set_error_handler(lambda name, proc, docs, error: failed.append((name, docs[0].text, str(error))))
    assert [doc.text for doc in nlp.pipe(["a", "b", "poison", "c"])] == ["a", "b", "c"]
    assert failed == [("iter", "poison", "failed")]
    nlp = pipeline(folder)
    component(nlp)._extractor = Failing(None)  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="failed"):
        list(nlp.pipe(["a", "poison"]))


@pytest.fixture(scope="module")
def saved(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A pipeline on disk whose original model is gone, and what it found before."""
    tmp_path = tmp_path_factory.mktemp("saved")
    gone = tmp_path / "gone"
    shutil.copytree(folder, gone)
    (gone / "notes.log").write_text("mine")
    nlp = fresh(gone, context="document")
    before = [plain(doc) for doc in nlp.pipe(TEXTS)]
    nlp.to_disk(tmp_path / "nlp")
    shutil.rmtree(gone)
    return tmp_path / "nlp", before


def test_saved_pipeline_contains_model(saved: tuple[Path, list[Any]]) -> None:
    place, before = saved
    stored = spacy.util.load_config(place / "config.cfg")["components"]["iter"]
    assert stored["factory"] == "iter"
    assert set(stored) == {
        "factory", "model", "context", "link_threshold", "thresholds", "spans_key", "overwrite_ents", "backend",
        "device", "max_tokens", "labels", "relations",
    }  # fmt: skip
    assert not (place / "iter" / "model" / "notes.log").exists()
    nlp = spacy.load(place)
    assert [plain(doc) for doc in nlp.pipe(TEXTS)] == before
    assert component(nlp).labels == SCHEMA.entity_types
    nlp.to_disk(place)  # onto itself
    assert sorted(path.name for path in (place / "iter").iterdir()) == ["model"]
    again = place.with_name("again")
    nlp.to_disk(again)
    (again / "iter" / "model" / "stale.onnx").touch()
    nlp.to_disk(again)
    kept = [sorted(file.name for file in (where / "iter" / "model").iterdir()) for where in (again, place)]
    assert kept[0] == kept[1]


def test_saved_pipeline_without_labels_loads(saved: tuple[Path, list[Any]], tmp_path: Path) -> None:
    """Version 0.1 saved no such options."""
    place = Path(shutil.copytree(saved[0], tmp_path / "old"))
    config = (place / "config.cfg").read_text()
    (place / "config.cfg").write_text(config.replace("labels = null\n", "").replace("relations = null\n", ""))
    assert "labels" not in (place / "config.cfg").read_text().split("[components.iter]")[1].split("[")[0]
    assert component(spacy.load(place)).labels == SCHEMA.entity_types


@pytest.fixture(scope="module")
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "open"
    model = tiny_model(heads="open", self_links=False, link_threshold=0.1)
    torch.manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, LabelLinear):
                module.offset.weight.normal_()
                module.column.weight.mul_(20)
    model.save_pretrained(place)
    return place


LABELS: list[tuple[Any, Any]] = [
    ({"person": "a human: alive", "U.S. city": None}, {"near": ("person", "U.S. city")}),
    (["person", "city"], {"in": {"head": "person", "symmetric": True, "description": "inside"}, "owns": None}),
    (None, ["works for"]),
]


@pytest.mark.parametrize(("labels", "relations"), LABELS)
def test_labels_are_found_and_saved(labels: Any, relations: Any, open_folder: Path, tmp_path: Path) -> None:
    nlp = fresh(open_folder, labels=labels, relations=relations)
    docs = list(nlp.pipe(TEXTS))
    expected = extractor(open_folder)(list(TEXTS), labels=labels, relations=relations)
    assert any(document.entities for document in expected)
    for doc, document in zip(docs, expected, strict=True):
        assert [(s.start_char, s.label_) for s in doc.spans["iter"]] == [(e.start, e.type) for e in document.entities]
        assert [(r.type, r.score) for r in doc._.relations] == [(r.type, r.score) for r in document.relations]
    nlp.to_disk(tmp_path / "nlp")
    again = spacy.load(tmp_path / "nlp")
    assert [plain(doc) for doc in again.pipe(TEXTS)] == [plain(doc) for doc in docs]
    assert component(again).extractor.schema == component(nlp).extractor.schema


def test_add_pipe_bad_labels_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"iter: labels: 'person' is given twice"):
        fresh(folder, labels=["person", "person"])
    with pytest.raises(ConfigError, match="only an open model has types of your choice"):
        _ = component(fresh(folder, labels=["person"])).extractor


def test_add_pipe_without_model_uses_the_default() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("iter")
    assert component(nlp).model == DEFAULT


def test_saved_pipeline_option_can_be_changed(saved: tuple[Path, list[Any]]) -> None:
    nlp = spacy.load(saved[0], config={"components.iter.link_threshold": 1.0})
    assert not any(doc._.relations for doc in nlp.pipe(TEXTS))


def test_pipeline_bytes_contain_model(folder: Path) -> None:
    nlp = pipeline(folder)
    other = spacy.blank("en")
    other.add_pipe("iter", config={"model": "gone/model"})
    other.from_bytes(nlp.to_bytes())
    assert plain(other(TEXTS[0])) == plain(nlp(TEXTS[0]))


def test_component_pickle_loads_model_again(folder: Path) -> None:
    one = component(pipeline(folder))
    before = plain(one(BLANK(TEXTS[0])))
    other = pickle.loads(pickle.dumps(one))
    assert plain(other(BLANK(TEXTS[0]))) == before


def test_memory_zone_results_are_equal(folder: Path) -> None:
    nlp = pipeline(folder)
    read = []
    for _ in range(2):
        with nlp.memory_zone():
            read.append([plain(doc) for doc in nlp.pipe(TEXTS)])
    assert read[0] == read[1]


def test_pipe_two_processes_after_use_equal_one(folder: Path) -> None:
    """Its threads do not survive the fork."""
    nlp = pipeline(folder)
    expected = [plain(doc)[0] for doc in nlp.pipe(TEXTS * 4)]
    assert [plain(doc)[0] for doc in nlp.pipe(TEXTS * 4, n_process=2, batch_size=4)] == expected


def test_component_after_sentencizer_uses_its_sentences(folder: Path) -> None:
    nlp = pipeline(folder)
    nlp.add_pipe("sentencizer", before="iter")
    assert plain(nlp(TEXTS[0])) == plain(pipeline(folder)(TEXTS[0]))


def test_initialize_loads_model(folder: Path) -> None:
    nlp = fresh(folder)
    assert component(nlp).labels == ()
    nlp.initialize()
    assert nlp.pipe_labels["iter"] == list(SCHEMA.entity_types)
