from __future__ import annotations

from statistics import mean

import pytest
import torch

from iter_lightning.benchmark.calibration import Density, calibrate, cut
from iter_lightning.benchmark.stages import STAGES, HeadWork, shares, watched_pass
from iter_lightning.corpora.synthetic import SCHEMA, SyntheticConfig, synthetic_splits
from iter_lightning.types import Prediction, Schema
from tests.builders import tiny_model

EXAMPLES = synthetic_splits(SyntheticConfig(sentences=200))["test"]


def density(predictions: list[Prediction]) -> tuple[float, float]:
    return (
        mean(len({entity.span for entity in p.entities}) for p in predictions),
        mean(len(p.relations) for p in predictions),
    )


@pytest.mark.parametrize(("omega", "symmetric"), [(1, ()), (3, ()), (1, SCHEMA.relation_types[:2])])
def test_calibrated_heads_find_what_the_corpus_holds(omega: int, symmetric: tuple[str, ...]) -> None:
    schema = Schema(SCHEMA.entity_types, SCHEMA.relation_types, symmetric)
    model = tiny_model("bert", schema, omega=omega)
    wanted = Density.of(EXAMPLES)
    found = calibrate(model, EXAMPLES, wanted)
    assert found.lefts == pytest.approx(wanted.lefts, rel=0.05)
    assert found.spans == pytest.approx(wanted.spans, rel=0.1)
    assert found.relations == pytest.approx(wanted.relations, rel=0.1)
    spans, relations = density(model.predict(EXAMPLES, 16))
    assert spans == pytest.approx(wanted.spans, rel=0.1)
    assert relations == pytest.approx(wanted.relations, rel=0.1)


def test_a_sample_stands_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iter_lightning.benchmark.calibration.SAMPLE", 40)
    model, wanted = tiny_model("t5", SCHEMA, omega=2), Density.of(EXAMPLES)
    calibrate(model, EXAMPLES, wanted)
    spans, _ = density(model.predict(EXAMPLES))
    assert spans == pytest.approx(wanted.spans, rel=0.25)


def test_a_second_call_replaces_the_first() -> None:
    model, wanted = tiny_model("bert", SCHEMA, omega=1), Density.of(EXAMPLES)
    first = calibrate(model, EXAMPLES, wanted.with_spans(2))
    assert first.spans == pytest.approx(2, rel=0.1)
    assert calibrate(model, EXAMPLES, wanted.with_spans(4)).spans == pytest.approx(4, rel=0.1)
    assert [len(head._forward_hooks) for head in (model.is_left, model.is_span)] == [1, 1]


def test_heads_without_relations() -> None:
    model = tiny_model("bert", Schema(SCHEMA.entity_types), omega=1)
    bare = [type(e)(e.words, e.entities) for e in EXAMPLES]
    found = calibrate(model, bare, Density.of(bare))
    assert found.relations == 0
    assert found.spans == pytest.approx(Density.of(bare).spans, rel=0.25)


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_cut_is_exceeded_by_as_many(count: int) -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, 0.5, -4.0, 1.0])
    assert int((logits > cut(logits, count)).sum()) == count
    assert cut(torch.empty(0), count) == 0.0


def test_density_of_gold() -> None:
    wanted = Density.of(EXAMPLES)
    assert wanted.lefts <= wanted.spans == mean(len({e.span for e in x.entities}) for x in EXAMPLES)
    assert wanted.with_spans(10).relations == pytest.approx(wanted.relations * 10 / wanted.spans)


def test_stages_make_up_a_pass_and_find_what_predict_finds() -> None:
    model = tiny_model("bert", SCHEMA, omega=2)
    calibrate(model, EXAMPLES, Density.of(EXAMPLES))
    seconds, work, found = watched_pass(model, EXAMPLES, 8)
    assert tuple(seconds) == STAGES
    assert all(value >= 0 for value in seconds.values())
    assert density(found) == pytest.approx(density(model.predict(EXAMPLES, 8)))
    assert work.lefts == sum(len(e.words) for e in EXAMPLES)
    assert 0 < work.spans <= work.candidates
    assert work.pairs >= work.spans
    share, _, again = shares(model, EXAMPLES, None, 512, passes=2)
    assert sum(share.values()) == pytest.approx(1)
    assert (again.lefts, HeadWork(1, 2) + HeadWork(3)) == (work.lefts, HeadWork(4, 2))
