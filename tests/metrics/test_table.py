"""The text table: numbers in percent, aligned, with the definition beneath."""

from __future__ import annotations

from iter_lightning.metrics import EvaluationDefinition, ExtractionMetric, format_table
from iter_lightning.types import Entity, Example, Relation
from tests.metrics.cases import SCHEMA, predicted

DEFINITION = EvaluationDefinition()


def metric() -> ExtractionMetric:
    person, place = Entity(0, 1, "Per"), Entity(1, 2, "Loc")
    gold = Example(("Ada", "London"), (person, place), (Relation(person, place, "LiveIn"),))
    result = ExtractionMetric(SCHEMA, DEFINITION)
    result.update([predicted((person,))], [gold])
    return result


def test_one_row_a_split_and_task() -> None:
    lines = format_table({"dev": metric().report(), "test": metric().report()}, DEFINITION).splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["split", "task"], *([split, task] for split in ("dev", "test") for task in ("NER", "RE", "RE+"))
    ]  # fmt: skip
    assert lines[1].split() == ["dev", "NER", "100.0", "50.0", "66.7", "1", "0", "1"]
    assert lines[-1] == f"micro, percent · {DEFINITION.describe()}"


def test_one_row_a_type_on_request() -> None:
    lines = format_table({"dev": metric().report()}, DEFINITION, per_type=True).splitlines()
    assert [line.split()[1] for line in lines[1:-1]] == [
        "NER", *SCHEMA.entity_types, "RE", *SCHEMA.relation_types, "RE+", *SCHEMA.relation_types
    ]  # fmt: skip


def test_columns_stay_aligned_whatever_the_width() -> None:
    huge = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "tp": 123_456_789, "fp": 0, "fn": 0, "support": 123_456_789}
    reports = {"a very long split": {"NER": {"micro": huge, "macro": {}, "per_type": {"a long type": huge}}}}
    lines = format_table({**reports, "dev": metric().report()}, DEFINITION, per_type=True).splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1
    ends = [line.index("F1") + 2 for line in lines[:1]]
    assert all(line[end - 1] != " " and line[end] == " " for line in lines[:-1] for end in ends)


def test_no_scores_still_name_the_definition() -> None:
    assert format_table({}, DEFINITION).splitlines()[1:] == [f"micro, percent · {DEFINITION.describe()}"]
