"""The published values against literals read again from the paper, and against each other."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from iter_lightning.studies.tables.published import published, published_scores

OURS = {"flan-t5-large", "flan-t5-xl", "deberta-v3-large", "bert-large", "scideberta-full"}
RELATION_CORPORA = {"conll04", "ace05", "ade", "scierc"}
DIFFERENT = {
    2: {("ace05", "flan-t5-xl", "NER"): (91.7, 91.6), ("ace05", "flan-t5-xl", "RE+*"): (72.7, 72.6),
        ("genia", "flan-t5-large", "NER"): (80.4, 80.2)},
    4: {("ace05", "t5-large", "NER"): (91.0, 90.7), ("ace05", "t5-large", "RE+"): (69.4, 66.3)},
    7: {("conll04", "flan-t5-large", "NER"): ([89.7, 0.51], [89.8, 0.51]),
        ("conll04", "flan-t5-large", "RE+"): ([75.1, 0.39], [75.2, 0.39]),
        ("ace05", "flan-t5-large", "NER"): ([91.5, 0.16], [91.5, 0.24])},
}  # fmt: skip
"""Table -> (corpus, row, task) -> its value and Table 6's."""


def row_of_table2(key: str) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {row["key"]: row for row in published()["table2"]["rows"]}
    return rows[key]


def test_table_1() -> None:
    table = published()["table1"]
    assert list(table) == ["conll03", "conll04", "scierc", "ade", "ace05", "genia", "nyt"]
    sizes = {corpus: (row["train"], row["dev"], row["test"]) for corpus, row in table.items()}
    assert sizes["conll04"] == (922, 231, 288)
    assert sizes["scierc"] == (1861, 275, 551)
    assert sizes["ade"] == (4272, "10%*", "10%*")
    assert sizes["genia"] == (16692, "†", 1854)
    assert sizes["nyt"] == (56196, 5000, 5000)
    assert [row["omega"] for row in table.values()] == [1, 1, 3, 2, 1, 4, 2]
    assert [row["overlapping"] for row in table.values()] == ["0", "0", "2.7%", "1.6 - 4.4%", "0", "21.6%", "1.1%"]


@pytest.mark.parametrize(
    ("key", "parameters", "values"),
    [
        ("bert-large", "340 M", {
            "ace05": {"NER": 88.3, "RE+": 64.5, "RE+*": 65.4}, "conll04": {"NER": 87.4, "RE+": 68.0},
            "ade": {"NER": 90.9, "RE+": 82.8}, "scierc": {"NER": 53.2, "RE+": 28.1, "RE+*": 28.6},
            "genia": {"NER": 77.6},
        }),
        ("scideberta-full", "436 M", {"scierc": {"NER": 68.1, "RE+": 38.4, "RE+*": 40.1}}),
        ("uie", None, {
            "ace05": {"NER": 85.8, "RE+": 66.1, "RE+*": None}, "conll04": {"NER": None, "RE+": 75.0},
            "scierc": {"NER": None, "RE+": 36.53}, "conll03": {"NER": 92.99},
        }),
        ("tf-mtrnn", "unknown", {"conll04": {"NER": 93.6, "RE+": 72.1}, "conll03": {"NER": 86.8}}),
        ("flan-t5-xl", "1.3 B", {"genia": {"NER": 81.2}}), ("asp-t0-3b", "2.8 B", {}),
        ("deepstruct", "10 B", {"genia": {"NER": 80.8}}), ("diffusionner", "381 M", {"genia": {"NER": 81.53}}),
    ],
)  # fmt: skip
def test_rows_of_table_2(key: str, parameters: str | None, values: dict[str, Any]) -> None:
    row = row_of_table2(key)
    assert parameters in (None, row["parameters"])
    assert row["values"] == values or (len(values) <= 1 and values.items() <= row["values"].items())


