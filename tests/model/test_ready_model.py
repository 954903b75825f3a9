"""The model that is installed with the package: complete, small, and right about simple sentences."""

from __future__ import annotations

import pytest

from iter_lightning.extraction.extractor import Extractor
from iter_lightning.model.names import DEFAULT, READY, ready_models, resolve_model
from iter_lightning.training.mixture import DEFAULT_SCHEMA

TEXT = "Marie Curie was born in Warsaw in 1867. Later she worked in Paris with her husband Pierre Curie."


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor.from_pretrained(device="cpu")


def test_ready_model_is_complete_and_below_30_megabytes() -> None:
    assert DEFAULT in ready_models()
    folder = resolve_model(DEFAULT)
    assert folder == READY / DEFAULT
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert sum(files.values()) <= 30_000_000


def test_ready_model_without_labels_finds_common_types(extractor: Extractor) -> None:
    assert extractor.schema == DEFAULT_SCHEMA
    found = {(entity.text, entity.type) for entity in extractor(TEXT).entities}
    assert {("Marie Curie", "person"), ("Pierre Curie", "person"), ("Warsaw", "location")} <= found


def test_ready_model_with_labels_finds_what_is_asked(extractor: Extractor) -> None:
    people = extractor(TEXT, labels=["person"]).entities
    assert [entity.text for entity in people] == ["Marie Curie", "Pierre Curie"]
    places = extractor(TEXT, labels={"place": "a city or country"}).entities
    assert {"Warsaw", "Paris"} <= {entity.text for entity in places}
    assert extractor("Nothing to see here.", labels=["person", "place"]).entities == ()
