"""`compare` over small run folders: who is better, folds pooled, what is refused and how that reads."""

from __future__ import annotations

import hashlib
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from iter_lightning.errors import ConfigError
from iter_lightning.metrics.functional import EvaluationDefinition
from iter_lightning.studies.runs.counts import read_sentences
from iter_lightning.studies.tables.compare import compare_runs, main, render
from iter_lightning.studies.tables.sides import find_runs
from iter_lightning.studies.tables.statistics import bootstrap_interval, f1

FIELDS = list(product(("corpus", "encoded"), ("position", "surface"), ("once", "twice")))
COUNTS = dict[str, NDArray[Any]]


def system(recall: float, seed: int, sentences: int = 150, offset: int = 0, relations: bool = True) -> COUNTS:
    """Task -> [S, 8, 3] of a system that finds each gold item with a probability, a little less under `encoded`."""
    gold = np.random.default_rng(1000 + offset).integers(0, 4, sentences)
    rng = np.random.default_rng(seed + 100 * offset)
    found: COUNTS = {}
    for task in ("NER", "RE", "RE+") if relations else ("NER",):
        tp = rng.binomial(gold, recall)
        one = np.stack([tp, rng.poisson(0.4, sentences), gold - tp], axis=-1)
        found[task] = np.stack([one + np.array([0, place, 0]) for place in range(8)], axis=1)
    return found


def write_run(
    folder: Path, counts: COUNTS, title: str = "CoNLL04", seed: int = 1, threshold: float = 0.5,
    protocol: str = "clean", offset: int = 0,
) -> Path:  # fmt: skip
    """A run folder as `fit` and `test` leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"status": "finished", "seed": seed, "data": {"title": title}}))
    entries: list[dict[str, Any]] = []
    for place, (gold, match, symmetric) in enumerate(FIELDS):
        definition = EvaluationDefinition(gold, match, symmetric, protocol).to_dict()
        sums = {task: found[:, place].sum(axis=0).tolist() for task, found in counts.items()}
        scores = {task: {"micro": dict(zip(("tp", "fp", "fn"), found, strict=True))} for task, found in sums.items()}
        entries.append({"definition": definition, "link_threshold": threshold, "scores": scores})
    (folder / "results.json").write_text(json.dumps({"dev": [], "test": entries}))
    lines = []
    for i in range(len(counts["NER"])):
        sha256 = hashlib.sha256(f"{title} {offset} {i}".encode()).hexdigest()[:16]
        line = {"id": f"s{i}", "sha256": sha256, "counts": {task: found[i].tolist() for task, found in counts.items()}}
        lines.append(json.dumps(line) + "\n")
    (folder / "test_sentences.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of one system."""
    return write_run(tmp_path / "a", system(0.7, 3)), write_run(tmp_path / "b", system(0.7, 4))


def edit_line(folder: Path, number: int, text: str) -> None:
    path = folder / "test_sentences.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[: number - 1], text, *lines[number:]]) + "\n")


def test_read_sentences(tmp_path: Path) -> None:
    counts = system(0.7, 1)
    found = read_sentences(write_run(tmp_path / "seed7", counts, seed=7, threshold=0.35))
    assert (found.title, found.seed, found.link_threshold) == ("CoNLL04", 7, 0.35)
    assert len(found.ids) == len(found.sha256) == 150
    assert list(found.counts) == ["NER", "RE", "RE+"]
    for task, expected in counts.items():
        assert found.counts[task].tolist() == expected.tolist()
    assert [(d.gold, d.match, d.symmetric) for d in found.definitions] == FIELDS
    chosen = found.of("RE", EvaluationDefinition(match="surface", split_protocol="paper"))
    assert chosen.tolist() == counts["RE"][:, 2].tolist()
    assert bootstrap_interval([chosen], resamples=200).low > 0


def test_noise_is_no_evidence(pair: tuple[Path, Path]) -> None:
    (row,) = compare_runs([pair[0]], [pair[1]], resamples=999).rows
    assert (row.corpus, row.task, row.sentences, row.folds) == ("CoNLL04", "RE+", 150, 1)
    assert row.verdict == "no evidence of a difference"
    assert row.p == row.corrected_p > 0.05
    assert row.low < row.difference < row.high


