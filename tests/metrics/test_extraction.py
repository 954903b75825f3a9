"""The synchronised metric: equal however the sentences are spread over batches and processes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from iter_lightning.metrics import EvaluationDefinition, ExtractionMetric, format_table
from iter_lightning.types import Entity, Example, Prediction, Relation, Schema
from tests.builders import SCHEMA, random_example


def pairs(size: int) -> list[tuple[Prediction, Example]]:
    rng = random.Random(0)
    result = []
    for _ in range(size):
        gold = random_example(rng)
        entities = tuple(e for e in dict.fromkeys(gold.entities) if rng.random() < 0.7)
        relations = tuple(r for r in gold.relations if r.head in entities and r.tail in entities and rng.random() < 0.7)
        result.append((Prediction(entities, relations, (1.0,) * len(entities), (1.0,) * len(relations)), gold))
    return result


def metric_of(chunks: list[list[tuple[Prediction, Example]]]) -> ExtractionMetric:
    metric = ExtractionMetric(SCHEMA)
    for chunk in chunks:
        metric.update([p for p, _ in chunk], [g for _, g in chunk])
    return metric


def test_batches_do_not_matter() -> None:
    found = pairs(40)
    whole = metric_of([found])
    assert metric_of([[pair] for pair in found[::-1]]).report() == whole.report()
    assert metric_of([found[:3], [], found[3:]]).compute() == whole.compute()
    assert whole.compute()["ner_f1"] == pytest.approx(whole.report()["NER"]["micro"]["f1"])


def test_reset_and_clone() -> None:
    metric = metric_of([pairs(5)])
    twin = metric.clone()
    metric.reset()
    assert metric.counts()["NER"]["Per"].tp == 0
    assert twin.report() == metric_of([pairs(5)]).report()


def test_without_relation_types_there_is_ner_alone() -> None:
    metric = ExtractionMetric(Schema(("A",)))
    metric.update([Prediction()], [Example(("x",), (Entity(0, 1, "A"),))])
    assert set(metric.report()) == {"NER"}
    assert not [name for name in metric.compute() if name.startswith("re")]


def test_misuse_is_told() -> None:
    metric = ExtractionMetric(SCHEMA)
    with pytest.raises(ValueError, match="1 predictions for 0 gold examples"):
        metric.update([Prediction()], [])
    with pytest.raises(ValueError, match="NER: type 'Ghost' is not in the schema"):
        metric.update([Prediction()], [Example(("x",), (Entity(0, 1, "Ghost"),))])


def _rank(rank: int, file: str, folder: str, shares: list[int]) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    found = pairs(30)
    mine = found[: shares[0]] if rank == 0 else found[shares[0] : shares[0] + shares[1]]
    metric = ExtractionMetric(SCHEMA)
    for start in range(0, len(mine), 4):
        metric.update([p for p, _ in mine[start : start + 4]], [g for _, g in mine[start : start + 4]])
    computed = metric.compute()
    torch.save({"report": metric.report(), "computed": computed, "own": metric.counts()["NER"]["Per"].tp},
               Path(folder) / f"{rank}.pt")  # fmt: skip
    torch.distributed.destroy_process_group()


def test_two_processes_with_uneven_and_empty_ranks(tmp_path: Path) -> None:
    for name, shares in (("uneven", [23, 7]), ("empty", [30, 0])):
        folder = tmp_path / name
        folder.mkdir()
        torch.multiprocessing.spawn(_rank, args=(str(folder / "store"), str(folder), shares), nprocs=2)
        whole = metric_of([pairs(30)])
        own = 0
        for rank in (0, 1):
            found = torch.load(folder / f"{rank}.pt")
            assert found["report"] == whole.report()
            assert found["computed"] == whole.compute()
            own += found["own"]
        assert own == whole.counts()["NER"]["Per"].tp  # after synchronising, every rank has its own counts again


def test_table() -> None:
    metric = ExtractionMetric(SCHEMA)
    person, place = Entity(0, 1, "Per"), Entity(1, 2, "Loc")
    gold = Example(("Ada", "London"), (person, place), (Relation(person, place, "LiveIn"),))
    metric.update([Prediction((person,), (), (1.0,), ())], [gold])
    text = format_table({"dev": metric.report()}, EvaluationDefinition(), per_type=True)
    lines = text.splitlines()
    assert lines[1].split() == ["dev", "NER", "100.0", "50.0", "66.7", "1", "0", "1"]
    assert lines[-1] == "micro, percent · gold: corpus · match: position · symmetric: once · split_protocol: clean"
    assert len({len(line) for line in lines[:-1]}) == 1
