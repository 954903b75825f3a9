from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from iter_lightning import Extractor, IterModel
from iter_lightning.apps.export import folder as folders
from iter_lightning.apps.export.card import model_card, table
from iter_lightning.apps.export.cli import main
from iter_lightning.apps.export.facts import ModelFacts, public_name
from iter_lightning.apps.export.hub import check_repo_id, push
from iter_lightning.apps.export.metadata import CardOptions, license_fields
from iter_lightning.apps.export.usage import usage
from iter_lightning.corpora.catalog import CONLL04
from iter_lightning.errors import ConfigError, IterError
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.metrics.functional import Counts, report
from iter_lightning.status import run_folder
from iter_lightning.training.run import RunFolder
from iter_lightning.types import Schema
from tests.builders import SCHEMA, tiny_model

SCORES = report(
    {
        "NER": {"Loc": Counts(30, 10, 20), "Org": Counts(1, 2, 3), "Per": Counts()},
        "RE": {"LiveIn": Counts(5, 5, 5), "WorkFor": Counts(3, 0, 1)},
        "RE+": {"LiveIn": Counts(4, 6, 6), "WorkFor": Counts(3, 0, 1)},
    }
)
SECRET = "/home/somebody/secret place"
MANIFEST: dict[str, Any] = {
    "status": "finished", "seed": 7, "encoder": f"{SECRET}/tiny-bert", "device": "cpu", "platform": "Linux",
    "versions": {"iter-lightning": "0.1.0", "torch": "2.13.0"}, "commit": "abc123", "commit_clean": False,
    "seconds": 7200.0, "epochs": 3, "best": {"epoch": 2, "dev/f1": 0.625}, "attempts": [{}, {}],
    "link_threshold": {"value": 0.4, "chosen_on": "dev", "by": "RE+ F1"},
    "init": {"from": f"{SECRET}/runs/first", "sha256": "f00d"},
    "data": {"title": "CoNLL04", "splits": {"train": {"sentences": 922, "entities": 3377, "relations": 1283,
                                                     "sha256": "7516b14f56dbc46868ea"}}},
    "encoding": {"train": {"entities": 3377, "entities_expressed": 3370, "relations": 1283,
                           "relations_expressed": 1280, "erased_words": 4, "clipped_words": 5}},
    "config": {
        "trainer": {"max_epochs": 3, "max_steps": -1, "precision": "32-true", "devices": 1, "callbacks": [
            {"class_path": "iter_lightning.training.callbacks.MovingAverage", "init_args": {"decay": 0.99}}]},
        "model": {"encoder": f"{SECRET}/tiny-bert", "encoder_group": {"learning_rate": 0.0003}, "dropout": 0.3,
                  "init_from": f"{SECRET}/runs/first"},
        "data": {"class_path": "iter_lightning.training.datamodules.CoNLL04",
                 "init_args": {"batch_size": 8, "split_protocol": "clean", "data_dir": f"{SECRET}/data"}},
    },
}  # fmt: skip


