"""Turn the content of a YAML file into a dataclass; every fault is reported with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from iter_lightning.errors import ConfigError

T = TypeVar("T")
NO_OTHER_KEYS = ConfigDict(extra="forbid")
"""Value of `__pydantic_config__` in the dataclasses that `validated` builds."""


def validated(cls: type[T], content: Mapping[str, Any], where: object, **known: Any) -> T:
    """Build a dataclass, and those inside it, from keys and values.

    Args:
        cls: The dataclass. Its own checks in `__post_init__` run, too.
        content: Keys and values as YAML has them. Lists become tuples; no other type is converted.
        where: Where the content is from, for messages: a path or an object.
        **known: Fields that are given by the caller and not by the file.

    Raises:
        ConfigError: Unknown or missing keys, or values of a wrong type: one line for each.
    """
    adapter = TypeAdapter(cls)
    try:
        # JSON, because in strict mode it is the input in which a list may stand for a tuple
        return adapter.validate_json(json.dumps({**content, **known}, default=str), strict=True)
    except ValidationError as error:
        names = ", ".join(f.name for f in fields(cls) if f.name not in known)  # type: ignore[arg-type]
        lines = [_line(where, fault, names) for fault in error.errors(include_url=False)]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from error


def _line(where: object, fault: Any, names: str) -> str:
    place = ": ".join(map(str, fault["loc"]))
    if fault["type"] == "unexpected_keyword_argument":
        inner = "" if len(fault["loc"]) > 1 else f"; known keys are {names}"
        return f"{where}: {place}: unknown key{inner}"
    if fault["type"] in ("missing", "missing_argument"):
        return f"{where}: {place}: missing"
    return f"{where}: {place}: {fault['msg']}, found {fault['input']!r:.60}"
