"""Mixtures of corpora with different types: what a step asks, and training of an open model on them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from iter_lightning.cli import main
from iter_lightning.corpora.labeled import Label, LabeledCorpus
from iter_lightning.errors import ConfigError, CorpusError
from iter_lightning.model import IterModel
from iter_lightning.training.label_sampling import LabelSampler, SamplingConfig
from iter_lightning.training.mixture import DEFAULT_SCHEMA, Mixture
from iter_lightning.types import Entity, Example, Schema
from tests.builders import tiny_model

PEOPLE = ["Ada", "Grace", "Alan", "Emmy", "Kurt"]
FOODS = ["flour", "butter", "sugar", "milk", "rice"]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two corpora: persons who work for companies, and foods; the second marks only some entities."""
    news = [
        {"tokens": [name, "works", "for", "Acme"], "orig_id": name,
         "entities": [{"type": "Per", "start": 0, "end": 1}, {"type": "Org", "start": 3, "end": 4}],
         "relations": [{"type": "Work_For", "head": 0, "tail": 1}]}
        for name in PEOPLE
    ]  # fmt: skip
    food = [
        {"tokens": ["mix", name, "well"], "entities": [{"type": "FOOD", "start": 1, "end": 2}], "relations": []}
        for name in FOODS
    ]
    news_types = {"entities": {"Per": {"verbose": "person", "description": "A human being."}, "Org": {}},
                  "relations": {"Work_For": {"verbose": "works for"}}}  # fmt: skip
    food_types = {"entities": {"FOOD": {"verbose": "food"}}, "relations": {}, "meta": {"entities_exhaustive": False}}
    for name, records, types in (("news", news, news_types), ("food", food, food_types)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "types.json").write_text(json.dumps(types))
        for split in ("train", "dev"):
            (tmp_path / name / f"{split}.json").write_text(json.dumps(records))
    return tmp_path


def connected(folders: Path, **options: object) -> Mixture:
    data = Mixture(data_dir=str(folders), steps_per_epoch=30, batch_size=3, **options)
    model = tiny_model(omega=3)
    data.connect(model.aligner(), model.collate)
    return data


def test_train_dataloader_batches_come_from_one_corpus_each(folders: Path) -> None:
    data = connected(folders)
    assert [corpus.name for corpus in data.trained] == ["food", "news"]
    kinds = set()
    for batch in data.train_dataloader():
        assert batch.labels is not None
        kinds.add((batch.labels.entities_exhaustive, bool(batch.labels.relations)))
        for _, kind in batch.gold_types_T2.tolist():
            assert kind < len(batch.labels.entities)
    assert kinds == {(True, True), (False, False)}


def test_train_dataloader_is_the_same_for_the_same_epoch(folders: Path) -> None:
    first, second = ([b.labels for b in connected(folders).train_dataloader()] for _ in range(2))
    assert first == second


def test_weights_and_temperature_choose_corpora(folders: Path) -> None:
    data = connected(folders, weights={"food": 0.0})
    assert all(batch.labels.entities_exhaustive for batch in data.train_dataloader())
    with pytest.raises(ConfigError, match="weights: fod not among"):
        connected(folders, weights={"fod": 1.0}).trained  # noqa: B018


def test_trained_without_any_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no folder with types.json and train.json"):
        connected(tmp_path).trained  # noqa: B018


def sampler(**options: float) -> LabelSampler:
    """A corpus of six types, two of which occur, beside one with words of its own."""
    names = tuple(f"kind{n}" for n in range(6))
    labels = {name: Label(name.upper(), name, f"about {name}") for name in names}
    foreign = LabeledCorpus("b", Schema(("gadget",)), {"gadget": Label("g", "gadget")}, {})
    corpora = [LabeledCorpus("a", Schema(names), labels, {}), foreign]
    return LabelSampler(corpora, SamplingConfig(**options))  # type: ignore[arg-type]


EXAMPLE = Example(("x", "y"), (Entity(0, 1, "kind0"), Entity(1, 2, "kind1")))


def test_sample_asks_present_and_absent_labels_in_several_wordings() -> None:
    drawn = [sampler().sample(0, [EXAMPLE], random.Random(n)) for n in range(300)]
    asked = [set(question.entity_types) for question in drawn]
    assert 0.75 < sum(0 in types for types in asked) / 300 < 0.95  # dropped now and then
    assert sum(bool(types & {2, 3, 4, 5}) for types in asked) > 200
    texts = {text for question in drawn for text in question.labels.entities}
    assert {"kind0", "kind0: about kind0", "kind 0", "gadget"} & texts >= {"kind0", "kind0: about kind0", "gadget"}
    for question in drawn:
        names = question.labels.entities
        assert len(set(names)) == len(names)
        assert len(question.entity_types) <= len(names) <= SamplingConfig().max_entities


def test_sample_limits_hold() -> None:
    for n in range(50):
        question = sampler(max_entities=2, drop=0.0, foreign=0).sample(0, [EXAMPLE], random.Random(n))
        assert sorted(question.entity_types) == [0, 1]


def test_fit_open_model_on_a_mixture_end_to_end(folders: Path, encoder_dir: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [
        "--data=Mixture", f"--data.data_dir={folders}", "--data.dev=[news, food]", "--data.steps_per_epoch=3",
        "--data.batch_size=2", f"--model.encoder={encoder_dir}", "--model.heads=open", "--model.predicted_lefts=true",
        "--model.loss_reduction=batch_mean", "--trainer.max_epochs=2", "--trainer.accelerator=cpu",
        f"--run_dir={run}", "--wandb.mode=disabled", "--experiment=open",
    ]  # fmt: skip
    assert main(["fit", *arguments]) == 0
    results = json.loads((run / "results.json").read_text())["dev"]
    assert [entry["corpus"] for entry in results] == ["news", "food"]
    model = IterModel.from_pretrained(run)
    assert model.config.heads == "open"
    assert model.config.schema == DEFAULT_SCHEMA
    bound = model.bind(Schema(("person", "company"), ("works for",)))
    assert bound.predict([Example(("Ada", "works", "for", "Acme"))])

    # another open model starts from it and stays open
    again = [a for a in arguments if not a.startswith(("--run_dir", "--trainer.max"))]
    longer = tmp_path / "longer"
    assert main(["fit", *again, f"--run_dir={longer}", f"--model.init_from={run}", "--trainer.max_epochs=1"]) == 0
    assert json.loads((longer / "manifest.json").read_text())["init"]["fresh"] == []
    assert IterModel.from_pretrained(longer).config.heads == "open"

    # a closed model starts from it and takes everything
    few = tmp_path / "few"
    types, file = folders / "news" / "types.json", folders / "news" / "train.json"
    assert main([
        "fit", "--data=Custom", f"--data.train={file}", f"--data.dev={file}", f"--data.types={types}",
        f"--model.encoder={encoder_dir}", f"--model.init_from={run}", "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu", f"--run_dir={few}", "--wandb.mode=disabled", "--experiment=few",
    ]) == 0  # fmt: skip
    manifest = json.loads((few / "manifest.json").read_text())["init"]
    assert manifest["fresh"] == []
    assert IterModel.from_pretrained(few).config.heads == "bound"
