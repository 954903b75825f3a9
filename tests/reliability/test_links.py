"""No relation links an entity to itself unless the training data has such relations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from iter_lightning.corpora.spert import read_spert, write_spert
from iter_lightning.types import Relation
from tests.reliability.campaign import Campaign

pytestmark = pytest.mark.reliability


def fit(campaign: Campaign, encoder: Path, corpus: Path) -> Path:
    run = campaign.folder / f"run-{corpus.name}"
    options = [
        "--data", "Custom", *(f"--data.{split}={corpus / split}.json" for split in ("train", "dev", "test")),
        f"--model.encoder={encoder}", f"--run_dir={run}", "--wandb.mode=disabled", "--trainer.accelerator=cpu",
        "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    for verb in ("fit", "predict"):
        outcome = campaign.run([verb, *options], limit_s=300)
        assert outcome.status == 0, outcome.stderr
    return run


def relations(path: Path) -> list[bool]:
    """For each relation in a file of predictions or documents, whether it links an entity to itself."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        spans = [(entity["start"], entity["end"]) for entity in record["entities"]]
        found += [spans[relation["head"]] == spans[relation["tail"]] for relation in record["relations"]]
    return found


def test_a_trained_model_links_no_entity_to_itself(campaign: Campaign, encoder_dir: Path, corpus_dir: Path) -> None:
    """One epoch teaches a random encoder next to nothing, so that it links everything with everything."""
    run = fit(campaign, encoder_dir, corpus_dir)
    text, output = campaign.folder / "a.txt", campaign.folder / "found.jsonl"
    text.write_text(" ".join(" ".join(example.words) for example in read_spert(corpus_dir / "test.json")))
    outcome = campaign.run(
        ["extract", str(run), str(text), "-o", str(output), "--link-threshold", "0.01", "--device", "cpu"],
        limit_s=300,
    )
    assert outcome.status == 0, outcome.stderr
    for path in (run / "predictions.jsonl", output):
        found = relations(path)
        assert len(found) > 100
        assert not any(found), f"{path.name}: {sum(found)} of {len(found)} relations link an entity to itself"


def test_self_links_are_found_if_the_training_data_has_them(
    campaign: Campaign, encoder_dir: Path, corpus_dir: Path
) -> None:
    corpus = campaign.folder / "itself"
    corpus.mkdir()
    for split in ("train", "dev", "test"):
        examples = read_spert(corpus_dir / f"{split}.json")
        if split == "train":
            kind = next(relation.type for example in examples for relation in example.relations)
            first = examples[0].entities[0]
            links = (*examples[0].relations, Relation(first, first, kind))
            examples = [replace(examples[0], relations=links), *examples[1:]]
        write_spert(examples, corpus / f"{split}.json")
    run = fit(campaign, encoder_dir, corpus)
    assert any(relations(run / "predictions.jsonl"))
