"""Test that the metric does not depend on the division of sentences into batches and processes."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing

from iter_lightning.metrics import EvaluationDefinition, ExtractionMetric
from iter_lightning.metrics.functional import TASKS, Counts, count_entities, count_relations
from iter_lightning.types import Entity, Example, Relation, Schema
from tests.metrics.cases import SCHEMA, Pair, predicted, random_pairs
from tests.metrics.ranks import SHARES, run_rank

TWICE_BY_SURFACE = EvaluationDefinition(match="surface", symmetric="twice")
A, B, GHOST = Entity(0, 1, "Per"), Entity(1, 2, "Loc"), Entity(0, 1, "Ghost")
WORDS = ("Ada", "London")
GOLD = Example(WORDS, (A, B), (Relation(A, B, "LiveIn"),), id="s7")


def metric_of(*batches: list[Pair], definition: EvaluationDefinition | None = None) -> ExtractionMetric:
    metric = ExtractionMetric(SCHEMA, definition)
    for batch in batches:
        metric.update([p for p, _ in batch], [g for _, g in batch])
    return metric


@pytest.mark.parametrize("definition", [EvaluationDefinition(), TWICE_BY_SURFACE], ids=EvaluationDefinition.describe)
def test_the_metric_is_the_sum_of_the_functions(definition: EvaluationDefinition) -> None:
    pairs = random_pairs(50)
    expected: dict[str, dict[str, list[int]]] = {
        task: {name: [0, 0, 0] for name in (SCHEMA.entity_types if task == "NER" else SCHEMA.relation_types)}
        for task in TASKS
    }
    for pred, gold in pairs:
        by_task = {
            "NER": count_entities(gold, pred, definition),
            "RE": count_relations(gold, pred, SCHEMA, definition),
            "RE+": count_relations(gold, pred, SCHEMA, definition, strict=True),
        }
        for task, by_type in by_task.items():
            for name, counts in by_type.items():
                expected[task][name] = [a + b for a, b in zip(expected[task][name], counts, strict=True)]
    metric = metric_of(pairs, definition=definition)
    assert metric.counts() == {t: {name: Counts(*row) for name, row in rows.items()} for t, rows in expected.items()}


def test_batches_and_order_do_not_matter() -> None:
    pairs = random_pairs(40)
    whole = metric_of(pairs)
    shuffled = random.Random(1).sample(pairs, len(pairs))
    for other in (metric_of(*([p] for p in pairs)), metric_of(shuffled), metric_of(pairs[:3], [], pairs[3:])):
        assert other.report() == whole.report()
        assert other.compute() == whole.compute()


def test_compute_holds_the_scalars_of_the_report() -> None:
    metric = metric_of(random_pairs(40))
    values, report = metric.compute(), metric.report()
    assert len(values) == 18
    for task, prefix in (("NER", "ner"), ("RE", "re"), ("RE+", "re_plus")):
        for name in ("precision", "recall", "f1"):
            assert values[f"{prefix}_{name}"].shape == ()
            assert values[f"{prefix}_{name}"].item() == pytest.approx(report[task]["micro"][name])
            assert values[f"{prefix}_macro_{name}"].item() == pytest.approx(report[task]["macro"][name])
    assert 0 < values["re_plus_f1"] < values["ner_f1"] < 1


def test_perfect_predictions_score_one() -> None:
    gold = [g for _, g in random_pairs(40)]
    metric = metric_of([(predicted(g.entities, g.relations), g) for g in gold])
    assert {value.item() for value in metric.compute().values()} == {1.0}


def test_nothing_counted_scores_zero() -> None:
    metric = metric_of([], [(predicted(), Example(WORDS))])
    assert not any(metric.compute().values())


def test_reset_clone_and_pickle() -> None:
    pairs = random_pairs(20)
    metric = metric_of(pairs[:10])
    twins = [metric.clone(), pickle.loads(pickle.dumps(metric))]
    metric.reset()
    assert metric.report() == ExtractionMetric(SCHEMA).report()
    for twin in twins:
        assert twin.report() == metric_of(pairs[:10]).report()
        twin.update([p for p, _ in pairs[10:]], [g for _, g in pairs[10:]])
        assert twin.report() == metric_of(pairs).report()
        assert twin.definition == metric.definition


def test_calling_the_metric_scores_the_batch_and_adds_it() -> None:
    pairs = random_pairs(20)
    metric = metric_of(pairs[:10])
    batch = pairs[10:]
    assert metric([p for p, _ in batch], [g for _, g in batch]) == metric_of(batch).compute()
    assert metric.report() == metric_of(pairs).report()


def test_without_relation_types_there_is_ner_alone() -> None:
    metric = ExtractionMetric(Schema(("A",)))
    metric.update([predicted()], [Example(("x",), (Entity(0, 1, "A"),))])
    assert set(metric.report()) == {"NER"}
    assert not [name for name in metric.compute() if not name.startswith("ner_")]


@pytest.mark.parametrize(
    ("pred", "gold", "message"),
    [
        (predicted((GHOST,)), GOLD, "example 's7': predicted entity type 'Ghost' is not in the schema; those are"),
        (predicted(), Example(WORDS, (GHOST,)), "gold entity type 'Ghost'"),
        (predicted((A, B), (Relation(A, B, "Haunts"),)), GOLD, "predicted relation type 'Haunts'"),
        (predicted(), Example(WORDS, (A, B), (Relation(A, B, "Haunts"),)), "gold relation type 'Haunts'"),
        (predicted((), (Relation(GHOST, B, "LiveIn"),)), GOLD, "predicted argument type 'Ghost'"),
        (predicted((Entity(1, 9, "Loc"),)), GOLD, r"example 's7': predicted entity end 9 is past the sentence \(2"),
        (predicted((), (Relation(A, Entity(1, 9, "Loc"), "LiveIn"),)), GOLD, "entity end 9 is past the sentence"),
    ],
)
@pytest.mark.parametrize("match", ["position", "surface"])
def test_what_cannot_be_scored_is_refused_and_leaves_nothing(
    match: str, pred: Any, gold: Example, message: str
) -> None:
    metric = ExtractionMetric(SCHEMA, EvaluationDefinition(match=match))
    with pytest.raises(ValueError, match=message):
        metric.update([predicted((A,)), pred], [GOLD, gold])
    assert metric.report() == ExtractionMetric(SCHEMA).report()


def test_a_relation_is_refused_where_the_schema_has_none() -> None:
    metric = ExtractionMetric(Schema(("Per", "Loc")))
    with pytest.raises(ValueError, match=r"gold relation type 'LiveIn' is not in the schema; those are \[\]"):
        metric.update([predicted()], [GOLD])


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="1 predictions for 0 gold examples"):
        ExtractionMetric(SCHEMA).update([predicted()], [])


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(run_rank, args=(str(tmp_path), ExtractionMetric(SCHEMA)), nprocs=2)
    seen = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in (0, 1)]
    for name, (first, second, _) in SHARES.items():
        pairs = random_pairs(30)[:second]
        whole, alone = metric_of(pairs), (metric_of(pairs[:first]), metric_of(pairs[first:]))
        for rank in (0, 1):
            found = seen[rank][name]
            assert found["report"] == whole.report(), name
            assert found["computed"] == whole.compute(), name
            assert found["own"] == alone[rank].counts(), name  # after syncing, every rank has its own counts again
