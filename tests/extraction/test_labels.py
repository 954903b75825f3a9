"""What users may write as labels, and what each mistake says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.labels import Labels


def test_of_lists_have_no_texts() -> None:
    labels = Labels.of(["person", "company"], ["works for"])
    assert labels.schema.entity_types == ("person", "company")
    assert labels.schema.relation_types == ("works for",)
    assert labels.texts == ()


def test_of_descriptions_follow_the_name() -> None:
    labels = Labels.of({"drug": "a medicine", "person": None}, {"treats": "heals a disease"})
    assert dict(labels.texts) == {"drug": "drug: a medicine", "treats": "treats: heals a disease"}


@pytest.mark.parametrize(
    "given",
    [
        {"works for": ("person", "company")},
        {"works for": [["person"], ["company"]]},
        {"works for": {"head": "person", "tail": "company"}},
    ],
)
def test_of_argument_types_in_every_form(given: dict[str, Any]) -> None:
    schema = Labels.of(["person", "company"], given).schema
    assert schema.allows("works for", "person", "company")
    assert not schema.allows("works for", "company", "person")


def test_of_one_open_argument_allows_any_type() -> None:
    schema = Labels.of(["person", "company"], {"owns": (None, "company")}).schema
    assert schema.allows("owns", "person", "company")
    assert schema.allows("owns", "company", "company")
    assert not schema.allows("owns", "company", "person")


def test_of_symmetric_arguments_are_allowed_in_both_directions() -> None:
    given = {"knows": {"head": "person", "tail": "company", "symmetric": True}}
    assert Labels.of(["person", "company"], given).schema.allows("knows", "company", "person")


def test_to_dict_round_trip() -> None:
    labels = Labels.of({"drug": "a medicine", "person": None}, {"takes": {"head": "person", "description": "uses"}})
    assert Labels.from_dict(labels.to_dict()) == labels


@pytest.mark.parametrize(
    ("labels", "relations", "part"),
    [
        ("person", None, "labels: expected a list of names or a map, found 'person'"),
        (["person", "person"], None, "given twice"),
        ([], None, "at least one entity type"),
        ([""], None, "expected a name"),
        ([3], None, "expected a name, found 3"),
        ({"person": 3}, None, "person: expected a description, found 3"),
        (["a\ud800"], None, "lone surrogate"),
        ({"a": "b\ud800"}, None, "labels: a: character 1"),
        (["person"], {"knows": ["person"]}, "knows: expected the types of the head and of the tail"),
        (["person"], {"knows": ("person", "dog")}, r"\['dog'\] are not entity types; those are \['person'\]"),
        (["person"], {"knows": {"heads": "person"}}, "found heads; expected description, head, tail, symmetric"),
    ],
)
def test_of_mistakes_are_named(labels: Any, relations: Any, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        Labels.of(labels, relations)


def test_read_yaml(tmp_path: Path) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text("labels: {drug: a medicine, person: }\nrelations:\n  takes: [person, drug]\n")
    assert Labels.read(file) == Labels.of({"drug": "a medicine", "person": None}, {"takes": ("person", "drug")})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("labels: [a, b", "cannot be read"),
        ("entities: [a]", "expected the keys labels, relations and nested, found entities"),
        ("- a", "found list"),
        ("labels: [a, a]", "labels.yaml: labels: 'a' is given twice"),
    ],
)
def test_read_mistakes_name_the_file(text: str, part: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=part):
        Labels.read(file)
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read: No such file"):
        Labels.read(tmp_path / "none.yaml")


def test_from_options_read_lists_with_commas() -> None:
    labels = Labels.from_options("person, company", "works for", None, nested=True)
    assert labels == Labels.of(["person", "company"], ["works for"], nested=True)
    assert Labels.from_options(None, None, None) is None


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("a", None, "f.yaml"), "give either --schema, or --labels"),
        ((None, "b", None), "--relations needs --labels"),
        (("a,,b", None, None), "expected a name, found ''"),
        ((None, None, None, True), "--nested needs --labels or --schema"),
    ],
)
def test_from_options_mistakes_are_named(options: tuple[Any, ...], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        Labels.from_options(*options)