def test_table_2_has_the_tasks_of_each_corpus() -> None:
    rows = published()["table2"]["rows"]
    assert len(rows) == len({row["key"] for row in rows}) == 23
    assert {row["key"] for row in rows if row["ours"]} == OURS
    for row in rows:
        for corpus, cells in row["values"].items():
            tasks = ["NER", "RE+", "RE+*"][: {"ace05": 3, "scierc": 3, "conll04": 2, "ade": 2}.get(corpus, 1)]
            assert set(cells) <= set(tasks), (row["key"], corpus)
            assert any(value is not None for value in cells.values()), (row["key"], corpus)
            assert not row["ours"] or None not in cells.values(), (row["key"], corpus)


def test_table_3() -> None:
    table = published()["table3"]
    assert len(table) == 16
    speed = {(row["corpus"], row["level"], row["context"], row["model"]): row for row in table}
    assert speed["ace05", None, "with", "ASP + T5 (large)"]["samples_per_second"] == 34.826
    assert speed["ace05", None, "without", "PL Marker (base)"]["samples_per_second"] == 211.7
    assert speed["conll03", "document", None, "ASP + T5 (small)"]["samples_per_second"] == 5.6685
    assert speed["conll03", "sentence", None, "ITER + T5 (small)"]["samples_per_second"] == 3276.12
    assert speed["conll04", None, None, "ASP + T5 (3b)"]["parameters"] == "2.9 B"
    assert speed["conll03", "sentence", None, "ITER + FT5 (large)"]["tokens"] == {"min": 2, "max": 213, "avg": 24.55}
    for row in table:
        run_on = ("H100", 8) if row["level"] == "document" else ("RTX 4090", 64)
        assert (row["device"], row["batch_size"]) == ((None, None) if "PL Marker" in row["model"] else run_on)


def test_table_4() -> None:
    assert published()["table4"]["albert-xxlarge"] == {"NER": 91.4, "RE+": 69.8, "samples_per_second": 36.029}
    assert published()["table4"]["t5-large"] == {"NER": 91.0, "RE+": 69.4, "samples_per_second": 175.51}
    assert len(published()["table4"]) == 5


def test_table_5() -> None:
    table = published()["table5"]
    assert set(table) == set(published()["table1"]) - {"nyt"}
    rates = {corpus: (row["encoder"]["learning_rate"], row["heads"]["learning_rate"]) for corpus, row in table.items()}
    assert rates == {
        "conll04": (5e-5, 3e-4), "ade": (2e-4, 2.9e-4), "ace05": (4.9e-5, 5.9e-4), "scierc": (3e-5, 1e-4),
        "genia": (2.6e-4, 8e-4), "conll03": (2e-5, 3e-4),
    }  # fmt: skip
    assert table["genia"]["encoder"]["warmup_ratio"] == 0.2
    assert table["conll04"]["heads"]["warmup_ratio"] == 0.01
    assert table["conll03"]["heads"]["weight_decay"] == 0.0098
    assert [corpus for corpus, row in table.items() if row["heads"]["schedule"] != "linear with warmup"] == ["ade"]
    assert {c: row["batch_size"] for c, row in table.items() if row["batch_size"] != 8} == {"ade": 32, "genia": 16}


def test_table_6_is_whole_and_consistent() -> None:
    """Every F1 is within 0.15 of the harmonic mean of precision and recall: means over seeds, one decimal."""
    table = published()["table6"]
    assert len(table) == len({(row["corpus"], row["symmetric"], row["encoder"]) for row in table}) == 32
    for row in table:
        few = row["encoder"] in ("t5-large", "bart-large", "albert-xxlarge") or (
            row["corpus"] == "conll04" and row["encoder"] == "bert-large"
        )
        assert row["n"] == (10 if row["corpus"] == "ade" else 3 if few else 5)
        tasks = {key for key in row if key in ("NER", "RE", "RE+")}
        assert tasks == ({"NER", "RE", "RE+"} if row["corpus"] in RELATION_CORPORA else {"NER"})
        for task in tasks:
            precision, recall, f1 = (row[task][key][0] for key in ("P", "R", "F1"))
            assert f1 == pytest.approx(2 * precision * recall / (precision + recall), abs=0.15), (row, task)
        if row["symmetric"] == "twice":
            assert row["corpus"] in ("ace05", "scierc")
            once = published_scores(6, row["corpus"], row["encoder"], "NER")
            assert [row["NER"][key] for key in ("P", "R", "F1")] == list(once.values())


