"""The command line of `extract`: labels of one's own, the default model, and results for people to read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iter_lightning.cli import main
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.cli import model_and_inputs
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.model.label_layers import LabelLinear
from iter_lightning.model.names import DEFAULT
from tests.builders import SCHEMA, tiny_model

TEXT = "Ada lives in London. Her brother works for the Bank of London."


@pytest.fixture(scope="module")
def open_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open model that finds much: the biases of the first two heads are large."""
    folder = tmp_path_factory.mktemp("open")
    model = tiny_model(heads="open", omega=2, self_links=False)
    for head in (model.is_left, model.is_span):
        assert isinstance(head.w_out, LabelLinear)
        head.w_out.offset.bias.data.fill_(5.0)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    return file


def test_extractor_labels_at_call_time_choose_the_types(open_model: Path) -> None:
    extractor = Extractor.from_pretrained(open_model)
    found = extractor(TEXT, labels=["city", "human"], relations=["knows"])
    assert found.entities
    assert {entity.type for entity in found.entities} <= {"city", "human"}
    assert {entity.type for entity in extractor(TEXT).entities} <= set(SCHEMA.entity_types)
    assert extractor(TEXT) == extractor(TEXT)  # other labels in between change nothing
    only_relations = extractor(TEXT, relations=["knows"], link_threshold=0.0)
    assert {relation.type for relation in only_relations.relations} == {"knows"}


def test_extractor_keeps_the_last_label_sets(open_model: Path) -> None:
    from iter_lightning.extraction.labels import Labels

    extractor = Extractor.from_pretrained(open_model)
    first = extractor.bind(Labels.of(["a0"]))
    assert extractor.bind(Labels.of(["a0"])) is first
    for number in range(1, 17):
        extractor.bind(Labels.of([f"a{number}"]))
    assert extractor.bind(Labels.of(["a0"])) is not first


def test_extractor_of_a_fixed_model_refuses_labels(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="only an open model has types of your choice"):
        Extractor.from_pretrained(tmp_path)(TEXT, labels=["city"])


def test_extract_labels_relations_and_schema(
    open_model: Path, text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extract = ["extract", str(open_model), "--device", "cpu", str(text_file), "--link-threshold=0"]  # in any order
    assert main([*extract, "--labels", "city, human", "--relations", "knows"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {entity["type"] for entity in document["entities"]} <= {"city", "human"}
    assert {relation["type"] for relation in document["relations"]} == {"knows"}

    schema = tmp_path / "labels.yaml"
    schema.write_text("labels: {city: a town, human: }\nrelations: {knows: [human, human]}\n")
    assert main([*extract, "--schema", str(schema), "--output", str(tmp_path / "found.jsonl")]) == 0
    found = json.loads((tmp_path / "found.jsonl").read_text())
    kinds = [entity["type"] for entity in found["entities"]]
    assert all(kinds[r["head"]] == kinds[r["tail"]] == "human" for r in found["relations"])
    manifest = json.loads((tmp_path / "found.jsonl.manifest.json").read_text())
    assert manifest["settings"]["labels"]["schema"]["entity_types"] == ["city", "human"]


def test_extract_show_prints_text_with_brackets(
    open_model: Path, text_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", str(open_model), str(text_file), "--device=cpu", "--show", "--labels=thing"]) == 0
    shown = capsys.readouterr().out
    assert "thing]" in shown
    assert shown.replace("[", "").replace(" thing]", "").startswith(TEXT[:20])


def test_model_and_inputs_default_model_for_files_and_streams(
    open_model: Path, text_file: Path, tmp_path: Path
) -> None:
    model, text = str(open_model), str(text_file)
    assert model_and_inputs([text]) == (DEFAULT, [text])
    assert model_and_inputs(["-"]) == (DEFAULT, ["-"])
    assert model_and_inputs([str(tmp_path), text]) == (DEFAULT, [str(tmp_path), text])
    assert model_and_inputs([model, text]) == (model, [text])
    assert model_and_inputs(["owner/model", text]) == ("owner/model", [text])
    with pytest.raises(ConfigError, match="found only the model"):
        model_and_inputs([model])
    with pytest.raises(ConfigError, match="nowhere, which does not exist"):
        model_and_inputs(["nowhere"])
