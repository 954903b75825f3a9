from __future__ import annotations

import contextlib
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from iter_lightning import IterModel
from iter_lightning.apps.export.card import CardOptions, license_fields, model_card
from iter_lightning.apps.export.cli import main
from iter_lightning.apps.export.facts import ModelFacts, Scored
from iter_lightning.corpora.catalog import CONLL04
from iter_lightning.errors import ConfigError
from iter_lightning.extraction import cli as extract_cli
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.types import Schema
from tests.builders import tiny_model


@pytest.fixture
def text(run: Path, model: IterModel) -> str:
    """The card of the run."""
    return model_card(ModelFacts.read(model, run), CardOptions("owner/mine", license="CC-BY-4.0", watts=50))


def test_model_card_metadata_is_read_by_hub(text: str) -> None:
    data = ModelCard(text).data
    assert (data.license, data.language, data.datasets) == ("cc-by-4.0", ["en"], ["conll04"])
    assert (data.library_name, data.pipeline_tag, data.model_name) == ("iter_lightning", "token-classification", "mine")
    assert data.base_model is None  # the encoder was a folder
    results = {result.metric_name: result for result in data.eval_results}
    assert len(results) == 9
    strict = results["RE+ micro F1"]
    assert strict.metric_value == round(14 / (14 + 6 + 7), 4)
    assert (strict.task_type, strict.dataset_type, strict.dataset_split) == ("relation-extraction", "conll04", "test")
    assert strict.metric_args == {"average": "micro", **EvaluationDefinition().to_dict(), "link_threshold": 0.5}
    assert results["NER micro recall"].metric_value == round(31 / 54, 4)


def test_model_card_scores_are_printed_with_definition(text: str) -> None:
    meaning = "gold: corpus · match: position · symmetric: once · split_protocol: clean · λ: 0.5"
    for split in ("dev", "test"):
        assert f"\nmicro · split: {split} · {meaning}" in text
    assert text.index("### dev") < text.index("### test")
    assert text.count("\n| NER | `Loc` | 75.0 | 60.0 | 66.7 | 50 |\n") == 2
    assert text.count("\n| RE+ | 53.8 | 50.0 | 51.9 | 7 | 6 | 7 |") == 2
    assert "\n| split: test · gold: corpus · match: surface" in text
    assert "\n- `match: surface`: spans match by their words" in text
    assert "`gold: encoded`" not in text
    assert "**λ was changed after these scores were made**: this model links above λ = 0.4 (chosen on dev" in text


def test_model_card_states_records_of_run(text: str) -> None:
    for part in (
        "`tiny-bert` (bert)", "\n| ω | 2: the", CONLL04.license, CONLL04.citation,
        "\n| train | 922 | 3377 | 1283 | `7516b14f56dbc468` |\n", "`abc123` with uncommitted changes",
        "the run `first`, sha256 f00d", "MovingAverage(decay=0.99)",
        "\n| `model.encoder_group.learning_rate` | `0.0003` |\n", "`split_protocol: clean`: nothing was trained",
        "train that the encoding cannot express: 7 of 3377 entities, 3 of 1283 relations; 4 words",
        "Training time: 2.00 h of wall time", "in 2 attempts", "Hardware: cpu, Linux, devices: 1.",
        "0.100 kWh = 2.00 h x 50 W / 1000", "epoch 2 (from 0), dev F1 62.5", "| made with | iter_lightning 0.1.0 |",
        "An entity in which more than 1 others start", "2024.findings-emnlp.655", "| versions | iter-lightning 0.1.0, ",
    ):  # fmt: skip
        assert part in text, part
    assert not re.search(r"\n\n\n|\S +\n|undefined|None", text)
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert [len(table.splitlines()) > 2 for table in tables] == [True] * 8
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_model_card_without_run_states_what_is_missing(facts: ModelFacts) -> None:
    card = model_card(facts, CardOptions("x"))
    for line in (
        "\nScores: not recorded.\n", "\nTraining data: not recorded.\n", "time: not recorded.\n",
        "Training time: not recorded. ", "Energy and carbon: not measured.\n", "| trained on | not recorded |",
        "| license of the weights | not recorded |", "\n`x` is this folder; give its path.\n",
    ):  # fmt: skip
        assert line in card, line
    assert "model-index" not in card
    assert ModelCard(card).data.language is None
    assert not re.search(r"\n\n\n|\S +\n", card)


def test_model_card_untested_indexes_dev(facts: ModelFacts, manifest: dict[str, Any], scores: dict[str, Any]) -> None:
    scored = Scored("dev", EvaluationDefinition(), None, scores)
    card = ModelCard(model_card(replace(facts, manifest=manifest, results=(scored,)), CardOptions("owner/mine")))
    assert {result.dataset_split for result in card.data.eval_results} == {"validation"}
    assert "λ: not recorded. The model was selected on this split" in card.text


