"""Corpora whose types have texts, for open models: folders with SpERT's JSON and a types file with descriptions.

A folder contains `types.json`, `train.json` and, if it has them, `dev.json` and `test.json`; each may have a prefix
(`conll04_train.json`), and splits may be gzipped. The types file is SpERT's. An entry may add a `description`, and
`meta` may say `entities_exhaustive: false` or `relations_exhaustive: false`, if what is not annotated is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from iter_lightning.corpora.records import read_json
from iter_lightning.corpora.spert import read_spert, read_spert_types
from iter_lightning.errors import CorpusError
from iter_lightning.types import Entity, Example, Relation, Schema

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Label:
    """Hold the texts of a type.

    Args:
        key: Name in the files of the corpus (`Work_For`).
        name: Name in plain words (`works for`).
        description: One sentence, or an empty string.
    """

    key: str
    name: str
    description: str = ""

    @property
    def raw(self) -> str:
        """Return the key as words: `Work_For` and `workFor` become `work for`; the name if the key is a code."""
        if re.fullmatch(r"[A-Z]?\d+", self.key):
            return self.name
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.key)
        return " ".join(re.split(r"[\W_]+", spaced.lower())).strip() or self.name


@dataclass(frozen=True)
class LabeledCorpus:
    """Hold a corpus for open models.

    Args:
        name: Name of its folder.
        schema: Its types, by their keys.
        labels: The texts of each type.
        splits: The examples of each split.
        entities_exhaustive: Whether words that are not annotated are true negatives.
        relations_exhaustive: Whether pairs without a relation are true negatives.
    """

    name: str
    schema: Schema
    labels: Mapping[str, Label]
    splits: Mapping[str, list[Example]]
    entities_exhaustive: bool = True
    relations_exhaustive: bool = True

    def named(self) -> LabeledCorpus:
        """Return the corpus with the names of its types in place of their keys, as a model is asked for them.

        Types with the same name become one.
        """
        names = {key: label.name for key, label in self.labels.items()}
        schema = Schema(
            tuple(dict.fromkeys(names[key] for key in self.schema.entity_types)),
            tuple(dict.fromkeys(names[key] for key in self.schema.relation_types)),
            tuple(dict.fromkeys(names[key] for key in self.schema.symmetric)),
        )
        labels = {label.name: label for label in self.labels.values()}
        splits = {split: [_renamed(example, names) for example in given] for split, given in self.splits.items()}
        return replace(self, schema=schema, labels=labels, splits=splits)

    def without_relations(self, withheld: Iterable[str]) -> LabeledCorpus:
        """Return the corpus without some relation types; sentences that then have no relation left are removed."""
        gone = {key for key in self.schema.relation_types if key in set(withheld)}
        if not gone:
            return self
        kept = tuple(key for key in self.schema.relation_types if key not in gone)
        schema = Schema(self.schema.entity_types, kept, tuple(key for key in self.schema.symmetric if key not in gone))
        splits = {}
        for split, examples in self.splits.items():
            left = [(e, replace(e, relations=tuple(r for r in e.relations if r.type not in gone))) for e in examples]
            splits[split] = [new for old, new in left if new.relations or not old.relations]
        return replace(self, schema=schema, splits=splits)

    def with_roles(self, roles: Mapping[str, tuple[list[str], list[str]]]) -> LabeledCorpus:
        """Return the corpus with entity types that follow from the relations of each entity.

        A sentence whose relations give no type is removed. What is not annotated is then unknown.

        Args:
            roles: Types of the head and of the tail of each relation type; see `read_roles`.
        """
        splits = {}
        for split, examples in self.splits.items():
            typed = [_with_roles(example, roles) for example in examples]
            splits[split] = [example for example in typed if example.entities]
        types = sorted({e.type for examples in splits.values() for example in examples for e in example.entities})
        schema = Schema(tuple(types), self.schema.relation_types, self.schema.symmetric)
        labels = {**{name: Label(name, name) for name in types},
                  **{key: self.labels[key] for key in self.schema.relation_types}}  # fmt: skip
        return replace(self, schema=schema, labels=labels, splits=splits, entities_exhaustive=False)


def read_labeled(folder: str | Path, splits: Iterable[str] = SPLITS) -> LabeledCorpus:
    """Read a folder with a types file and splits in SpERT's JSON.

    Args:
        folder: The folder.
        splits: Splits to read; those that the folder lacks are left out.

    Raises:
        CorpusError: If the folder has no types file, or more than one, or if a file has faults.

    Example:
        >>> read_labeled("data/open/wikigold").labels["LOC"].name  # doctest: +SKIP
        'location'
    """
    folder = Path(folder)
    file = _file(folder, "types", required=True)
    assert file is not None  # it is required
    content = read_json(file, dict)
    schema = read_spert_types(file)
    labels = read_labels(schema, file)
    meta = content.get("meta") if isinstance(content.get("meta"), dict) else {}
    found = {split: _file(folder, split) for split in splits}
    return LabeledCorpus(
        folder.name, schema, labels, {split: read_spert(path) for split, path in found.items() if path is not None},
        meta.get("entities_exhaustive", True) is not False, meta.get("relations_exhaustive", True) is not False,
    )  # fmt: skip


def read_labels(schema: Schema, types: Path | None) -> dict[str, Label]:
    """Return the texts of all types of a schema.

    Args:
        schema: The types.
        types: SpERT's types file with names and descriptions; without one, names are the words of the keys.

    Example:
        >>> read_labels(Schema(("Peop",), ("Work_For",)), None)["Work_For"].name
        'work for'
    """
    content = read_json(types, dict) if types is not None else {}
    labels = {}
    for group, keys in (("entities", schema.entity_types), ("relations", schema.relation_types)):
        entries = content.get(group)
        for key in keys:
            entry = entries.get(key, {}) if isinstance(entries, dict) else {}
            labels[key] = Label(key, _name(key, entry), _short(_text(entry, "description")))
    return labels


def types_file(folder: Path) -> Path | None:
    """Return the types file of a folder, if it has one."""
    return _file(folder, "types")


def is_labeled(folder: Path) -> bool:
    """Return whether a folder contains a types file and a training split."""
    return all(_file(folder, name) is not None for name in ("types", "train"))


def read_roles() -> dict[str, tuple[list[str], list[str]]]:
    """Return the types of the arguments of Wikidata's relations."""
    found: dict[str, tuple[list[str], list[str]]] = _packaged("roles.yaml")
    return found