@cache
def model() -> IterModel:
    return tiny_model(link_threshold=0.4, omega=2)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished run."""
    folder = RunFolder(tmp_path / "runs" / "mine" / "seed7")
    model().save_pretrained(folder.model)
    config = json.loads((folder.model / "config.json").read_text())
    config["encoder"]["_name_or_path"] = f"{SECRET}/tiny-bert"
    (folder.model / "config.json").write_text(json.dumps(config))
    folder.update_manifest(**MANIFEST)
    for split in ("test", "dev"):
        definitions = [EvaluationDefinition(), EvaluationDefinition(match="surface")][: 2 if split == "test" else 1]
        folder.add_results(
            split, [{"definition": d.to_dict(), "link_threshold": 0.5, "scores": SCORES} for d in definitions]
        )
    return folder.path


def export(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def facts(**manifest: Any) -> ModelFacts:
    return ModelFacts(model().config, 1000, 512, manifest)


# the folder ---------------------------------------------------------------------------------------------------------


def test_the_folder_is_the_model(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run, out)
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in out.iterdir()}
    exported, state = IterModel.from_pretrained(out), model().state_dict()
    assert all(torch.equal(value, state[name]) for name, value in exported.state_dict().items())
    assert exported.config.schema == SCHEMA
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_nothing_of_the_machine_is_published(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert b"somebody" not in path.read_bytes(), path
        assert str(tmp_path).encode() not in path.read_bytes(), path


def test_a_model_inside_a_run_knows_its_run_and_a_bare_one_has_none(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "bare")
    assert run_folder(run) == run_folder(run / "model") == run
    assert run_folder(tmp_path / "bare") is None
    assert run_folder("owner/name") is None
    export(tmp_path / "bare", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for line in (
        "Scores: not recorded.", "Training data: not recorded.", "time: not recorded.", "Training time: not recorded. ",
        "Energy and carbon: not measured.", "| trained on | not recorded |", "licence of the weights | not recorded |",
    ):  # fmt: skip
        assert line in card, line
    assert "model-index" not in card
    assert ModelCard(card).data.language is None


def test_what_is_there_stays(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run, out)
    with pytest.raises(ConfigError, match="is there already"):
        export(run, out)
    before = (out / "README.md").read_text()
    export(run, out, "--overwrite", "--author", "Ada")
    assert "| author | Ada |" in (out / "README.md").read_text() != before
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds thesis.tex, which no export writes"):
        export(run, out, "--overwrite")
    assert (out / "thesis.tex").exists()
    (tmp_path / "empty").mkdir()
    export(run, tmp_path / "empty")
    assert (tmp_path / "empty" / "README.md").exists()


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("model", "is the model to export"),
        ("file", "is no folder"),
        ("half", "is no earlier export"),
        ("link", "is no folder"),
    ],
)
def test_places_that_are_refused(run: Path, tmp_path: Path, target: str, told: str) -> None:
    places = {"model": run / "model", **{name: tmp_path / name for name in ("file", "half", "link")}}
    places["file"].touch()
    places["half"].mkdir()
    (places["half"] / "config.json").write_text('{"model_type": "iter"}')
    places["link"].symlink_to(places["half"])
    with pytest.raises(ConfigError, match=told):
        export(run, places[target], "--overwrite")
    assert json.loads((run / "model" / "config.json").read_text())["model_type"] == "iter"


@pytest.mark.parametrize("overwrite", [False, True])
def test_whole_or_not_at_all(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool) -> None:
    out = tmp_path / "out"
    if overwrite:
        export(run, out)
    before = {path.name: path.read_bytes() for path in out.glob("*")}

    def fails(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "model_card", fails)
    with pytest.raises(OSError, match="No space left"):
        export(run, out, *(["--overwrite"] if overwrite else []))
    assert {path.name: path.read_bytes() for path in out.glob("*")} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == (["out", "runs"] if overwrite else ["runs"])


def test_the_old_folder_is_back_where_the_new_one_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    replace = Path.replace

    def refuses(self: Path, to: Path) -> Path:
        if to == target and (self / "new").exists():
            raise OSError(5, "Input/output error")
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", refuses)
    with pytest.raises(OSError, match="Input/output"), folders.whole_folder(target) as part:
        (part / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_a_model_of_ready_made_batches_is_not_published(run: Path, tmp_path: Path) -> None:
    for path in (run / "model").glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ConfigError, match="has no tokenizer"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(IterError, match="no ITER model"):
        export(tmp_path / "nothing", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# the card -----------------------------------------------------------------------------------------------------------


def test_the_hub_understands_the_card(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out", "--license", "CC-BY-4.0")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert (card.data.license, card.data.language, card.data.datasets) == ("cc-by-4.0", ["en"], ["conll04"])
    assert (card.data.library_name, card.data.pipeline_tag) == ("iter_lightning", "token-classification")
    assert card.data.base_model is None  # it was a folder
    results = {result.metric_name: result for result in card.data.eval_results}
    assert len(results) == 9
    strict = results["RE+ micro F1"]
    assert strict.metric_value == round(14 / (14 + 6 + 7), 4)
    assert (strict.task_type, strict.dataset_type, strict.dataset_split) == ("relation-extraction", "conll04", "test")
    assert strict.metric_args == {"average": "micro", **EvaluationDefinition().to_dict(), "link_threshold": 0.5}
    assert results["NER micro recall"].metric_value == round(31 / 54, 4)


def test_dev_stands_in_the_index_where_nothing_was_tested() -> None:
    from iter_lightning.apps.export.facts import Scored

    tested = ModelFacts(model().config, 1, 512, MANIFEST, (Scored("dev", EvaluationDefinition(), None, SCORES),))
    card = ModelCard(model_card(tested, CardOptions("owner/mine")))
    assert {result.dataset_split for result in card.data.eval_results} == {"validation"}
    assert card.data.model_name == "mine"
    assert "λ: not recorded" in card.text


def test_every_number_stands_with_its_meaning(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    meaning = "gold: corpus · match: position · symmetric: once · split_protocol: clean · λ: 0.5"
    for split in ("dev", "test"):
        assert f"micro · split: {split} · {meaning}" in text
    assert text.index("### dev") < text.index("### test")
    assert text.count("| NER | `Loc` | 75.0 | 60.0 | 66.7 | 50 |") == 2
    assert text.count("| RE+ | 53.8 | 50.0 | 51.9 | 7 | 6 | 7 |") == 2
    assert "| split: test · gold: corpus · match: surface" in text
    assert "`match: surface`: equal mentions" in text
    assert "`gold: encoded`" not in text
    assert "**λ was changed after these scores were made**: this model links above λ = 0.4 (chosen on dev" in text


def test_what_the_run_recorded_is_told(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out", "--watts", "50")
    text = (tmp_path / "out" / "README.md").read_text()
    for part in (
        "`tiny-bert` (bert)", "ω = 2", CONLL04.licence, CONLL04.citation, "| train | 922 | 3377 | 1283 |",
        "`abc123` with uncommitted changes", "the run `first`, sha256 f00d", "MovingAverage(decay=0.99)",
        "| `model.encoder_group.learning_rate` | `0.0003` |", "7 of 3377 entities, 3 of 1283 relations; 4 words",
        "2.00 h of wall time", "in 2 attempts", "0.100 kWh = 2.00 h x 50 W / 1000", "epoch 2 (from 0), dev F1 62.5",
        "An entity in which more than 1 others start", "2024.findings-emnlp.655",
    ):  # fmt: skip
        assert part in text, part


def test_a_run_that_had_not_finished_says_so() -> None:
    assert "had not finished" in model_card(facts(**{**MANIFEST, "status": "running"}), CardOptions("x"))
    assert "had not finished" not in model_card(facts(**MANIFEST), CardOptions("x"))


def test_names_cannot_break_the_card() -> None:
    odd = Schema(("a|b", "<script>`x`", "line\nbreak"), ("yes: - [no]",))
    shown = model_card(ModelFacts(tiny_model(schema=odd).config, 1, 512), CardOptions("owner/x", license="My own, v1"))
    assert "| entity types | `a\\|b`, `<script>'x'`, `line break` |" in shown
    data = yaml.safe_load(shown.split("---\n")[1])
    assert (data["license"], data["license_name"]) == ("other", "my-own-v1")
    assert "| licence of the weights | My own, v1 |" in shown


def test_licences() -> None:
    assert license_fields(None) == ("unknown", None)
    assert license_fields("Apache-2.0") == ("apache-2.0", None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"languages": ("english",)}, "language 'english': expected an ISO 639 code"),
        ({"license": " "}, "the licence is empty"),
        ({"watts": -1.0}, "watts must be above 0"),
    ],
)
def test_bad_options(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        CardOptions("x", **options)


def test_many_languages_are_multilingual_to_the_hub_and_xx_to_spacy() -> None:
    card = model_card(facts(), CardOptions("x", languages=("xx",)))
    assert ModelCard(card).data.language == ["multilingual"]
    assert "language='xx'" in card
    assert "language='de'" in model_card(facts(), CardOptions("x", languages=("de",)))


def test_the_card_names_the_language_that_the_model_stores() -> None:
    german = replace(facts(), config=replace(facts().config, language="de"))
    text = model_card(german, CardOptions("x"))
    assert ModelCard(text).data.language == ["de"]
    assert "language='de'" in text
    assert "--language" not in text  # the model knows
    assert "--language fr" in model_card(german, CardOptions("x", languages=("fr",)))
    many = replace(facts(), config=replace(facts().config, language="xx"))
    assert ModelCard(model_card(many, CardOptions("x"))).data.language == ["multilingual"]


def test_a_model_of_documents_is_used_on_documents() -> None:
    data = {"class_path": "x.SciERC", "init_args": {"coreference": True}}
    text = model_card(facts(config={"data": data}), CardOptions("x"))
    assert "language='en', context='document')" in text
    assert 'config={"model": \'x\', "context": "document"})' in text
    assert "found.jsonl --context document" in text
    assert "context" not in usage(facts(), CardOptions("x"))


def test_a_damaged_run_is_told(run: Path, tmp_path: Path) -> None:
    (run / "results.json").write_text(json.dumps({"test": [{"definition": {"gold": "fools"}, "scores": {}}]}))
    with pytest.raises(ConfigError, match=r"results.json: test: entry 0: .*fools"):
        export(run, tmp_path / "out")
    (run / "manifest.json").write_text("[")
    with pytest.raises(ConfigError, match=r"manifest.json is damaged"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("google/flan-t5-large", "google/flan-t5-large"),
        ("package:minilm", "package:minilm"),
        ("/data/models/mine", "mine"),
        ("../models/mine", "mine"),
        ("a/b/mine", "mine"),
    ],
)
def test_public_names(name: str, shown: str) -> None:
    assert public_name(name) == shown


def test_a_table() -> None:
    assert table(("a", "b"), [(1, "x|y\nz")]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y z |"


# the code of the card -----------------------------------------------------------------------------------------------


def test_the_code_of_the_card_runs(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(run, tmp_path / "out")
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


def test_the_commands_of_the_card_are_understood(run: Path, tmp_path: Path) -> None:
    from iter_lightning.extraction import cli

    (lines,) = re.findall(
        r"```bash\n(.*?)```", model_card(facts(), CardOptions("owner/x", languages=("de",))), re.DOTALL
    )
    commands = [line.split()[3:] for line in lines.splitlines()]
    assert [verb for verb, *_ in commands] == ["extract", "extract", "serve"]
    for _, *arguments in commands[:2]:
        options = cli._parser().parse_args(arguments)
        assert (options.model, options.language) == ("owner/x", "de")


# onnx ---------------------------------------------------------------------------------------------------------------


def test_graphs_come_with_how_near_they_are(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from iter_lightning.apps.onnx import export as onnx

    def graphs(model: IterModel, folder: Path, precision: str) -> str:
        (folder / "onnx").mkdir()
        (folder / "onnx" / "encoder.onnx").write_text(precision)
        return "the same | everywhere"

    monkeypatch.setattr(onnx, "export_onnx", graphs)
    export(run, tmp_path / "out", "--onnx", "int8")
    assert (tmp_path / "out" / "onnx" / "encoder.onnx").read_text() == "int8"
    text = (tmp_path / "out" / "README.md").read_text()
    assert "against the model: the same | everywhere." in text
    assert 'backend="onnx"' in text
    export(run, tmp_path / "out", "--overwrite")
    assert not (tmp_path / "out" / "onnx").exists()


# the hub ------------------------------------------------------------------------------------------------------------


@dataclass
class FakeHub:
    """`HfApi` as far as it is used."""

    public: bool = True
    fails: Exception | None = None
    token: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, token: str) -> FakeHub:
        self.token = token
        return self

    def create_repo(self, name: str, **options: Any) -> None:
        self.calls.append(("create", {"name": name, **options}))

    def repo_info(self, name: str, **_: Any) -> Any:
        return SimpleNamespace(private=not self.public)

    def upload_folder(self, **options: Any) -> Any:
        if self.fails:
            raise self.fails
        self.calls.append(("upload", options))
        return SimpleNamespace(commit_url="https://hub/commit/1")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_secret123")
    return fake


def test_push(run: Path, tmp_path: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    export(run, tmp_path / "out", "--push", "owner/mine", "--license", "mit")
    (create, made), (upload, sent) = hub.calls
    assert (create, upload) == ("create", "upload")
    assert (made["name"], made["private"], made["exist_ok"]) == ("owner/mine", None, True)
    assert (sent["repo_id"], sent["folder_path"]) == ("owner/mine", tmp_path / "out")
    shown = capsys.readouterr()
    assert "uploaded: https://hub/commit/1" in shown.out
    assert "secret" not in shown.out + shown.err
    assert "from_pretrained('owner/mine'" in (tmp_path / "out" / "README.md").read_text()


def test_private_is_never_uploaded_to_a_public_place(tmp_path: Path, hub: FakeHub) -> None:
    with pytest.raises(ConfigError, match="is there already and public: nothing was uploaded"):
        push(tmp_path, "owner/mine", private=True)
    assert [name for name, _ in hub.calls] == ["create"]
    hub.public = False
    assert push(tmp_path, "owner/mine", private=True) == "https://hub/commit/1"


def test_without_a_token_the_folder_stays(
    run: Path, tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ConfigError, match=r"no token for the hub: set HF_TOKEN .* whole and stays") as told:
        export(run, tmp_path / "out", "--push", "owner/mine")
    assert "\n" not in str(told.value)
    assert hub.calls == []
    assert Extractor.from_pretrained(tmp_path / "out", language="none").schema == SCHEMA


@pytest.mark.parametrize(
    "fault",
    [
        OfflineModeIsEnabled("offline mode\nis on, token hf_secret123"),
        ConnectionError("no route; hf_secret123"),
        next(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))("[Errno -2] hf_other no name"),
    ],
)
def test_a_hub_that_cannot_be_reached(tmp_path: Path, hub: FakeHub, fault: Exception) -> None:
    hub.fails = fault
    with pytest.raises(ConfigError, match=r"owner/mine was not uploaded: .* whole and stays") as told:
        push(tmp_path, "owner/mine")
    assert "\n" not in str(told.value)
    assert "hf_" not in str(told.value)


@pytest.mark.parametrize("name", ["mine", "a/b/c", "owner/", "owner/a--b", "owner/mi ne", ""])
def test_ids_the_hub_would_not_take(name: str) -> None:
    with pytest.raises(ConfigError, match="--push"):
        check_repo_id(name)


def test_private_alone(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--private goes with --push"):
        export(run, tmp_path / "out", "--private")
    assert not (tmp_path / "out").exists()
