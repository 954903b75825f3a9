"""Generate English sentences with nested entities: the built-in synthetic corpus.

The paper proposes, as future work, a large synthetic corpus to evaluate models on nested entities, which are rare in
real corpora (Table 1). Depth, nesting, density, and length are parameters, and the annotation is correct by
construction. Splits share no made-up names, and any name can be a person, a place, or a company.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import TypeVar

from iter_lightning.corpora import synthetic_lexicon as lexicon
from iter_lightning.corpora.synthetic_lexicon import SCHEMA, Template
from iter_lightning.types import Entity, Example, Relation

__all__ = ["SCHEMA", "SyntheticConfig", "generate", "synthetic_splits"]

SPLITS = {"train": (0.0, 0.6), "dev": (0.6, 0.8), "test": (0.8, 1.0)}
"""Range of the made-up names that each split uses, as fractions."""
ATTEMPTS = 100
"""Sentences to generate per requested one before giving up on distinct ones."""
SLOT = re.compile(r"<(\w+)(?: (\w+))?>|\{(\w+)\}")
TRIPLE = re.compile(r"(.)\1\1")
T = TypeVar("T")
U = TypeVar("U", str, Template)


@dataclass(frozen=True)
class SyntheticConfig:
    """Configure the generated sentences.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> splits = synthetic_splits(SyntheticConfig(sentences=8, depth=1))
        >>> [len(examples) for examples in splits.values()]
        [8, 2, 2]
    """

    sentences: int = 1200
    """Number of training sentences. Dev and test get a quarter each."""
    depth: int = 3
    """Largest nesting depth of entities, 1 (flat) to 4."""
    nesting: float = 0.5
    """Probability that a name contains another name, if its kind and `depth` allow it."""
    density: float = 6.0
    """Mean number of entities, nested ones included, in sentences that have any. Clauses are never cut: the shortest
    sentences have one complete clause, which has about four entities at the default nesting."""
    length: int = 20
    """Mean number of words up to which sentences are filled with clauses without names. `density` may need more."""
    empty: float = 0.05
    """Share of sentences without entities."""
    seed: int = 0
    """Seed. The same seed gives the same corpus on every machine."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low, high in (
            ("sentences", 4, 10**7), ("depth", 1, 4), ("nesting", 0, 1), ("density", 2, 100), ("length", 1, 1000),
            ("empty", 0, 1),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in [{low}, {high}], found {getattr(self, name)}")