def test_a_better_system_with_another_number_of_runs(tmp_path: Path) -> None:
    a = [write_run(tmp_path / f"a{seed}", system(0.85, seed), seed=seed) for seed in range(3)]
    b = [write_run(tmp_path / f"b{seed}", system(0.6, 10 + seed), seed=seed) for seed in range(2)]
    (row,) = compare_runs(a, b, resamples=999).rows
    assert row.verdict == "A is better"
    assert (row.a.n, row.b.n) == (3, 2)
    expected = [np.mean([f1(system(r, s)["RE+"][:, 0].sum(axis=0)) for s in seeds])
                for r, seeds in ((0.85, (0, 1, 2)), (0.6, (10, 11)))]  # fmt: skip
    assert [row.a.mean, row.b.mean] == pytest.approx(expected)
    assert row.difference == pytest.approx(expected[0] - expected[1])
    assert 0 < row.low < row.difference < row.high
    (turned,) = compare_runs(b, a, resamples=999).rows
    assert turned.verdict == "B is better"
    assert (turned.p, turned.difference) == (row.p, -row.difference)


def test_folds_are_pooled(tmp_path: Path) -> None:
    """Ten and two are two folds, in any order of folders; two seeds of each make two runs over all sentences."""
    runs: dict[str, list[Path]] = {"a": [], "b": []}
    for side, recall in (("a", 0.85), ("b", 0.6)):
        for fold, seed in product((2, 10), (1, 2)):
            runs[side].append(
                write_run(
                    tmp_path / side / f"fold{fold}" / f"seed{seed}",
                    system(recall, seed, 40 + fold, offset=fold),
                    title=f"ADE fold {fold}",
                    seed=seed,
                )
            )
    found = compare_runs(find_runs(str(tmp_path / "a")), list(reversed(runs["b"])), resamples=999)
    (row,) = found.rows
    assert (row.corpus, row.sentences, row.folds, row.a.n) == ("ADE", 92, 2, 2)
    whole = [
        sum(system(0.85, seed, 40 + fold, offset=fold)["RE+"][:, 0].sum(axis=0) for fold in (2, 10)) for seed in (1, 2)
    ]
    assert row.a.mean == pytest.approx(np.mean([f1(np.asarray(counts)) for counts in whole]))
    assert row.verdict == "A is better"
    assert (
        "ADE RE+: 92 sentences of 2 folds, pooled · runs: A 2, B 2 · split protocol: clean · link threshold λ: 0.5"
        in render(found)
    )
    with pytest.raises(ConfigError, match="ADE: A needs equally many runs of every fold, found 1 of ADE fold 2, 2 of"):
        compare_runs(runs["a"][1:], runs["b"])
    with pytest.raises(ConfigError, match=r"same corpora and folds; only B has ADE fold 10"):
        compare_runs(runs["a"][:2], runs["b"])


def test_several_corpora_and_tasks_are_corrected_together(tmp_path: Path) -> None:
    for side, seed in (("a", 1), ("b", 2)):
        write_run(tmp_path / side / "x", system(0.75 if side == "a" else 0.68, seed))
        write_run(tmp_path / side / "y", system(0.7, seed, 80, relations=False), title="GENIA")
    a, b = (find_runs(str(tmp_path / side)) for side in "ab")
    default = compare_runs(a, b, resamples=999)
    assert [(row.corpus, row.task) for row in default.rows] == [("CoNLL04", "RE+"), ("GENIA", "NER")]
    rows = compare_runs(a, b, "all", resamples=999).rows
    assert [row.task for row in rows] == ["NER", "RE", "RE+", "NER"]
    smallest = min(rows, key=lambda row: row.p)
    assert smallest.corrected_p == pytest.approx(4 * smallest.p)
    assert all(row.p <= row.corrected_p <= 1 for row in rows)
    with pytest.raises(ConfigError, match=r"has no counts of RE; it has those of NER"):
        compare_runs(a, b, "RE", resamples=9)


