"""Read the JSON files of runs and check the types of their values."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError

Shape = Mapping[str, type | tuple[type, ...]]
"""Map from the dotted name of a value to its type. `*` matches every key or item; `name!` is required."""
NUMBER = (int, float)
NAMES: dict[Any, str] = {dict: "an object", list: "a list", str: "text", int: "a whole number", NUMBER: "a number"}


MANIFEST: Shape = {
    "status": str, "seconds": NUMBER, "epochs": int, "best": dict, "best.dev/f1!": NUMBER, "config": dict,
    "config.data": dict, "config.data.init_args": dict, "config.model": dict, "config.trainer": dict, "encoder": str,
    "versions": dict, "evaluation": dict, "evaluation.split_protocol!": str, "data": dict, "data.title": str,
    "data.unit": str, "data.splits": dict, "data.splits.*": dict, "data.splits.*.sentences": int,
    "data.splits.*.sha256": str, "origin": dict, "origin.init_sha256": str, "attempts": list, "attempts.*": dict,
    "init": dict, "init.from": str, "link_threshold": dict, "link_threshold.value": NUMBER,
}  # fmt: skip
"""Types of the values of manifest.json that the package reads."""
RESULTS: Shape = {
    "*": list, "*.*": dict, "*.*.definition!": dict, "*.*.definition.*": str, "*.*.scores": dict,
    "*.*.scores.*": dict, "*.*.scores.*.micro!": dict,
    "*.*.scores.*.micro.*": NUMBER, "*.*.link_threshold": NUMBER,
}  # fmt: skip
"""Types of results.json, a map from split to entries."""
CURVE: Shape = {
    "": list, "*": dict, "*.lambda!": NUMBER, "*.RE+!": dict, "*.RE+.f1!": NUMBER, "*.RE+.precision!": NUMBER,
    "*.RE+.recall!": NUMBER,
}  # fmt: skip
"""Types of a list of points of a curve over the link threshold."""
ANALYSIS: Shape = {
    **{f"link_curve.{name}".rstrip("."): kind for name, kind in CURVE.items()}, "link_curve!": list,
    "best_link_threshold": NUMBER, "per_type!": dict, "per_type.*": dict, "per_type.*.*": dict, "confusion!": dict,
    "confusion.*": dict, "confusion.*.counts!": list, "throughput!": dict,
    "throughput.sentences_per_second!": NUMBER, "throughput.words_per_second!": NUMBER, "throughput.device": str,
}  # fmt: skip
"""Types of the values of analysis.json that the package reads."""


def parse_object(raw: bytes, where: str, remedy: str) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        raw: Text in UTF-8.
        where: Name of the file for messages, with the line number if each line has an object.
        remedy: Advice for the user, appended to the message.

    Raises:
        ConfigError: If the bytes are not UTF-8, not JSON, or not an object.
    """
    try:
        found = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is damaged (byte {error.start} is not UTF-8); {remedy}") from error
    except (ValueError, RecursionError) as error:  # also integers of thousands of digits
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{where} is damaged ({reason}); {remedy}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{where} is damaged (found {describe(found)}, expected an object); {remedy}")
    return found


def read_object(path: Path, remedy: str, shape: Shape | None = None) -> dict[str, Any]:
    """Read the object in a JSON file, or return an empty object if the file does not exist.

    Args:
        path: The file.
        remedy: Advice for the user if the file is damaged, appended to the message.
        shape: Types of some of its values.

    Raises:
        ConfigError: If the file is not regular, cannot be read, or has invalid content.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{path} is not a regular file; {remedy}")
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    found = parse_object(raw, str(path), remedy)
    if found:
        check_shape(found, shape or {}, str(path), remedy)
    return found


def check_shape(found: Any, shape: Shape, where: str, remedy: str) -> None:
    """Check the types of some values of an object.

    Raises:
        ConfigError: If a value has another type. The message names the first one.
    """
    for name, expected in shape.items():
        _check(found, name.split("."), expected, "", where, remedy)


def _check(
    value: Any, keys: list[str], expected: type | tuple[type, ...], place: str, where: str, remedy: str
) -> None:  # fmt: skip
    if not keys:
        if not isinstance(value, expected) or (isinstance(value, bool) and expected in (int, NUMBER)):
            raise ConfigError(
                f"{where} is damaged ({place}: found {describe(value)}, expected {NAMES.get(expected, expected)}); "
                f"{remedy}"
            )
        return
    first, rest = keys[0], keys[1:]
    if first == "*" and isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check(item, rest, expected, f"{place}.{key}".lstrip("."), where, remedy)
    elif isinstance(value, dict):
        name = first.removesuffix("!")
        if value.get(name) is not None:
            _check(value[name], rest, expected, f"{place}.{name}".lstrip("."), where, remedy)
        elif name != first:
            raise ConfigError(f"{where} is damaged ({place}{'.' if place else ''}{name} is missing); {remedy}")


def describe(value: Any) -> str:
    """Describe a value for a message: the kind of a container, or the `repr` of another value, up to 60 characters."""
    if value is None:
        return "null"
    return NAMES[type(value)] if isinstance(value, dict | list) else repr(value)[:60]