def synthetic_splits(config: SyntheticConfig) -> dict[str, list[Example]]:
    """Generate train, dev, and test splits. Sentences are distinct, and no made-up name occurs in two splits.

    Raises:
        ValueError: If the configuration cannot produce enough distinct sentences.
    """
    sizes = {"train": config.sentences, "dev": config.sentences // 4, "test": config.sentences // 4}
    seen: set[tuple[str, ...]] = set()
    return {split: _distinct(config, size, config.seed, split, seen) for split, size in sizes.items()}


def generate(config: SyntheticConfig, size: int, seed: int, split: str = "train") -> list[Example]:
    """Generate `size` distinct sentences with the names of a split, without `config.sentences` and `config.seed`.

    Raises:
        ValueError: If the split is unknown, or if the configuration cannot produce enough distinct sentences.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {list(SPLITS)}, found {split!r}")
    return _distinct(config, size, seed, split, set())


def _distinct(
    config: SyntheticConfig, size: int, seed: int, split: str, seen: set[tuple[str, ...]]
) -> list[Example]:  # fmt: skip
    """Generate `size` sentences that are not in `seen`, and add them to it."""
    chosen: list[Example] = []
    for example in _sentences(config, seed, split, limit=ATTEMPTS * size):
        if example.words not in seen:
            seen.add(example.words)
            chosen.append(replace(example, id=f"{split}-{len(chosen)}"))
        if len(chosen) == size:
            break
    if len(chosen) < size:
        raise ValueError(
            f"{split} needs {size} distinct sentences, but {config} produces {len(chosen)}; increase length"
        )
    return chosen


def _sentences(config: SyntheticConfig, seed: int, split: str, limit: int) -> Iterator[Example]:
    names = _names(seed)
    low, high = (int(share * len(names)) for share in SPLITS[split])
    writer = _Writer(config, _Dice(f"{seed}/{split}"), names[low:high])
    return (writer.sentence() for _ in range(limit))


@cache
def _names(seed: int) -> tuple[str, ...]:
    """Return all made-up names, shuffled by the seed."""
    dice = _Dice(f"{seed}/names")
    names = {name for name in map("".join, product(*lexicon.NAME_PARTS)) if not TRIPLE.search(name)}
    return tuple(name for _, name in sorted((dice.roll(), name) for name in sorted(names)))


class _Dice:
    """Draw from `random.random()` only, because Python guarantees that its sequence never changes."""

    def __init__(self, seed: str) -> None:
        self.roll = random.Random(seed).random

    def below(self, high: int) -> int:
        return int(self.roll() * high)

    def pick(self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]


class _Writer:
    """Write sentences one after the other, with the names of one split."""

    def __init__(self, config: SyntheticConfig, dice: _Dice, names: Sequence[str]) -> None:
        self.config = config
        self.dice = dice
        self.lists = {**lexicon.WORDS, "name": names, "year": tuple(map(str, range(1890, 2020)))}
        self.surplus = 0.0  # entities of earlier sentences beyond their target
        self.words: list[str] = []
        self.entities: list[Entity] = []
        self.relations: list[Relation] = []
        self.used: set[str | Template] = set()
        self.names: list[str] = []

    def sentence(self) -> Example:
        """Write one sentence with its annotation."""
        for part in (self.words, self.entities, self.relations, self.used, self.names):
            part.clear()
        # draw the targets: number of entities and of words
        empty = self.dice.roll() < self.config.empty
        entities = 0.0 if empty else 2 * self.config.density * self.dice.roll()
        words = self.config.length * (0.5 + self.dice.roll())
        # add clauses until both targets are met
        self.append(lexicon.PLAIN_OPENINGS if empty else lexicon.OPENINGS)
        self.append(lexicon.FILLERS if empty else lexicon.CLAUSES)
        while (more := not empty and len(self.entities) + self.surplus < entities) or len(self.words) < words:
            self.append(lexicon.JOINTS)
            self.append(lexicon.CLAUSES if more else lexicon.FILLERS)
        self.surplus += len(self.entities) - entities
        self.words.append(".")
        self.words[0] = self.words[0][0].upper() + self.words[0][1:]
        return Example(tuple(self.words), tuple(sorted(self.entities)), tuple(self.relations))

    def append(self, templates: Sequence[Template]) -> None:
        """Append one of the templates at the top level of the sentence."""
        self.write(self.fresh(templates), self.config.depth)

    def write(self, template: Template, depth: int, inside: tuple[Template, ...] = ()) -> dict[str, Entity]:
        """Append the words and names of a template and, outside of names, its relations.

        Args:
            template: The template.
            depth: Largest nesting depth of its names.
            inside: Patterns of the surrounding names. They are not used again within these names.

        Returns:
            The names by handle. A name inside the name `r` has the key `r.handle`.
        """
        handles: dict[str, Entity] = {}
        end = 0
        for match in SLOT.finditer(template.text):
            self.words.extend(template.text[end : match.start()].split())
            kind, handle, word_list = match.groups()
            if word_list:
                self.words.extend(self.fill(word_list).split())
            else:
                handles.update(self.name(kind, handle or f"slot{match.start()}", depth, inside))
            end = match.end()
        self.words.extend(template.text[end:].split())
        if not inside:
            self.relate(template, handles)
        return handles

    def name(self, kind: str, handle: str, depth: int, inside: tuple[Template, ...]) -> dict[str, Entity]:
        """Append and annotate a name. Return it under its handle, and the names inside it under `handle.name`."""
        patterns = lexicon.NAMES[kind]
        nested = [template for template in patterns.nested if template not in inside]
        holds_names = depth > 1 and bool(nested) and self.dice.roll() < self.config.nesting
        template = self.dice.pick(nested if holds_names else patterns.flat)
        start = len(self.words)
        inner = self.write(template, depth - 1, (*inside, template))
        entity = Entity(start, len(self.words), patterns.type)
        self.entities.append(entity)
        self.relate(template, {**inner, "self": entity})
        return {handle: entity, **{f"{handle}.{name}": value for name, value in inner.items()}}

    def relate(self, template: Template, handles: dict[str, Entity]) -> None:
        """Append the relations of a template whose arguments are present."""
        for head, kind, tail in template.relations:
            if head in handles and tail in handles:
                self.relations.append(Relation(handles[head], handles[tail], kind))

    def fill(self, word_list: str) -> str:
        """Return a word of a list, with its slots filled."""
        if word_list == "again":
            return self.dice.pick(self.names) if self.names else self.fill("name")
        word = self.fresh(self.lists[word_list])
        if word_list == "name":
            self.names.append(word)
        return SLOT.sub(lambda match: self.fill(match.group(3)), word)

    def fresh(self, values: Sequence[U]) -> U:
        """Return a random value, preferably one that the sentence has not used (up to ten tries)."""
        for _ in range(10):
            value = self.dice.pick(values)
            if value not in self.used:
                break
        self.used.add(value)
        return value
