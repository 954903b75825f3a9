"""The published values against literals read again from the paper, and against each other."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from iter_lightning.studies.tables.published import published, published_f1, published_scores

OURS = {"flan-t5-large", "flan-t5-xl", "deberta-v3-large", "bert-large", "scideberta-full"}
RELATION_CORPORA = {"conll04", "ace05", "ade", "scierc"}
DIFFERENT_IN_2_AND_6 = {
    ("ace05", "flan-t5-xl", "NER"): (91.7, 91.6),
    ("ace05", "flan-t5-xl", "RE+*"): (72.7, 72.6),
    ("genia", "flan-t5-large", "NER"): (80.4, 80.2),
}
DIFFERENT_IN_4_AND_6 = {("t5-large", "NER"): (91.0, 90.7), ("t5-large", "RE+"): (69.4, 66.3)}
DIFFERENT_IN_7_AND_6 = {
    ("conll04", "flan-t5-large", "NER"): ([89.7, 0.51], [89.8, 0.51]),
    ("conll04", "flan-t5-large", "RE+"): ([75.1, 0.39], [75.2, 0.39]),
    ("ace05", "flan-t5-large", "NER"): ([91.5, 0.16], [91.5, 0.24]),
}


def row_of_table2(key: str) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {row["key"]: row for row in published()["table2"]["rows"]}
    return rows[key]


def f1_of_table6(corpus: str, encoder: str, task: str, symmetric: str = "once") -> list[float] | None:
    f1: list[float] | None = (published_scores(corpus, encoder, symmetric) or {}).get(task, {}).get("F1")
    return f1


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


def test_table_2() -> None:
    rows = published()["table2"]["rows"]
    assert len(rows) == len({row["key"] for row in rows}) == 23
    assert {row["key"] for row in rows if row["ours"]} == OURS
    assert row_of_table2("bert-large")["values"] == {
        "ace05": {"NER": 88.3, "RE+": 64.5, "RE+*": 65.4},
        "conll04": {"NER": 87.4, "RE+": 68.0},
        "ade": {"NER": 90.9, "RE+": 82.8},
        "scierc": {"NER": 53.2, "RE+": 28.1, "RE+*": 28.6},
        "genia": {"NER": 77.6},
    }
    assert row_of_table2("scideberta-full")["values"] == {"scierc": {"NER": 68.1, "RE+": 38.4, "RE+*": 40.1}}
    assert row_of_table2("uie")["values"] == {
        "ace05": {"NER": 85.8, "RE+": 66.1, "RE+*": None},
        "conll04": {"NER": None, "RE+": 75.0},
        "scierc": {"NER": None, "RE+": 36.53},
        "conll03": {"NER": 92.99},
    }
    assert row_of_table2("deepstruct")["values"]["genia"] == {"NER": 80.8}
    assert row_of_table2("diffusionner")["values"]["genia"] == {"NER": 81.53}
    assert row_of_table2("tf-mtrnn")["values"] == {"conll04": {"NER": 93.6, "RE+": 72.1}, "conll03": {"NER": 86.8}}
    assert [row_of_table2(key)["parameters"] for key in ("flan-t5-xl", "asp-t0-3b", "tf-mtrnn")] == [
        "1.3 B", "2.8 B", "unknown",
    ]  # fmt: skip


def test_table_2_has_the_tasks_of_each_corpus() -> None:
    for row in published()["table2"]["rows"]:
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
    assert {corpus: row["batch_size"] for corpus, row in table.items() if row["batch_size"] != 8} == {
        "ade": 32, "genia": 16,
    }  # fmt: skip


def test_table_6() -> None:
    assert published_scores("conll04", "flan-t5-large") == {
        "n": 5,
        "NER": {"P": [89.5, 0.43], "R": [90.1, 0.8], "F1": [89.8, 0.51]},
        "RE": {"P": [78.3, 2.04], "R": [73.0, 1.43], "F1": [75.5, 0.29]},
        "RE+": {"P": [77.9, 2.1], "R": [72.7, 1.38], "F1": [75.2, 0.39]},
    }
    assert published_scores("genia", "flan-t5-large") == {
        "n": 5, "NER": {"P": [81.7, 3.47], "R": [78.7, 7.25], "F1": [80.2, 2.52]},
    }  # fmt: skip
    assert f1_of_table6("scierc", "deberta-v3-large", "RE", "twice") == [52.2, 0.28]
    assert f1_of_table6("ace05", "albert-xxlarge", "RE+", "twice") == [70.4, 0.75]
    assert f1_of_table6("ade", "bert-large", "RE+") == [82.8, 1.83]


def test_table_6_is_whole() -> None:
    table = published()["table6"]
    assert len(table) == len({(row["corpus"], row["symmetric"], row["encoder"]) for row in table}) == 32
    for row in table:
        few = row["encoder"] in ("t5-large", "bart-large", "albert-xxlarge") or (
            row["corpus"] == "conll04" and row["encoder"] == "bert-large"
        )
        assert row["n"] == (10 if row["corpus"] == "ade" else 3 if few else 5)
        tasks = {key for key in row if key in ("NER", "RE", "RE+")}
        assert tasks == ({"NER", "RE", "RE+"} if row["corpus"] in RELATION_CORPORA else {"NER"})
        if row["symmetric"] == "twice":
            assert row["corpus"] in ("ace05", "scierc")
            once = published_scores(row["corpus"], row["encoder"])
            assert once
            assert row["NER"] == once["NER"]


def test_every_f1_of_table_6_is_near_the_harmonic_mean_of_its_precision_and_recall() -> None:
    """Within 0.15: means over seeds and one decimal; the paper has no exception."""
    for row in published()["table6"]:
        for task in ("NER", "RE", "RE+"):
            if task in row:
                precision, recall, f1 = (row[task][key][0] for key in ("P", "R", "F1"))
                assert f1 == pytest.approx(2 * precision * recall / (precision + recall), abs=0.15), (row, task)


def test_table_7() -> None:
    table = {(row["corpus"], row["key"]): row for row in published()["table7"]}
    assert len(table) == 6
    assert table["conll04", "flan-t5-large+conll03"]["RE+"] == [76.3, 0.8]
    assert table["conll04", "deberta-v3-large"]["NER"] == [91.2, 0.2]
    assert table["ace05", "flan-t5-large+conll03"]["NER"] == [91.3, 0.15]
    assert table["ace05", "deberta-v3-large"]["RE+"] == [70.8, 0.47]
    assert table["ace05", "deberta-v3-large"]["parameters"] == "476 M"


def test_tables_2_and_6_differ_only_where_listed() -> None:
    different = {}
    for row in published()["table2"]["rows"]:
        for corpus, cells in row["values"].items() if row["ours"] else ():
            for task, value in cells.items():
                starred = task.endswith("*")
                f1 = f1_of_table6(corpus, row["key"], task.rstrip("*"), "twice" if starred else "once")
                if f1 and value != f1[0]:
                    different[corpus, row["key"], task] = (value, f1[0])
    assert different == DIFFERENT_IN_2_AND_6
    assert all(abs(first - second) < 0.35 for first, second in different.values())


def test_tables_4_and_6_differ_only_where_listed() -> None:
    different = {}
    for encoder, row in published()["table4"].items():
        for task in ("NER", "RE+"):
            f1 = f1_of_table6("ace05", encoder, task)
            if f1 is None or row[task] != f1[0]:
                different[encoder, task] = (row[task], f1 and f1[0])
    assert different == DIFFERENT_IN_4_AND_6


def test_tables_7_and_6_differ_only_where_listed() -> None:
    different = {}
    for row in published()["table7"]:
        for task in ("NER", "RE+"):
            f1 = f1_of_table6(row["corpus"], row["key"], task)
            if f1 and row[task] != f1:
                different[row["corpus"], row["key"], task] = (row[task], f1)
    assert different == DIFFERENT_IN_7_AND_6


@pytest.mark.parametrize(
    "pair", [*DIFFERENT_IN_2_AND_6.values(), *DIFFERENT_IN_4_AND_6.values(), *DIFFERENT_IN_7_AND_6.values()], ids=str
)
def test_every_difference_is_told(pair: tuple[Any, Any]) -> None:
    values = [str(value) for side in pair for value in (side if isinstance(side, list) else [side])]
    assert any(all(value in told for value in values) for told in published()["disagreements"])


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ((2, "conll04", "flan-t5-large", "RE+"), 75.2),
        ((2, "scierc", "flan-t5-large", "RE+"), 31.5),
        ((2, "scierc", "flan-t5-large", "RE+", "twice"), 32.1),
        ((2, "scierc", "flan-t5-large", "NER", "twice"), 63.8),
        ((2, "ade", "tanl", "RE+"), 83.8),
        ((4, "ace05", "bart-large", "RE+"), 68.5),
        ((7, "conll04", "flan-t5-large+conll03", "NER"), 91.1),
        ((2, "ace05", "pl-marker-albert-xxlarge", "RE+"), None),  # a printed "-"
        ((2, "conll04", "flan-t5-large", "RE+", "twice"), None),
        ((2, "conll04", "flan-t5-large", "RE"), None),
        ((2, "nyt", "flan-t5-large", "NER"), None),
        ((2, "ace05", "scideberta-full", "NER"), None),
        ((4, "conll04", "t5-large", "NER"), None),
        ((4, "ace05", "t5-large", "samples_per_second"), None),
        ((4, "ace05", "t5-large", "RE+", "twice"), None),
        ((7, "ace05", "flan-t5-xl", "NER"), None),
        ((7, "ace05", "deberta-v3-large", "RE+", "twice"), None),
    ],
)
def test_published_f1(question: tuple[Any, ...], answer: float | None) -> None:
    assert published_f1(*question) == answer


def test_scores_that_are_not_published_are_none() -> None:
    assert published_scores("conll04", "flan-t5-large", "twice") is None
    assert published_scores("scierc", "scideberta-full", "once") is None
    assert published_scores("nyt", "flan-t5-large", "once") is None


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="table: 6, expected 2, 4 or 7"):
        published_f1(6, "ade", "flan-t5-large", "NER")
    with pytest.raises(ValueError, match="symmetric: 'both', expected one of once, twice"):
        published_f1(2, "ade", "flan-t5-large", "NER", "both")
    with pytest.raises(ValueError, match="symmetric"):
        published_scores("ade", "flan-t5-large", "both")


def test_reading_does_not_import_torch() -> None:
    code = "import sys; from iter_lightning.studies.tables.published import published as p; p(); sys.exit('torch' in sys.modules)"  # noqa: E501
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
