"""The labels that a user asks an open model for, in Python, on the command line, in YAML, and over HTTP."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.types import Schema, surrogate_fault

EntityLabels = Sequence[str] | Mapping[str, str | None]
"""Names, or names with descriptions."""
RelationLabels = Sequence[str] | Mapping[str, Any]
"""Names, or names with allowed arguments, a description, or both; see `Labels.of`."""
_RELATION_KEYS = ("description", "head", "tail", "symmetric")


@dataclass(frozen=True)
class Labels:
    """Hold a schema, and the texts that an open model reads for its types.

    Args:
        schema: The types.
        texts: Pairs (type, text) of types whose text is not their name.

    Example:
        >>> labels = Labels.of(["person", "drug"], {"takes": ("person", "drug")})
        >>> labels.schema.allows("takes", "drug", "person")
        False
    """

    schema: Schema
    texts: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, entities: EntityLabels, relations: RelationLabels | None = None) -> Labels:
        """Build labels from what a user writes.

        Args:
            entities: Names of entity types, or a map from name to description.
            relations: Names of relation types, or a map from name to one of: a pair of argument types
                (`("person", "organization")`; each may be a list, or None for any type), a description, or a map with
                the keys description, head, tail and symmetric.

        Raises:
            ConfigError: If a name is empty, repeated, or not a string, or if an argument is not an entity type.

        Example:
            >>> Labels.of({"drug": "a medicine"}).texts
            (('drug', 'drug: a medicine'),)
        """
        texts: dict[str, str] = {}
        for name, description in _items("labels", entities).items():
            _describe(texts, "labels", name, description)
        arguments: list[tuple[str, Any, Any]] = []
        symmetric = []
        for name, given in _items("relations", relations or ()).items():
            if isinstance(given, Mapping):
                unknown = sorted(set(map(str, given)) - set(_RELATION_KEYS))
                if unknown:
                    raise ConfigError(
                        f"relations: {name}: found {', '.join(unknown)}; expected {', '.join(_RELATION_KEYS)}"
                    )
                _describe(texts, "relations", name, given.get("description"))
                arguments.append((name, given.get("head"), given.get("tail")))
                if given.get("symmetric"):
                    symmetric.append(name)
            elif isinstance(given, (list, tuple)):
                if len(given) != 2:
                    raise ConfigError(
                        f"relations: {name}: expected the types of the head and of the tail, found {list(given)!r:.80}"
                    )
                arguments.append((name, *given))
            else:
                _describe(texts, "relations", name, given)
        arguments = [(name, head, tail) for name, head, tail in arguments if head or tail]
        try:
            names = tuple(_items("labels", entities)), tuple(_items("relations", relations or ()))
            return cls(Schema(*names, tuple(symmetric), tuple(arguments)), tuple(texts.items()))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"labels: {error}") from error

    @classmethod
    def read(cls, path: str | Path) -> Labels:
        """Read a YAML or JSON file with `labels` and, if wanted, `relations`; see `of`.

        Raises:
            ConfigError: If the file cannot be read or has another form.
        """
        import yaml

        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise ConfigError(f"{path}: cannot be read: {reason}") from error
        if not isinstance(content, dict) or set(content) - {"labels", "relations"} or "labels" not in content:
            found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
            raise ConfigError(f"{path}: expected the keys labels and relations, found {found}")
        try:
            return cls.of(content["labels"] or (), content.get("relations"))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    @classmethod
    def from_options(cls, labels: str | None, relations: str | None, schema: str | Path | None) -> Labels | None:
        """Build labels from the options that `add_label_options` adds; None if none is given.

        Args:
            labels: Names of entity types, separated by commas.
            relations: Names of relation types, separated by commas.
            schema: File for `read`.

        Raises:
            ConfigError: If the options contradict each other, or if a name or the file is not valid.

        Example:
            >>> Labels.from_options("person, company", "works for", None).schema.relation_types
            ('works for',)
        """
        if schema is not None:
            if labels is not None or relations is not None:
                raise ConfigError("--schema contains all labels; expected either --schema, or --labels and --relations")
            return cls.read(schema)
        if labels is None:
            if relations is not None:
                raise ConfigError("--relations requires --labels, the entity types that relations may connect")
            return None
        try:
            return cls.of(_separated(labels), _separated(relations or ""))
        except ConfigError as error:
            raise ConfigError(f"--{error}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Labels:
        """Build labels from what `to_dict` returned."""
        return cls(Schema.from_dict(values["schema"]), tuple((name, text) for name, text in values["texts"]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {"schema": self.schema.to_dict(), "texts": [list(pair) for pair in self.texts]}


def add_label_options(parser: argparse._ActionsContainer) -> None:
    """Add the options --labels, --relations and --schema to a parser or a group of it; see `Labels.from_options`."""
    parser.add_argument("--labels", metavar="A,B", help="entity types to look for, if the model is open")
    parser.add_argument("--relations", metavar="A,B", help="relation types to look for between them")
    parser.add_argument("--schema", metavar="FILE", help="YAML with labels and relations, descriptions and arguments")


def _separated(names: str) -> list[str]:
    """Return the names in a text with commas, without the blanks around them."""
    return [name.strip() for name in names.split(",")] if names.strip() else []


def _items(field: str, given: Any) -> dict[str, Any]:
    """Return names with what is said about each.

    Raises:
        ConfigError: If the value is neither a list nor a map, or if a name is not valid or repeated.
    """
    if isinstance(given, Mapping):
        items: list[tuple[Any, Any]] = list(given.items())
    elif isinstance(given, (list, tuple)):
        items = [(name, None) for name in given]
    else:
        raise ConfigError(f"{field}: expected a list of names or a map, found {given!r:.80}")
    found: dict[str, Any] = {}
    for name, said in items:
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"{field}: expected a name, found {name!r:.80}")
        if fault := surrogate_fault(name):
            raise ConfigError(f"{field}: {name!r:.80}: {fault}")
        if name in found:
            raise ConfigError(f"{field}: {name!r} is given twice")
        found[name] = said
    return found


def _describe(texts: dict[str, str], field: str, name: str, description: Any) -> None:
    """Add the text of a type with a description.

    Raises:
        ConfigError: If the description is not a string.
    """
    if description is None:
        return
    if not isinstance(description, str):
        raise ConfigError(f"{field}: {name}: expected a description, found {description!r:.80}")
    if fault := surrogate_fault(description):
        raise ConfigError(f"{field}: {name}: {fault}")
    texts[name] = f"{name}: {description}"