@pytest.mark.parametrize("table", [2, 4, 7])
def test_tables_differ_from_table_6_only_where_listed(table: int) -> None:
    tables = published()
    rows = {
        2: [(c, row["key"], task) for row in tables["table2"]["rows"] if row["ours"] for c in row["values"]
            for task in row["values"][c]],
        4: [("ace05", row, task) for row in tables["table4"] for task in ("NER", "RE+")],
        7: [(row["corpus"], row["key"], task) for row in tables["table7"] for task in ("NER", "RE+")],
    }[table]  # fmt: skip
    different = {}
    for corpus, row, task in rows:
        symmetric = "twice" if task.endswith("*") else "once"
        key = (corpus, row, task.rstrip("*"), symmetric)
        here, there = (published_scores(number, *key).get("f1") for number in (table, 6))
        if here and there and (here if table == 7 else here[:1]) != (there if table == 7 else there[:1]):
            different[corpus, row, task] = (here, there) if table == 7 else (here[0], there[0])
    assert different == DIFFERENT[table]


@pytest.mark.parametrize("pair", [pair for table in DIFFERENT.values() for pair in table.values()], ids=str)
def test_every_difference_is_listed_in_the_file(pair: tuple[Any, Any]) -> None:
    values = [str(value) for side in pair for value in (side if isinstance(side, list) else [side])]
    assert any(all(value in text for value in values) for text in published()["disagreements"])


@pytest.mark.parametrize(
    ("cell", "f1"),
    [
        ((2, "conll04", "flan-t5-large", "RE+"), [75.2, None]), ((2, "ade", "tanl", "RE+"), [83.8, None]),
        ((2, "scierc", "flan-t5-large", "RE+"), [31.5, None]),
        ((2, "scierc", "flan-t5-large", "RE+", "twice"), [32.1, None]),
        ((2, "scierc", "flan-t5-large", "NER", "twice"), [63.8, None]),
        ((4, "ace05", "bart-large", "RE+"), [68.5, None]),
        ((6, "scierc", "deberta-v3-large", "RE", "twice"), [52.2, 0.28]),
        ((6, "ace05", "albert-xxlarge", "RE+", "twice"), [70.4, 0.75]), ((6, "ade", "bert-large", "RE+"), [82.8, 1.83]),
        ((7, "conll04", "flan-t5-large+conll03", "RE+"), [76.3, 0.8]),
        ((7, "conll04", "deberta-v3-large", "NER"), [91.2, 0.2]),
        ((7, "ace05", "flan-t5-large+conll03", "NER"), [91.3, 0.15]),
        ((2, "ace05", "pl-marker-albert-xxlarge", "RE+"), None),  # a printed "-"
        ((2, "conll04", "flan-t5-large", "RE+", "twice"), None), ((2, "conll04", "flan-t5-large", "RE"), None),
        ((2, "nyt", "flan-t5-large", "NER"), None), ((2, "ace05", "scideberta-full", "NER"), None),
        ((4, "conll04", "t5-large", "NER"), None), ((4, "ace05", "t5-large", "RE+", "twice"), None),
        ((6, "conll04", "flan-t5-large", "RE+", "twice"), None), ((6, "scierc", "scideberta-full", "NER"), None),
        ((7, "ace05", "flan-t5-xl", "NER"), None), ((7, "ace05", "deberta-v3-large", "RE+", "twice"), None),
    ],
)  # fmt: skip
def test_published_scores_has_the_f1_of_a_cell(cell: tuple[Any, ...], f1: list[Any] | None) -> None:
    assert published_scores(*cell).get("f1") == f1


def test_published_scores_of_table_6_has_precision_and_recall() -> None:
    found = published_scores(6, "conll04", "flan-t5-large", "RE+")
    assert found == {"precision": [77.9, 2.1], "recall": [72.7, 1.38], "f1": [75.2, 0.39]}


def test_published_does_not_import_torch() -> None:
    code = "import sys; from iter_lightning.studies.tables.published import published as p; p()"
    assert subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"]).returncode == 0
