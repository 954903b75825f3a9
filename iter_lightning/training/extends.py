"""`extends:` in a YAML: the file it names comes before it, recursively. Light: nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from iter_lightning.errors import ConfigError


def with_extends(arguments: list[str]) -> list[str]:
    """Put the files that a `--config` file names under `extends:` before it, recursively."""
    result: list[str] = []
    i = 0
    while i < len(arguments):
        name, _, value = arguments[i].partition("=")
        if name not in ("--config", "-c"):
            result.append(arguments[i])
        else:
            if not value:
                i += 1
                value = arguments[i] if i < len(arguments) else ""
            for path in chain(Path(value)):
                if str(path) not in result:  # what two files extend comes once, before both
                    result += ["--config", str(path)]
        i += 1
    return result


def chain(path: Path, below: tuple[Path, ...] = ()) -> list[Path]:
    """A file and all it extends, the furthest first.

    Raises:
        ConfigError: a file that cannot be read, is no YAML of keys and values, or extends itself.
    """
    if path.resolve() in below:
        raise ConfigError(f"{path} extends itself: {' <- '.join(map(str, (*below, path.resolve())))}")
    parent = read_yaml(path).get("extends")
    if not parent:
        return [path]
    # resolved, so that `..` climbs from where a linked folder really is, as the path was written
    return [*chain((path.parent / parent).resolve(), (*below, path.resolve())), path]


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of keys and values.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"the configuration {path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"the configuration {path} must hold keys and values, found {type(content).__name__}")
    return content


def merged(path: Path) -> dict[str, Any]:
    """A file over all it extends, as plain values: maps are merged, everything else is replaced."""
    result: dict[str, Any] = {}
    for file in chain(path):
        result = merge(result, read_yaml(file))
    return result


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`: maps are merged, everything else is replaced."""
    result = dict(below)
    for key, value in above.items():
        both_maps = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        result[key] = merge(below[key], value) if both_maps else value
    return result
