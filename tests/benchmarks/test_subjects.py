from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch

from benchmarks.subjects import ARCHITECTURES, Floor, Subject, bare_encoder, calibrated, cut, density, load_subject
from iter_lightning.corpora.synthetic import SCHEMA, SyntheticConfig, synthetic_splits
from iter_lightning.errors import ConfigError
from iter_lightning.model import IterModel
from iter_lightning.model import encoder as encoders
from iter_lightning.types import Schema
from tests.builders import tiny_model

EXAMPLES = synthetic_splits(SyntheticConfig(sentences=80))["test"]
PARAMETERS = {
    "minilm": 22.6, "t5-small": 35.3, "t5-base": 109.6, "t5-large": 334.9, "flan-t5-large": 341.2, "bert-base": 108.9,
    "bert-large": 334.1, "roberta-base": 124.1, "deberta-v3-large": 434.0, "modernbert-base": 149.0,
}  # fmt: skip


def untrained(model: IterModel, examples: list[Any] = EXAMPLES) -> Subject:
    return Subject("encoder", "tiny", model.eval(), examples, density(examples))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_has_the_published_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        encoder = encoders.build_encoder(encoders.config_from_dict(ARCHITECTURES[name]))
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(PARAMETERS[name], abs=0.06)


@pytest.mark.parametrize(("omega", "symmetric"), [(1, ()), (3, ()), (1, SCHEMA.relation_types[:2])])
def test_calibrated_heads_find_what_the_corpus_holds(omega: int, symmetric: tuple[str, ...]) -> None:
    schema = Schema(SCHEMA.entity_types, SCHEMA.relation_types, symmetric)
    subject = calibrated(untrained(tiny_model("bert", schema, omega=omega)))
    assert subject.found is not None
    assert subject.wanted is not None
    assert subject.found["spans"] == pytest.approx(subject.wanted["spans"], rel=0.1)
    assert subject.found["relations"] == pytest.approx(subject.wanted["relations"], rel=0.15)
    assert density(subject.model.predict(EXAMPLES)) == pytest.approx(subject.found)
    assert calibrated(subject) is subject


def test_calibrated_heads_without_relations_find_spans_only() -> None:
    bare = [type(e)(e.words, e.entities) for e in EXAMPLES]
    subject = calibrated(untrained(tiny_model("bert", Schema(SCHEMA.entity_types), omega=1), bare))
    assert subject.found is not None
    assert subject.found["relations"] == 0
    assert subject.found["spans"] == pytest.approx(density(bare)["spans"], rel=0.1)


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_cut_is_exceeded_by_as_many(count: int) -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, 0.5, -4.0, 1.0])
    assert int((logits > cut(logits, count)).sum()) == count
    assert cut(torch.empty(0), count) == 0.0


@pytest.mark.parametrize("family", ["bert", "t5", "deberta_v3"])
def test_floor_reads_every_window_once_with_the_models_weights(family: str) -> None:
    subject = untrained(tiny_model(family))
    floor = Floor(subject, bare_encoder(subject), 4)
    widths = [ids.shape[1] for ids, _ in floor.batches]
    assert widths == sorted(widths, reverse=True)
    assert [len(ids) for ids, _ in floor.batches] == [4] * 5
    ids, mask = floor.batches[0]
    subject.model.packing = False
    with torch.no_grad():
        ours = subject.model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        assert torch.allclose(floor.encoder(input_ids=ids, attention_mask=mask).last_hidden_state, ours, atol=1e-5)
    assert max(ids.numel() for ids, _ in Floor(subject, floor.encoder, None, 500).batches) <= 500
    floor()


@pytest.mark.parametrize(("kind", "name", "label"), [
    ("model", "/a/b/runs/c/seed1/model", "c/seed1"),
    ("encoder", "package:some_package", "some_package, untrained heads"),
    ("encoder", "google-t5/t5-small", "google-t5/t5-small, untrained heads"),
    ("architecture", "t5-small", "t5-small, random weights"),
])  # fmt: skip
def test_label_holds_no_folder_above_the_run(kind: str, name: str, label: str) -> None:
    assert Subject(kind, name, tiny_model("bert"), [], None).label == label


@pytest.mark.parametrize(("changes", "message"), [
    ({"device": "gpu"}, "device 'gpu'"), ({"split": "valid"}, "synthetic has no split 'valid'; expected one of train"),
    ({"corpus": "conll4"}, "conll4"), ({}, "architecture 't5-tiny' is not known; expected one of minilm, t5-small"),
])  # fmt: skip
def test_load_subject_of_something_unknown_is_refused(changes: dict[str, str], message: str) -> None:
    values = {"device": "cpu", "corpus": "synthetic", "split": "test", "sentences": 4, "data": "data", "fold": None,
              "omega": None, "left_width": None, "pair_width": None, "lengths": [32]}  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        load_subject(Namespace(**{**values, **changes}), "architecture", "t5-tiny")
