"""Merge YAML files with OmegaConf: those of `--config`, and those that a file names under `extends:`.

Does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from iter_lightning.errors import ConfigError
from iter_lightning.training.yaml_files import omegaconf_reason, read_yaml

MAX_CHAIN = 32
"""Longest chain of files."""


def config_files(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """Split arguments into the files of `--config`, after those that they extend, and all other arguments."""
    files: dict[Path, None] = {}  # a common parent of two files appears once, before both
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, _, value = argument.partition("=")
        if name.startswith("-c") and name != "-c":  # `-cFILE`
            name, value = "-c", argument[2:]
        if name in ("--config", "-c"):
            files.update(dict.fromkeys(chain(Path(value or next(rest, "")))))
        else:
            others.append(argument)
    return list(files), others


def with_extends(arguments: list[str]) -> list[str]:
    """Replace all `--config` files by one configuration in YAML, which comes before all other options."""
    files, others = config_files(arguments)
    return ["--config", OmegaConf.to_yaml(_merged(files)), *others] if files else others


def file_of(option: str, arguments: list[str]) -> Path | None:
    """Return the last file of `--config` that sets an option, given by its last name; None if none does."""
    for file in reversed(config_files(arguments)[0]):
        if _sets(_plain(read_yaml(file)), option):
            return file
    return None


def _sets(config: Any, option: str) -> bool:
    return isinstance(config, Mapping) and (option in config or any(_sets(part, option) for part in config.values()))


def chain(path: Path, below: tuple[Path, ...] = ()) -> list[Path]:
    """List a file and all files that it extends, the most distant first.

    Raises:
        ConfigError: a file cannot be read, does not contain keys and values, or extends itself.
    """
    # read first, because this refuses a path with a NUL, which cannot be resolved
    parent = _plain(read_yaml(path)).get("extends")
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
    return _plain(_merged(chain(path)))


def merge(*configs: Mapping[str, Any]) -> dict[str, Any]:
    """Merge later configurations over earlier ones, as plain values: maps are merged, other values are replaced.

    Raises:
        ConfigError: OmegaConf refuses a value; names its key.
    """
    return _plain(_over([("the configuration", config) for config in configs]))


def _merged(files: list[Path]) -> DictConfig:
    return _over([(str(file), read_yaml(file)) for file in files])


def _over(configs: Sequence[tuple[str, Any]]) -> DictConfig:
    """Merge named configurations in order."""
    result = OmegaConf.create()
    for name, above in configs:
        try:
            result.merge_with(OmegaConf.create(above))
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            raise ConfigError(f"{name}: {omegaconf_reason(error)}") from error
    return result


def _plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain values, with its `${}` as text."""
    found: Any = OmegaConf.to_container(config)
    result: dict[str, Any] = found
    return result


def lookup(config: Mapping[str, Any], name: str) -> Any:
    """Return the value of a nested configuration under a dotted name; None if there is none."""
    place: Any = config
    for key in name.split("."):
        place = place.get(key) if isinstance(place, Mapping) else None
    return place
