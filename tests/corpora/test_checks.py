"""Reports on annotation, against loops and against what SOURCES say of the real corpora."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.corpora import CATALOG, load_corpus
from iter_lightning.corpora.checks import (
    check_corpus,
    check_split,
    nested_entities,
    nesting_depth,
    omega_needed,
    omegas,
    overlapping_pairs,
    representable,
    word_level_recall,
)
from iter_lightning.corpora.spert import read_spert
from iter_lightning.types import Entity, Example, Relation, Schema
from tests.builders import examples

SCHEMA = Schema(("A", "B"), ("Kin", "In"), ("Kin",))


@given(examples(), st.integers(1, 4))
def test_omega_by_the_papers_definition(example: Example, omega: int) -> None:
    """n pairs with m if n is among the omega closest lefts: N_i = max{j | j <= m, left at j, j not in N_<i}."""
    lefts = {e.start for e in example.entities}
    kept = []
    for entity in dict.fromkeys(example.entities):
        closest: list[int] = []
        while len(closest) < omega and (rest := [j for j in lefts if j <= entity.end - 1 and j not in closest]):
            closest.append(max(rest))
        if entity.start in closest:
            kept.append(entity)
    found, relations = representable(example, omega)
    assert found == kept
    assert set(relations) == {r for r in example.relations if r.head in kept and r.tail in kept}
    assert omega_needed(example) == max(omegas(example.entities).values(), default=0)
    assert representable(example, max(1, omega_needed(example)))[0] == list(dict.fromkeys(example.entities))


def test_report_of_a_small_corpus() -> None:
    outer, inner, same, crossing = Entity(0, 4, "A"), Entity(1, 2, "B"), Entity(1, 2, "A"), Entity(3, 6, "B")
    words = tuple("abcdef")
    nested = Example(words, (outer, inner, same, crossing), (
        Relation(outer, inner, "Kin"), Relation(inner, outer, "Kin"), Relation(outer, inner, "In"),
        Relation(crossing, crossing, "In"),
    ))  # fmt: skip
    report = check_corpus({"train": [nested, Example(words)], "test": [Example(words)]}, SCHEMA)
    train = report.splits["train"]
    assert report.leakage == {"train/test": 1}
    assert (train.sentences, train.words, train.duplicates, train.without_entities) == (2, 12, 1, 1)
    assert train.entities == {"A": 2, "B": 2}
    assert train.relations == {"Kin": 2, "In": 2}
    assert (train.overlapping_sentences, train.overlapping_pairs, train.crossing_pairs) == (1, 2, 1)
    assert (train.several_types, train.several_relations, train.self_relations, train.both_directions) == (1, 1, 1, 1)
    assert train.omega_needed == {1: 3, 3: 1}
    assert (train.depth, train.nested_entities, train.repeated) == (2, 3, 0)
    assert train.relations_per_pair == {1: 2, 2: 1}
    assert (train.overlapping_share, train.nested_share) == (50.0, 75.0)


def test_repeated_annotation_is_counted_once_and_reported() -> None:
    a, b = Entity(0, 1, "A"), Entity(1, 2, "B")
    twice = Example(("x", "y"), (a, b, b), (Relation(a, b, "In"), Relation(a, b, "In")))
    report = check_split([twice], SCHEMA)
    assert (report.entities, report.relations, report.repeated) == ({"A": 1, "B": 1}, {"Kin": 0, "In": 1}, 2)
    assert word_level_recall([twice], 1) == (1.0, 1.0)


def test_types_beyond_the_schema_are_counted_too() -> None:
    report = check_split([Example(("x",), (Entity(0, 1, "Z"),))], SCHEMA)
    assert report.entities == {"A": 0, "B": 0, "Z": 1}


def test_nothing_to_report() -> None:
    report = check_corpus({"train": []}, SCHEMA)
    assert report.omega == 0
    assert (report.splits["train"].overlapping_share, report.splits["train"].depth) == (0.0, 0)
    assert word_level_recall([], 1) == (1.0, 1.0)
    assert json.loads(json.dumps(report.to_dict()))["splits"]["train"]["sentences"] == 0


@pytest.mark.parametrize("omega", [0, -1])
def test_omega_is_positive(omega: int) -> None:
    with pytest.raises(ValueError, match=f"omega must be at least 1, found {omega}"):
        word_level_recall([Example(("x",))], omega)


@given(st.lists(examples(), max_size=5), st.integers(1, 4))
def test_word_level_recall_is_what_is_representable(corpus: list[Example], omega: int) -> None:
    kept = [representable(example, omega) for example in corpus]
    gold = sum(len(set(e.entities)) for e in corpus), sum(len(set(e.relations)) for e in corpus)
    found = sum(len(entities) for entities, _ in kept), sum(len(relations) for _, relations in kept)
    recall = word_level_recall(corpus, omega)
    assert recall == tuple(f / g if g else 1.0 for f, g in zip(found, gold, strict=True))
    assert all(less <= more for less, more in zip(recall, word_level_recall(corpus, omega + 1), strict=True))
    assert word_level_recall(corpus, max([1, *map(omega_needed, corpus)])) == (1.0, 1.0)


@given(st.lists(examples(), max_size=5))
def test_omega_histogram_and_ceiling_agree(corpus: list[Example]) -> None:
    report = check_corpus({"all": corpus}, SCHEMA)
    needed = report.splits["all"].omega_needed
    assert report.omega == max(map(omega_needed, corpus), default=0)
    for omega in (1, 2, 3):
        assert sum(len(representable(e, omega)[0]) for e in corpus) == sum(n for k, n in needed.items() if k <= omega)


@given(examples())
def test_overlaps_and_depth_against_loops(example: Example) -> None:
    spans = sorted({e.span for e in example.entities})
    pairs = [(a, b) for a in spans for b in spans if a < b and a[0] <= b[0] < a[1]]
    assert [(a.span, b.span) for a, b in overlapping_pairs(example.entities)] == pairs

    def chain(span: tuple[int, int]) -> int:
        return 1 + max((chain(s) for s in spans if s != span and span[0] <= s[0] and s[1] <= span[1]), default=0)

    assert nesting_depth(example.entities) == max(map(chain, spans), default=0)

    def holds(a: Entity, b: Entity) -> bool:
        return a.span != b.span and a.start <= b.start and b.end <= a.end

    nested = {a for a in example.entities for b in example.entities if holds(a, b) or holds(b, a)}
    assert nested_entities(example.entities) == nested


@pytest.mark.corpora
def test_what_is_known_of_conll04(corpora_dir: Path) -> None:
    report = check_corpus(load_corpus("conll04", corpora_dir), CATALOG["conll04"].schema)
    assert [report.splits[s].duplicates for s in ("train", "dev", "test")] == [24, 3, 1]
    assert report.leakage == {"train/dev": 12, "train/test": 18, "dev/test": 3}
    assert sum(split.overlapping_pairs for split in report.splits.values()) == 0


@pytest.mark.corpora
def test_what_is_known_of_ade(corpora_dir: Path) -> None:
    report = check_split(read_spert(corpora_dir / "ade" / "ade_full.json"), CATALOG["ade"].schema)
    assert (report.sentences, sum(report.entities.values()), sum(report.relations.values())) == (4272, 10839, 6821)
    assert (report.overlapping_sentences, report.overlapping_pairs, report.crossing_pairs) == (119, 120, 0)
    assert report.duplicates == 1


@pytest.mark.corpora
def test_what_is_known_of_genia(corpora_dir: Path) -> None:
    report = check_split(load_corpus("genia", corpora_dir)["train"], CATALOG["genia"].schema)
    assert (report.sentences, sum(report.entities.values()), report.nested_entities) == (16692, 50509, 9064)
    assert round(report.nested_share, 2) == 17.95


@pytest.mark.corpora
def test_what_is_known_of_scierc(corpora_dir: Path) -> None:
    report = check_corpus(load_corpus("scierc", corpora_dir), CATALOG["scierc"].schema)
    assert [split.without_entities for split in report.splits.values()] == [99, 15, 22]
    assert sum(report.splits["train"].relations.values()) == 3219 - 4  # four are listed twice
    assert round(report.splits["train"].overlapping_share, 1) == 2.7  # Table 1


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["conll04", "ade", "scierc", "genia"])
def test_omega_of_the_catalog_is_the_smallest_that_covers_all_entities(name: str, corpora_dir: Path) -> None:
    omega = CATALOG[name].omega
    splits = load_corpus(name, corpora_dir)
    corpus = [example for split in splits.values() for example in split]
    assert word_level_recall(corpus, omega) == (1.0, 1.0)
    assert omega == 1 or word_level_recall(corpus, omega - 1)[0] < 1
