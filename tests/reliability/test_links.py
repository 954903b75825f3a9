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


@pytest.mark.parametrize("itself", [False, True])
def test_a_trained_model_links_an_entity_to_itself_if_the_training_data_does(
    campaign: Campaign, encoder_dir: Path, corpus_dir: Path, itself: bool
) -> None:
    """One epoch teaches a random encoder next to nothing, so that it links everything with everything."""
    corpus = campaign.folder / "corpus"
    corpus.mkdir()
    for split, count in (("train", 12), ("dev", 3), ("test", 3)):
        examples = read_spert(corpus_dir / f"{split}.json")[:count]
        if split == "train" and itself:
            first = examples[0].entities[0]
            kind = next(relation.type for example in examples for relation in example.relations)
            links = (*examples[0].relations, Relation(first, first, kind))
            examples[0] = replace(examples[0], relations=links)
        write_spert(examples, corpus / f"{split}.json")
    run = fit(campaign, encoder_dir, corpus)
    text, output = campaign.folder / "a.txt", campaign.folder / "found.jsonl"
    text.write_text(" ".join(" ".join(example.words) for example in read_spert(corpus / "test.json")))
    outcome = campaign.run(["extract", str(run), str(text), "-o", str(output), "--device", "cpu"], limit_s=300)
    assert outcome.status == 0, outcome.stderr
    for path in (run / "predictions.jsonl", output):
        found = relations(path)
        assert len(found) > 20
        assert any(found) == itself, f"{path.name}: {sum(found)} of {len(found)} relations link an entity to itself"
