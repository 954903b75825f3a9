"""`extends:` in YAML files: a file builds on the file that it names, recursively. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.training.yaml_files import read_yaml

MAX_CHAIN = 32
"""Longest chain of files."""


def with_extends(arguments: list[str]) -> list[str]:
    """Insert the files that a `--config` file extends before it, recursively."""
    result: list[str] = []
    i = 0
    while i < len(arguments):
        name, _, value = arguments[i].partition("=")
        if name.startswith("-c") and name != "-c":  # `-cFILE`
            name, value = "-c", arguments[i][2:]
        if name not in ("--config", "-c"):
            result.append(arguments[i])
        else:
            if not value:
                i += 1
                value = arguments[i] if i < len(arguments) else ""
            for path in chain(Path(value)):
                if str(path) not in result:  # a common parent of two files appears once, before both
                    result += ["--config", str(path)]
        i += 1
    return result


def chain(path: Path, below: tuple[Path, ...] = ()) -> list[Path]:
    """List a file and all files that it extends, the most distant first.

    Raises:
        ConfigError: a file cannot be read, does not contain keys and values, or extends itself.
    """
    parent = read_yaml(path).get(
        "extends"
    )  # read first, because this refuses a path with a NUL, which cannot be resolved
    if path.resolve() in below:
        raise ConfigError(f"{path} extends itself: {' <- '.join(map(str, (*below, path.resolve())))}")
    if len(below) >= MAX_CHAIN:
        raise ConfigError(f"{path}: extends: a chain of more than {MAX_CHAIN} files")
    if not parent:
        return [path]
    if not isinstance(parent, str) or "\0" in parent:
        raise ConfigError(f"{path}: extends: expected the path of a YAML file, found {parent!r:.80}")
    # resolved, so that `..` starts at the real location of a linked folder, and otherwise the path as written
    return [*chain((path.parent / parent).resolve(), (*below, path.resolve())), path]


def merged(path: Path) -> dict[str, Any]:
    """Merge a file over all files that it extends, as plain values."""
    result: dict[str, Any] = {}
    for file in chain(path):
        result = merge(result, read_yaml(file))
    return result


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `above` over `below`: maps are merged, other values are replaced."""
    result = dict(below)
    for key, value in above.items():
        both_maps = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        result[key] = merge(below[key], value) if both_maps else value
    return result


def lookup(config: Mapping[str, Any], name: str) -> Any:
    """Return the value of a nested configuration under a dotted name; None if there is none."""
    place: Any = config
    for key in name.split("."):
        place = place.get(key) if isinstance(place, Mapping) else None
    return place
