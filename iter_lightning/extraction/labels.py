"""The labels that a user asks an open model for, in Python, on the command line, in YAML, and over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iter_lightning.errors import ConfigError
from iter_lightning.types import Schema, surrogate_fault

if TYPE_CHECKING:
    from argparse import _ArgumentGroup

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
        nested: Whether entities may overlap.

    Example:
        >>> labels = Labels.of(["person", "drug"], {"takes": ("person", "drug")})
        >>> labels.schema.allows("takes", "drug", "person")
        False
    """

    schema: Schema
    texts: tuple[tuple[str, str], ...] = ()
    nested: bool = False

    @classmethod
    def of(cls, entities: EntityLabels, relations: RelationLabels | None = None, nested: bool = False) -> Labels:
        """Build labels from what a user writes.

        Args:
            entities: Names of entity types, or a map from name to description.
            relations: Names of relation types, or a map from name to one of: a pair of argument types
                (`("person", "organization")`; each may be a list, or None for any type), a description, or a map with
                the keys description, head, tail and symmetric.
            nested: Whether entities may overlap.

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
            return cls(Schema(*names, tuple(symmetric), tuple(arguments)), tuple(texts.items()), nested)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"labels: {error}") from error

    @classmethod
    def read(cls, path: str | Path) -> Labels:
        """Read a YAML or JSON file with `labels` and, if wanted, `relations` and `nested`; see `of`.

        Raises:
            ConfigError: If the file cannot be read or has another form.
        """
        import yaml

        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise ConfigError(f"{path}: cannot be read: {reason}") from error
        if not isinstance(content, dict) or set(content) - {"labels", "relations", "nested"} or "labels" not in content:
            found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
            raise ConfigError(f"{path}: expected the keys labels, relations and nested, found {found}")
        try:
            return cls.of(content["labels"] or (), content.get("relations"), content.get("nested") is True)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    @classmethod
    def from_options(
        cls, labels: str | None, relations: str | None, schema: str | None, nested: bool = False
    ) -> Labels | None:
        """Build labels from the options of `add_label_options`; None if none is given.

        Raises:
            ConfigError: If a name is not valid, if the file has a fault, or if both a file and names are given.

        Example:
            >>> Labels.from_options("person, city", "lives in", None).schema.entity_types
            ('person', 'city')
        """
        if schema is not None:
            if labels is not None or relations is not None:
                raise ConfigError("give either --schema, or --labels and --relations")
            return replace(cls.read(schema), nested=True) if nested else cls.read(schema)
        if relations is not None and labels is None:
            raise ConfigError("--relations needs --labels, the types of the entities that it links")
        if nested and labels is None:
            raise ConfigError("--nested needs --labels or --schema; other models know whether their entities overlap")
        if labels is None:
            return None
        try:
            return cls.of(_listed(labels), _listed(relations or ""), nested)
        except ConfigError as error:
            raise ConfigError(f"--{error}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Labels:
        """Build labels from what `to_dict` returned."""
        texts = tuple((name, text) for name, text in values["texts"])
        return cls(Schema.from_dict(values["schema"]), texts, values["nested"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        texts = [list(pair) for pair in self.texts]
        return {"schema": self.schema.to_dict(), "texts": texts, "nested": self.nested}


def add_label_options(asked: _ArgumentGroup) -> None:
    """Add --labels, --relations, --schema and --nested to a group of options; `Labels.from_options` reads them."""
    asked.add_argument("--labels", metavar="NAMES", help="entity types to find, such as 'person,company,drug'")
    asked.add_argument("--relations", metavar="NAMES", help="relation types to find between them: 'works for,causes'")
    asked.add_argument("--schema", metavar="FILE",
                       help="YAML with labels and relations, and their descriptions and argument types")  # fmt: skip
    asked.add_argument("--nested", action="store_true", help="keep entities that overlap, not only the most probable")


def _listed(names: str) -> list[str]:
    """Return the names of a list with commas."""
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