def test_model_card_unfinished_run_says_so(facts: ModelFacts, manifest: dict[str, Any]) -> None:
    assert "had not finished" not in model_card(replace(facts, manifest=manifest), CardOptions("x"))
    unfinished = {**manifest, "status": "running"}
    assert "\n**The training had not finished**" in model_card(replace(facts, manifest=unfinished), CardOptions("x"))


def test_model_card_odd_names_stay_in_their_cells(scores: dict[str, Any]) -> None:
    odd = Schema(("a|b", "<script>`x`", "line\nbreak", "{{ 7 * 7 }}"), ("yes: - [no]",))
    ner = {**scores["NER"], "per_type": {"a|b": scores["NER"]["per_type"]["Loc"]}}
    results = (Scored("test", EvaluationDefinition(), 0.5, {"NER": ner}),)
    facts = ModelFacts(tiny_model(schema=odd).config, 1, 512, {}, results)
    shown = model_card(facts, CardOptions("owner/x", license="My own, v1"))
    assert "| entity types | `a\\|b`, `<script>'x'`, `line break`, `{{ 7 * 7 }}` |" in shown
    assert "| NER | `a\\|b` | 75.0 |" in shown
    data = yaml.safe_load(shown.split("---\n")[1])
    assert (data["license"], data["license_name"]) == ("other", "my-own-v1")
    assert "| license of the weights | My own, v1 |" in shown


def test_license_fields_identifier_is_lowercase() -> None:
    assert license_fields(None) == ("unknown", None)
    assert license_fields("Apache-2.0") == ("apache-2.0", None)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"languages": ("english",)}, "language 'english': expected an ISO 639 code"),
        ({"license": " "}, "the license is empty"),
        ({"watts": -1.0}, "watts must be above 0"),
    ],
)
def test_card_options_invalid_is_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        CardOptions("x", **options)


@pytest.mark.parametrize(
    ("stored", "given", "hub", "spacy", "flag"),
    [
        (None, ("xx",), ["multilingual"], "xx", " --language xx"),
        (None, ("de",), ["de"], "de", " --language de"),
        (None, ("zh-Hant",), ["zh-Hant"], "zh", " --language zh"),
        ("de", (), ["de"], "de", ""),
        ("de", ("fr",), ["fr"], "fr", " --language fr"),
        ("xx", (), ["multilingual"], "xx", ""),
        (None, ("de", "fr"), ["de", "fr"], "xx", " --language xx"),
    ],
)
def test_model_card_language_of_user_or_model(
    stored: str | None, given: tuple[str, ...], hub: list[str], spacy: str, flag: str, facts: ModelFacts
) -> None:
    facts = replace(facts, config=replace(facts.config, language=stored))
    card = model_card(facts, CardOptions("x", languages=given))
    assert ModelCard(card).data.language == hub
    assert f"language='{spacy}'" in card
    assert f"found.jsonl{flag}\n" in card


def test_model_card_document_model_is_used_on_documents(facts: ModelFacts) -> None:
    assert "context=" not in model_card(facts, CardOptions("x"))
    data = {"class_path": "x.SciERC", "init_args": {"coreference": True}}
    text = model_card(replace(facts, manifest={"config": {"data": data}}), CardOptions("x"))
    assert "language='en', context='document')" in text
    assert 'config={"model": \'x\', "context": "document"})' in text
    assert "found.jsonl --context document" in text


def test_model_card_python_code_runs(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main([str(run), str(tmp_path / "out")])
    blocks = re.findall(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    values: list[dict[str, Any]] = []
    for block in blocks:
        values.append({})
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(block, values[-1])
        assert len(printed.getvalue()) > 20
    entities, spans = values[0]["document"].entities, values[1]["doc"].spans["iter"]
    assert [(e.start, e.end, e.type) for e in entities] == [(s.start_char, s.end_char, s.label_) for s in spans]
    assert entities


def test_model_card_commands_are_valid(facts: ModelFacts) -> None:
    card = model_card(facts, CardOptions("owner/x", languages=("de",)))
    (lines,) = re.findall(r"```bash\n(.*?)```", card, re.DOTALL)
    commands = [line.split()[3:] for line in lines.splitlines()]
    assert [verb for verb, *_ in commands] == ["extract", "extract", "serve"]
    for _, *arguments in commands[:2]:
        options = extract_cli._parser().parse_args(arguments)
        assert (options.given[0], options.language) == ("owner/x", "de")