def read_paraphrases() -> dict[str, list[str]]:
    """Return other names of frequent types."""
    found: dict[str, list[str]] = _packaged("paraphrases.yaml")
    return found


@cache
def _packaged(name: str) -> Any:
    return yaml.safe_load(resources.files("iter_lightning.corpora").joinpath("label_texts", name).read_text("utf-8"))


def _file(folder: Path, name: str, required: bool = False) -> Path | None:
    """Return the file `name.json`, gzipped or not, with or without a prefix.

    Raises:
        CorpusError: There is more than one, or none although it is required.
    """
    exact = [path for path in (folder / f"{name}.json", folder / f"{name}.json.gz") if path.is_file()]
    found = exact or sorted([*folder.glob(f"*_{name}.json"), *folder.glob(f"*_{name}.json.gz")])
    if len(found) > 1 or (required and not found):
        names = ", ".join(path.name for path in found) or "none"
        raise CorpusError([f"{folder}: expected one file {name}.json or PREFIX_{name}.json, found {names}"])
    return found[0] if found else None


def _text(entry: Any, key: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    return " ".join(value.split()) if isinstance(value, str) else ""


def _name(key: str, entry: Any) -> str:
    """Return the name in plain words: a known name of the key, that of the file, or the words of the key."""
    given = _text(entry, "verbose")
    return _packaged("names.yaml").get(key) or (given if given and given != key else Label(key, key).raw)


def _short(description: str) -> str:
    """Return the first sentence or part of a description, at most 100 characters."""
    first = re.split(r"(?<=[a-z)])[.;](?:\s|$)|\s\(", description)[0]
    return first if len(first) <= 100 else first[:100].rsplit(" ", 1)[0]


def _renamed(example: Example, names: Mapping[str, str]) -> Example:
    new = {entity: replace(entity, type=names[entity.type]) for entity in example.entities}
    relations = (Relation(new[r.head], new[r.tail], names[r.type]) for r in example.relations)
    return replace(example, entities=tuple(dict.fromkeys(new.values())), relations=tuple(dict.fromkeys(relations)))


def _with_roles(example: Example, roles: Mapping[str, tuple[list[str], list[str]]]) -> Example:
    """Type the entities of an example by its relations, and keep the relations between typed entities."""
    types: dict[Entity, dict[str, None]] = {}
    for relation in example.relations:
        heads, tails = roles.get(relation.type, ((), ()))
        types.setdefault(relation.head, {}).update(dict.fromkeys(heads))
        types.setdefault(relation.tail, {}).update(dict.fromkeys(tails))
    typed = {old: [Entity(old.start, old.end, name) for name in names] for old, names in types.items() if names}
    entities = tuple(dict.fromkeys(entity for found in typed.values() for entity in found))
    relations = tuple(
        Relation(typed[r.head][0], typed[r.tail][0], r.type)
        for r in example.relations
        if r.head in typed and r.tail in typed
    )
    return replace(example, entities=entities, relations=relations)