def test_definitions(pair: tuple[Path, Path], tmp_path: Path) -> None:
    strict, loose = (
        compare_runs([pair[0]], [pair[1]], definition=definition, resamples=99).rows[0].a.mean
        for definition in (EvaluationDefinition(), EvaluationDefinition("encoded", "surface"))
    )
    assert loose < strict
    results = json.loads((pair[1] / "results.json").read_text())
    (pair[1] / "results.json").write_text(json.dumps({"test": results["test"][1:]}))
    for line in range(1, 151):
        row = json.loads((pair[1] / "test_sentences.jsonl").read_text().splitlines()[line - 1])
        row["counts"] = {task: found[1:] for task, found in row["counts"].items()}
        edit_line(pair[1], line, json.dumps(row))
    with pytest.raises(ConfigError, match=r"b was not scored under gold: corpus · match: position · symmetric: once"):
        compare_runs([pair[0]], [pair[1]])


def test_what_else_differs_is_said(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", system(0.7, 1), threshold=0.5)
    b = write_run(tmp_path / "b", system(0.7, 2), threshold=0.35, protocol="paper")
    text = render(compare_runs([a], [b], resamples=99))
    assert "split protocol differs: A clean, B paper · link threshold λ differs: A 0.5, B 0.35" in text
    assert "λ" not in render(compare_runs([a], [b], "NER", resamples=99))


def test_command_line(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "better" / "seed1", system(0.9, 5))
    write_run(tmp_path / "better" / "seed2", system(0.9, 6), seed=2)
    both = ",".join(map(str, pair))
    out = tmp_path / "out" / "comparison.json"
    main([str(tmp_path / "better"), both, "--task", "all", "--resamples", "999", "--json", str(out)])
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[1] == f"B: {pair[0]}, {pair[1]}"
    assert " ".join(lines[3].split()) == "corpus task A F1 B F1 A - B 95 % interval p p corrected verdict"
    assert [line.split()[:2] for line in lines[4:7]] == [["CoNLL04", "NER"], ["CoNLL04", "RE"], ["CoNLL04", "RE+"]]
    assert all(line.endswith("A is better") for line in lines[4:7])
    for part in ("gold: corpus · match: position · symmetric: once", "150 sentences", "runs: A 2, B 2",
                 "999 permutations", "3 tests (Holm)", "not other seeds"):  # fmt: skip
        assert part in text
    assert "has one run" not in text
    written = json.loads(out.read_text())
    assert [row["verdict"] for row in written["rows"]] == ["A is better"] * 3
    assert written["b"] == [str(path) for path in pair]
    main([str(pair[0]), str(pair[1]), "--resamples", "99", "--match", "surface", "--alpha", "0.1"])
    text = capsys.readouterr().out
    assert "match: surface" in text
    assert "90 % interval" in text
    assert "a side has one run" in text


def test_other_sentences(pair: tuple[Path, Path], tmp_path: Path) -> None:
    fewer = write_run(tmp_path / "fewer", system(0.7, 1, 149))
    with pytest.raises(ConfigError, match=r"CoNLL04: .*must be tested on the same .*; found 150 and 149 of them"):
        compare_runs([pair[0]], [fewer])
    row = json.loads((pair[1] / "test_sentences.jsonl").read_text().splitlines()[16])
    edit_line(pair[1], 17, json.dumps({**row, "sha256": "feed", "id": "other"}))
    with pytest.raises(ConfigError, match=r"on line 17 .*: id 's16' \(\w{16}\) and id 'other' \(feed\)"):
        compare_runs([pair[0]], [pair[1]])
    with pytest.raises(ConfigError, match="must be tested on the same sentences"):  # of one side's seeds, too
        compare_runs([pair[0], fewer], [write_run(tmp_path / "c", system(0.7, 3))])


def test_a_run_is_on_one_side_once(pair: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="both in A and in B"):
        compare_runs([pair[0]], [pair[0] / ".." / "a"])
    with pytest.raises(ConfigError, match="twice in A"):
        compare_runs([pair[0], pair[0]], [pair[1]])
    with pytest.raises(ConfigError, match="B names no run"):
        compare_runs([pair[0]], [])


@pytest.mark.parametrize("missing", ["test_sentences.jsonl", "results.json"])
def test_a_run_that_was_not_tested(missing: str, pair: tuple[Path, Path]) -> None:
    (pair[1] / missing).unlink()
    command = f"python -m iter_lightning test --config {pair[1]}/config.yaml --run_dir {pair[1]}"
    with pytest.raises(ConfigError, match=f"b has no counts of test sentences; run `{command}` first"):
        compare_runs([pair[0]], [pair[1]])


LINE: dict[str, Any] = {"id": "s0", "sha256": "ab", "counts": {task: [[1, 0, 0]] * 8 for task in ("NER", "RE", "RE+")}}


def line_with(**counts: Any) -> str:
    return json.dumps({**LINE, "counts": {**LINE["counts"], **counts}})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "s3", "sha', r"expected JSON, found b'\{\"id\": \"s3"), ("", "expected JSON"),
        ("[1]", "Input should be an object"), (json.dumps({"id": "s3"}), "sha256: Field required"),
        (json.dumps({**LINE, "sha256": 5}), "sha256: Input should be a valid string, found 5"),
        (json.dumps({**LINE, "counts": 5}), "counts: Input should be an object, found 5"),
        (json.dumps({**LINE, "counts": {"NER": [[1, 0, 0]] * 8}}), r"counts: expected 8 .*, found \{'NER': 8\}"),
        (line_with(RE=[[0, 0, 0]]), "counts: expected 8 entries, .*'RE': 1"),
        (line_with(RE=[[0, -1, 0]] * 8), r"counts: RE: 0: 1: Input should be greater than or equal to 0, found -1"),
        (line_with(RE=[[0, 0.5, 0]] * 8), r"counts: RE: 0: 1: Input should be a valid integer.*, found 0.5"),
    ],
)  # fmt: skip
def test_read_sentences_with_a_damaged_line_names_it(line: str, message: str, pair: tuple[Path, Path]) -> None:
    edit_line(pair[0], 4, line)
    with pytest.raises(ConfigError, match=rf"a/test_sentences.jsonl: line 4: .*{message}"):
        read_sentences(pair[0])


