"""Reports on annotation, against loops and against what SOURCES say of the real corpora."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iter_lightning.corpora import CATALOG, load_corpus
from iter_lightning.corpora.checks import (
    check_corpus, check_split, nesting_depth, omega_needed, omegas, overlapping_pairs, representable,
)  # fmt: skip
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
    assert (train.depth, train.nested_entities) == (2, 2)


@given(examples())
def test_overlaps_and_depth_against_loops(example: Example) -> None:
    spans = sorted({e.span for e in example.entities})
    pairs = [(a, b) for a in spans for b in spans if a < b and a[0] <= b[0] < a[1]]
    assert [(a.span, b.span) for a, b in overlapping_pairs(example.entities)] == pairs

    def chain(span: tuple[int, int]) -> int:
        return 1 + max((chain(s) for s in spans if s != span and span[0] <= s[0] and s[1] <= span[1]), default=0)

    assert nesting_depth(example.entities) == max(map(chain, spans), default=0)


@pytest.mark.corpora
def test_what_is_known_of_conll04(corpora_dir: Path) -> None:
    report = check_corpus(load_corpus("conll04", corpora_dir), CATALOG["conll04"].schema)
    assert [report.splits[s].duplicates for s in ("train", "dev", "test")] == [24, 3, 1]
    assert report.leakage == {"train/dev": 12, "train/test": 18, "dev/test": 3}


@pytest.mark.corpora
def test_what_is_known_of_ade_and_genia(corpora_dir: Path) -> None:
    ade = check_split(read_spert(corpora_dir / "ade" / "ade_full.json"), CATALOG["ade"].schema)
    assert (ade.overlapping_sentences, ade.overlapping_pairs) == (119, 120)
    genia = check_split(load_corpus("genia", corpora_dir)["train"], CATALOG["genia"].schema)
    assert genia.nested_entities == 9064


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["conll04", "ade", "scierc", "genia"])
def test_the_catalogues_omega_covers_everything_and_no_less_does(name: str, corpora_dir: Path) -> None:
    omega = CATALOG[name].omega
    splits = load_corpus(name, corpora_dir, fold=0 if name == "ade" else None)
    assert max(omega_needed(e) for split in splits.values() for e in split) == omega
