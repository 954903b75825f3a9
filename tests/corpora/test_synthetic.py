"""The generated corpus: the same everywhere, right by construction, as nested, dense and long as asked for."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from itertools import combinations
from typing import Any

import pytest

from iter_lightning.corpora.checks import SplitReport, check_corpus, check_split, omega_needed
from iter_lightning.corpora.synthetic import SCHEMA, SyntheticConfig, generate, synthetic_splits
from iter_lightning.corpora.synthetic_lexicon import (
    CLAUSES,
    FILLERS,
    JOINTS,
    NAMES,
    OPENINGS,
    PLAIN_OPENINGS,
    WORDS,
    Kind,
    Template,
)
from iter_lightning.types import Entity, Example, Relation

SMALL = SyntheticConfig(sentences=200)
PATTERNS = [(kind, template) for kind in NAMES.values() for template in (*kind.flat, *kind.nested)]
TOP = (*CLAUSES, *FILLERS, *OPENINGS, *PLAIN_OPENINGS, *JOINTS)


def report(size: int = 400, **values: Any) -> SplitReport:
    return check_split(generate(SyntheticConfig(**values), size, seed=1), SCHEMA)


def made_up(examples: list[Example]) -> set[str]:
    """Capitalised words that no table holds."""
    texts = [template.text for template in (*TOP, *(template for _, template in PATTERNS))]
    known = {word.lower() for text in (*texts, *sum(WORDS.values(), ())) for word in text.split()}
    return {word for e in examples for word in e.words if word[0].isupper() and word.lower() not in known}


def test_sizes_and_no_sentence_twice() -> None:
    splits = synthetic_splits(SMALL)
    assert {name: len(split) for name, split in splits.items()} == {"train": 200, "dev": 50, "test": 50}
    found = check_corpus(splits, SCHEMA)
    assert not any(found.leakage.values())
    assert [split.duplicates for split in found.splits.values()] == [0, 0, 0]
    assert len({e.id for split in splits.values() for e in split}) == 300


def test_names_of_dev_and_test_are_new() -> None:
    names = [made_up(split) for split in synthetic_splits(SMALL).values()]
    assert min(map(len, names)) > 100
    assert not any(a & b for a, b in combinations(names, 2))


def test_a_name_is_a_person_a_place_or_a_company_by_context_alone() -> None:
    types: dict[str, set[str]] = {}
    for example in generate(SyntheticConfig(length=1), 8000, seed=0):
        for entity in example.entities:
            if entity.end - entity.start == 1:
                types.setdefault(example.text_of(entity), set()).add(entity.type)
    several = [name for name, found in types.items() if {"Person", "Location", "Organization"} <= found]
    assert len(several) > 20


def digest_of(config: SyntheticConfig) -> str:
    return hashlib.sha256(repr(synthetic_splits(config)).encode()).hexdigest()


def test_same_seed_same_corpus_in_another_process() -> None:
    code = (
        "import hashlib\n"
        "from iter_lightning.corpora.synthetic import SyntheticConfig, synthetic_splits\n"
        "print(hashlib.sha256(repr(synthetic_splits(SyntheticConfig(sentences=40))).encode()).hexdigest())"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert run.stdout.strip() == digest_of(SyntheticConfig(sentences=40))
    assert digest_of(SyntheticConfig(sentences=40)) != digest_of(SyntheticConfig(sentences=40, seed=1))


def test_generate_is_a_prefix_of_itself_and_knows_its_split() -> None:
    assert generate(SMALL, 10, seed=3) == generate(SMALL, 30, seed=3)[:10]
    assert generate(SMALL, 10, seed=3) != generate(SMALL, 10, seed=4)
    assert generate(SMALL, 10, seed=0, split="dev") == synthetic_splits(SMALL)["dev"][:10]
    with pytest.raises(ValueError, match="split must be one of"):
        generate(SMALL, 10, seed=0, split="valid")


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_depth_is_what_was_asked_for(depth: int) -> None:
    found = report(depth=depth)
    assert found.depth == depth
    assert max(found.omega_needed) in (depth, depth + 1)
    assert found.crossing_pairs == 0
    assert found.several_types == 0


def test_omega_of_the_default_is_4() -> None:
    splits = synthetic_splits(SyntheticConfig())
    assert {name: max(map(omega_needed, split)) for name, split in splits.items()}["train"] == 4
    assert check_corpus(splits, SCHEMA).omega == 4


@pytest.mark.parametrize("density", [6.0, 12.0, 30.0])
def test_density_is_entities_a_sentence(density: float) -> None:
    found = report(size=1000, density=density)
    mean = sum(found.entities.values()) / (found.sentences - found.without_entities)
    assert mean == pytest.approx(density, rel=0.1)


def test_length_fills_sentences_without_adding_entities() -> None:
    short, long = report(length=10), report(length=120)
    assert long.words / long.sentences == pytest.approx(125, rel=0.1)
    assert sum(long.entities.values()) == pytest.approx(sum(short.entities.values()), rel=0.15)


def test_nesting_and_emptiness_are_parameters() -> None:
    assert report(nesting=0.0).nested_entities == 0
    assert report(nesting=1.0).nested_share > report(nesting=0.5).nested_share > report(nesting=0.2).nested_share > 0
    assert report(empty=1.0).without_entities == 400
    assert report(empty=0.0).without_entities == 0
    assert report(empty=0.3, size=1000).without_entities == pytest.approx(300, rel=0.2)


def test_every_type_occurs_and_pairs_hold_several_relations() -> None:
    for depth in (1, 3):
        found = report(size=1000, depth=depth)
        assert all(found.entities.values())
        assert all(found.relations.values())
        assert found.several_relations > 20
        assert (found.self_relations, found.both_directions, found.repeated) == (0, 0, 0)


def test_arguments_have_the_types_their_relation_asks_for() -> None:
    expected = {
        "Author_Of": {("Person", "Work")},
        "Founder_Of": {("Person", "Organization")},
        "Leads": {("Person", "Organization")},
        "Located_In": {(kind, "Location") for kind in ("Event", "Location", "Organization")},
        "Partner_With": {("Organization", "Organization")},
        "Spouse_Of": {("Person", "Person")},
        "Works_For": {("Person", "Organization")},
    }
    found: dict[str, set[tuple[str, str]]] = {}
    for example in generate(SyntheticConfig(depth=4), 2000, seed=0):
        for relation in example.relations:
            found.setdefault(relation.type, set()).add((relation.head.type, relation.tail.type))
    assert found == expected


def write_by_hand(monkeypatch: pytest.MonkeyPatch, *clauses: Template, depth: int = 2) -> Example:
    """A sentence of just these clauses, with one word a name where it can be."""
    lexicon = "iter_lightning.corpora.synthetic.lexicon"
    for table, templates in (("CLAUSES", clauses), ("OPENINGS", (Template(""),))):
        monkeypatch.setattr(f"{lexicon}.{table}", templates)
    flat = {name: Kind(kind.type, (Template("{name}"),), kind.nested) for name, kind in NAMES.items()}
    head = Template("treasurer of <org employer>")
    monkeypatch.setattr(f"{lexicon}.NAMES", {**flat, "role": Kind("Role", (head,), (head,))})
    return generate(SyntheticConfig(depth=depth, nesting=0.0, density=2, length=1, empty=0.0), 1, seed=0)[0]


def test_passive_turns_the_arguments_round(monkeypatch: pytest.MonkeyPatch) -> None:
    passive = next(t for t in CLAUSES if t.text == "<org b> was founded by <person a>")
    relation = write_by_hand(monkeypatch, passive).relations[0]
    assert relation.type == "Founder_Of"
    assert (relation.head, relation.tail) == (Entity(4, 5, "Person"), Entity(0, 1, "Organization"))


def test_an_apposition_relates_to_the_name_inside_the_role(monkeypatch: pytest.MonkeyPatch) -> None:
    clause = next(t for t in CLAUSES if t.text == "<person a> serves as <role r>")
    example = write_by_hand(monkeypatch, clause)
    person, role, employer = Entity(0, 1, "Person"), Entity(3, 6, "Role"), Entity(5, 6, "Organization")
    assert example.entities[:3] == (person, role, employer)
    assert example.relations[0] == Relation(person, employer, "Works_For")


def handles_of(template: Template) -> dict[str, str]:
    return {handle: kind for kind, handle in re.findall(r"<(\w+)(?: (\w+))?>", template.text) if handle}


@pytest.mark.parametrize("template", [*TOP, *(template for _, template in PATTERNS)], ids=lambda t: t.text)
def test_tables_name_kinds_lists_and_handles_that_exist(template: Template) -> None:
    assert set(re.findall(r"<(\w+)", template.text)) <= set(NAMES)
    assert set(re.findall(r"\{(\w+)\}", template.text)) <= {*WORDS, "name", "again", "year"}
    handles = handles_of(template)
    for head, kind, tail in template.relations:
        assert kind in SCHEMA.relation_types
        for argument in (head, tail):
            outer, _, inner = argument.partition(".")
            assert outer == "self" or outer in handles
            assert not inner or any(inner in handles_of(t) for t in NAMES[handles[outer]].nested)


def test_every_name_can_be_flat_and_every_relation_is_handled() -> None:
    for kind in NAMES.values():
        assert kind.type in SCHEMA.entity_types
        assert kind.flat
        assert not any("<" in t.text for t in kind.flat)
        assert all("<" in t.text for t in kind.nested)
    for template in CLAUSES:
        used = {argument.split(".")[0] for head, _, tail in template.relations for argument in (head, tail)}
        assert used == set(handles_of(template)), template.text


def test_no_two_texts_differ_in_their_kinds_alone() -> None:
    frames = [re.sub(r"<\w+(?: \w+)?>", "<>", t.text) for t in CLAUSES]
    assert len(frames) == len(set(frames))
    nested = {(kind.type, t.text) for kind, t in PATTERNS if "<" in t.text}
    shapes = [re.sub(r"<\w+(?: \w+)?>", "<>", re.sub(r"\{\w+\}", "{}", text)) for _, text in nested]
    assert {shape for shape in shapes if shapes.count(shape) > 1} <= {"<> <> {} {}"}  # director or treasurer: the role


def test_too_few_distinct_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iter_lightning.corpora.synthetic.lexicon.FILLERS", (Template("the committee met again"),))
    with pytest.raises(ValueError, match=r"needs 20 distinct sentences.*increase length"):
        generate(SyntheticConfig(empty=1.0, length=1), 20, seed=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth", 0), ("depth", 5), ("nesting", 1.5), ("nesting", -0.1), ("sentences", 1), ("density", 1.0),
        ("length", 0), ("empty", -0.1), ("empty", 1.1), ("density", float("nan")),
    ],
)  # fmt: skip
def test_values_outside_their_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must lie in \[.*\], found {value}$"):
        SyntheticConfig(**{name: value})  # type: ignore[arg-type]