def test_a_file_that_is_cut_short(pair: tuple[Path, Path]) -> None:
    """At the end of a line, so that each line is whole: the scores tell."""
    path = pair[0] / "test_sentences.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:100]))
    with pytest.raises(ConfigError, match=r"tp, fp, fn of NER sum to \[.*\] under definition 0, results.json has \["):
        read_sentences(pair[0])
    path.write_text("")
    with pytest.raises(ConfigError, match="is empty, expected a line a test sentence"):
        read_sentences(pair[0])
    path.write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(ConfigError, match="line 1: expected JSON"):
        read_sentences(pair[0])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", "{", "results.json is damaged"),
        ("results.json", '{"test": [{"definition": {"gold": "no"}, "link_threshold": 1}]}', "gold 'no' is neither"),
        ("manifest.json", '{"data": {}}', r"expected the corpus's name under data.title, found \{\}"),
        ("manifest.json", "[", "manifest.json is damaged"),
    ],
)
def test_damaged_files(name: str, text: str, message: str, pair: tuple[Path, Path]) -> None:
    (pair[0] / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_sentences(pair[0])


def test_find_runs(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    assert find_runs(str(pair[0])) == [pair[0]]
    assert find_runs(f"{pair[0]}, {pair[1]},") == list(pair)
    write_run(tmp_path / "deep" / "fold1" / "seed1", system(0.7, 1))
    assert find_runs(f"{tmp_path / 'deep'},{pair[1]}") == [tmp_path / "deep" / "fold1" / "seed1", pair[1]]
    with pytest.raises(ConfigError, match="nowhere is not a folder"):
        find_runs(f"{pair[0]},nowhere")
    with pytest.raises(ConfigError, match="' , ' names no folder"):
        find_runs(" , ")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no run in .*empty: there is no manifest.json"):
        find_runs(str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=r"empty holds no run: there is no manifest.json in it"):
        read_sentences(tmp_path / "empty")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"alpha": 5.0}, "found 5.0"), ({"resamples": 0}, "found 0 and 0"), ({"seed": -1}, "found 10000 and -1")],
)
def test_options_out_of_range(options: dict[str, Any], message: str, pair: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_runs([pair[0]], [pair[1]], **options)
