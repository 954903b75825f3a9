"""The generated corpus: the same everywhere, right by construction, as nested as asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations

import pytest

from iter_lightning.corpora.checks import check_split, omega_needed
from iter_lightning.corpora.synthetic import SCHEMA, SyntheticConfig, generate, synthetic_splits
from iter_lightning.corpora.synthetic_lexicon import CLAUSES, NAMES, NESTED
from iter_lightning.types import Example

SMALL = SyntheticConfig(sentences=200)


def all_examples(config: SyntheticConfig) -> list[Example]:
    return [example for split in synthetic_splits(config).values() for example in split]


def test_sizes_and_no_shared_sentence() -> None:
    splits = synthetic_splits(SMALL)
    assert {name: len(split) for name, split in splits.items()} == {"train": 200, "dev": 50, "test": 50}
    for a, b in combinations(splits.values(), 2):
        assert not {e.words for e in a} & {e.words for e in b}
    texts = [e.words for e in splits["train"] if e.entities]
    assert len(texts) == len(set(texts))


def test_names_of_dev_and_test_are_new() -> None:
    splits = synthetic_splits(SMALL)
    towns = {name: {e.words[x.end - 1] for e in split for x in e.entities if x.type == "Location" and x.end == x.start + 1}
             for name, split in splits.items()}  # fmt: skip
    assert not towns["train"] & towns["dev"]
    assert not towns["train"] & towns["test"]


def test_same_seed_same_corpus_in_another_process() -> None:
    code = (
        "from iter_lightning.corpora.synthetic import *\n"
        "from iter_lightning.training.run import digest\n"
        "print(digest(e for s in synthetic_splits(SyntheticConfig(sentences=40)).values() for e in s))"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True,
                       text=True, check=True).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1
    assert all_examples(SMALL) != all_examples(SyntheticConfig(sentences=200, seed=1))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_depth_is_what_was_asked_for(depth: int) -> None:
    report = check_split(all_examples(SyntheticConfig(sentences=400, depth=depth)), SCHEMA)
    assert report.depth == depth
    assert report.crossing_pairs == 0


def test_default_needs_an_omega_of_3_and_depth_4_of_4() -> None:
    assert max(map(omega_needed, all_examples(SyntheticConfig()))) == 3
    assert max(map(omega_needed, all_examples(SyntheticConfig(depth=4)))) == 4


def test_density_nesting_and_emptiness_are_parameters() -> None:
    few, many = (check_split(all_examples(SyntheticConfig(sentences=200, clauses=n)), SCHEMA) for n in (1, 6))
    assert sum(many.entities.values()) > 2 * sum(few.entities.values())
    flat = check_split(all_examples(SyntheticConfig(sentences=200, nesting=0.0)), SCHEMA)
    assert flat.nested_entities == 0
    assert all(not e.entities for e in generate(SyntheticConfig(empty=1.0), 20))
    assert check_split(all_examples(SMALL), SCHEMA).several_relations > 0


def test_every_type_occurs() -> None:
    report = check_split(all_examples(SyntheticConfig()), SCHEMA)
    assert all(report.entities.values())
    assert all(report.relations.values())
    assert set(NAMES) == set(SCHEMA.entity_types)


def test_tables_name_types_and_slots_that_exist() -> None:
    for template in (*CLAUSES, *(t for group in (NAMES, NESTED) for patterns in group.values() for t in patterns)):
        for head, kind, tail in template.relations:
            assert kind in SCHEMA.relation_types
            for slot in {head, tail} - {"self"}:
                assert f" {slot}>" in template.text


@pytest.mark.parametrize(
    "values", [{"depth": 0}, {"depth": 5}, {"nesting": 1.5}, {"sentences": 1}, {"clauses": 0}, {"empty": -0.1}]
)
def test_values_outside_their_range(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        SyntheticConfig(**values)  # type: ignore[arg-type]
