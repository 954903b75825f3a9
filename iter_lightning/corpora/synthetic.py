"""A seeded generator of English sentences with nested entities: the embedded default corpus.

The paper's first item of future work is a large synthetic corpus to measure models on nested entities, of which
real corpora hold few (Table 1). Depth, nesting and density are parameters here; the annotation is right by
construction. Names of dev and test never occur in train, so that context decides.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from iter_lightning.corpora.synthetic_lexicon import (
    CLAUSES, CODAS, COMPANY_ENDINGS, EMPTY, FIRST_NAMES, JOINTS, NAMES, NESTED, NUCLEI, ONSETS, OPENINGS, SCHEMA,
    SUBJECTS, SURNAME_ENDINGS, TOWN_ENDINGS, Template,
)  # fmt: skip
from iter_lightning.types import Entity, Example, Relation

__all__ = ["SCHEMA", "SyntheticConfig", "generate", "synthetic_splits"]

SLOT = re.compile(r"<(\w+)(?: (\w+))?>|\{(\w+)\}")
STEMS = 400
"""Stems of names a split draws from."""


@dataclass(frozen=True)
class SyntheticConfig:
    """What the sentences are like.

    Raises:
        ValueError: a value outside its range.
    """

    sentences: int = 1200
    """Of train; dev and test get a quarter each."""
    depth: int = 3
    """Most entities inside each other, 1 (flat) to 4."""
    nesting: float = 0.5
    """Probability that a name holds another, while depth allows."""
    clauses: int = 2
    """Most clauses a sentence, 1 to 8; each holds two or three entities."""
    empty: float = 0.05
    """Share of sentences without any entity."""
    seed: int = 0
    """The same seed gives the same corpus everywhere."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("sentences", 4, 10**7), ("depth", 1, 4), ("nesting", 0.0, 1.0), ("clauses", 1, 8), ("empty", 0.0, 1.0),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in [{low}, {high}], found {getattr(self, name)}")


def synthetic_splits(config: SyntheticConfig) -> dict[str, list[Example]]:
    """train, dev and test; no sentence text occurs twice, and no surname, town or company in two splits."""
    sizes = {"train": config.sentences, "dev": config.sentences // 4, "test": config.sentences // 4}
    seen: set[tuple[str, ...]] = set()
    return {split: _unique(config, split, size, seen) for split, size in sizes.items()}


def generate(config: SyntheticConfig, size: int, split: str = "train") -> Iterator[Example]:
    """`size` sentences, not necessarily distinct; names depend on seed and split."""
    writer = Writer(config, random.Random(f"{config.seed}/{split}"), _stems(config.seed, split))
    for number in range(size):
        yield replace(writer.sentence(), id=f"{split}-{number}")


def _unique(config: SyntheticConfig, split: str, size: int, seen: set[tuple[str, ...]]) -> list[Example]:
    """The first `size` distinct sentences; without entities there are too few, so those may repeat inside a split."""
    chosen: list[Example] = []
    elsewhere = frozenset(seen)
    for example in generate(config, 100 * size, split):
        fresh = example.words not in (seen if example.entities else elsewhere)
        if fresh and len(chosen) < size:
            seen.add(example.words)
            chosen.append(replace(example, id=f"{split}-{len(chosen)}"))
        if len(chosen) == size:
            break
    return chosen


def _stems(seed: int, split: str) -> list[str]:
    """Made-up stems; every stem belongs to one split."""
    everything = [o + n + c + o2 + n2 for o in ONSETS for n in NUCLEI for c in CODAS[:6] for o2 in ("d", "l", "m", "t")
                  for n2 in ("a", "e", "o")]  # fmt: skip
    random.Random(f"{seed}/stems").shuffle(everything)
    place = ("train", "dev", "test").index(split)
    return [stem.capitalize() for stem in everything[place * STEMS : (place + 1) * STEMS]]


class Writer:
    """Writes sentences with the stems of one split."""

    def __init__(self, config: SyntheticConfig, rng: random.Random, stems: list[str]) -> None:
        self.config = config
        self.rng = rng
        self.stems = stems
        self.words: list[str] = []
        self.entities: list[Entity] = []
        self.relations: list[Relation] = []

    def sentence(self) -> Example:
        """One sentence with its annotation."""
        self.words, self.entities, self.relations = [], [], []
        if self.rng.random() < self.config.empty:
            self.write(Template(f"{self._split_opening()}{self.rng.choice(EMPTY)}"), 0)
        else:
            self.write(Template(self.rng.choice(OPENINGS)), self.config.depth)
            for i in range(self.rng.randint(1, self.config.clauses)):
                self.write(Template(self.rng.choice(JOINTS) if i else ""), 0)
                self.write(self.rng.choice(CLAUSES), self.config.depth)
        self.words.append(".")
        self.words[0] = self.words[0][:1].upper() + self.words[0][1:]
        return Example(tuple(self.words), tuple(dict.fromkeys(self.entities)), tuple(dict.fromkeys(self.relations)))

    def write(self, template: Template, depth: int, inside: tuple[Template, ...] = ()) -> dict[str, Entity]:
        """Append a template's words, names and relations; returns its named slots.

        `inside` are the patterns of the names around it, none of which is used again within.
        """
        slots: dict[str, Entity] = {}
        end = 0
        for match in SLOT.finditer(template.text):
            self.words.extend(template.text[end : match.start()].split())
            kind, name, filler = match.groups()
            if filler:
                self.words.extend(self._fill(filler).split())
            else:
                slots[name or f"slot{match.start()}"] = self.name(kind, depth, inside)
            end = match.end()
        self.words.extend(template.text[end:].split())
        self._relate(template, slots)
        return slots

    def name(self, kind: str, depth: int, inside: tuple[Template, ...]) -> Entity:
        """Append a name of an entity type, nested at most `depth` deep, and annotate it."""
        start = len(self.words)
        nested = [template for template in NESTED[kind] if template not in inside]
        holds_names = depth > 1 and bool(nested) and self.rng.random() < self.config.nesting
        template = self.rng.choice(nested if holds_names else NAMES[kind])
        slots = self.write(replace(template, relations=()), depth - 1, (*inside, template))
        entity = Entity(start, len(self.words), kind)
        self.entities.append(entity)
        self._relate(template, {**slots, "self": entity})
        return entity

    def _relate(self, template: Template, slots: dict[str, Entity]) -> None:
        self.relations.extend(Relation(slots[head], slots[tail], kind) for head, kind, tail in template.relations)

    def _split_opening(self) -> str:
        return self.rng.choice(("", "", "In {year} , ", "Last spring "))

    def _fill(self, filler: str) -> str:
        """One of the lists by its name in a template."""
        if filler == "year":
            return str(self.rng.randint(1890, 2019))
        if filler == "subject":
            return self.rng.choice(SUBJECTS)
        if filler == "first":
            return self.rng.choice(FIRST_NAMES)
        endings = {"surname": SURNAME_ENDINGS, "town": TOWN_ENDINGS, "company": COMPANY_ENDINGS}[filler]
        ending = self.rng.choice(endings)
        joint = " " if filler == "company" and ending else ""
        return f"{self.rng.choice(self.stems)}{joint}{ending}"
