"""Read YAML files of users (experiments, plans, sweeps) within limits.

A file may have at most `MAX_BYTES` bytes, `MAX_DEPTH` levels of nesting, and `MAX_VALUES` keys and values after aliases
(`*name`) are expanded. Larger files are refused before anything is built.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from iter_lightning.errors import ConfigError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_VALUES = 20_000
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml, if PyYAML was built with it; ten times faster."""


def read_yaml(path: Path) -> DictConfig:
    """Read a YAML file of keys and values with OmegaConf.

    Raises:
        ConfigError: it cannot be read, exceeds a limit, or contains something else.
    """
    name = f"the configuration {path}"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{name} cannot be read: it is not a regular file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ConfigError(f"{name!s:.300} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_BYTES:,} bytes, the limit of a configuration")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    content = parse_yaml(text, name)
    if not isinstance(content, dict):
        raise ConfigError(f"{name} must hold keys and values, found {type(content).__name__}")
    if wrong := _key_that_is_not_text(content):
        raise ConfigError(f"{name}: the key {wrong} must be text; put it in quotation marks")
    try:
        config = OmegaConf.create(text)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:  # such as a key that is given twice
        raise ConfigError(f"{name}: {omegaconf_reason(error)}") from error
    assert isinstance(config, DictConfig)
    return config


def parse_yaml(text: str, name: str) -> Any:
    """Parse YAML within the limits.

    Args:
        text: the YAML.
        name: name of the text in messages.

    Raises:
        ConfigError: it is not valid YAML, or exceeds a limit.
    """
    try:
        check_limits(text)
        return yaml.load(text, Loader=_LOADER)
    except LimitError as error:
        raise ConfigError(f"{name}: {error}") from error
    except (
        yaml.YAMLError,
        ValueError,
        OverflowError,
    ) as error:  # ValueError: an impossible date, or a number that is too long
        raise ConfigError(f"{name} is not valid YAML: {_one_line(error)}") from error


class LimitError(ValueError):
    """YAML that exceeds a limit."""


def check_limits(text: str) -> None:
    """Check YAML without building its values.

    Raises:
        LimitError: it is nested too deeply, has too many values, or an alias lies inside its own anchor.
        yaml.YAMLError: it is not valid YAML.
    """
    counting = _Counting()
    for event in yaml.parse(text, Loader=_LOADER):
        counting.take(event)


@dataclass
class _Counting:
    """Number of values so far, including expanded aliases."""

    sizes: dict[str, int] = field(default_factory=dict)
    """Anchor -> number of values below it, for closed lists and maps."""
    open: list[tuple[str | None, int]] = field(default_factory=list)
    """Open lists and maps: anchor, and the total before them."""
    total: int = 0

    def take(self, event: yaml.Event) -> None:
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == name for name, _ in self.open):
                raise LimitError(f"the alias *{anchor} is inside what it stands for")
            self._add(self.sizes.get(str(anchor), 1))
        elif isinstance(event, yaml.ScalarEvent):
            self._add(1)
            if anchor:
                self.sizes[anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            self.open.append((anchor, self.total))
            self._add(1)
            if len(self.open) > MAX_DEPTH:
                raise LimitError(f"nested deeper than {MAX_DEPTH} levels, the limit of a configuration")
        elif isinstance(event, yaml.CollectionEndEvent):
            name, before = self.open.pop()
            if name:
                self.sizes[name] = self.total - before

    def _add(self, count: int) -> None:
        self.total += count
        if self.total > MAX_VALUES:
            raise LimitError(
                f"more than {MAX_VALUES:,} keys and values, aliases replaced: the limit of a configuration"
            )


def _key_that_is_not_text(content: Any) -> str | None:
    """Return the first key that is not text, as shown in messages; None if all are text."""
    if isinstance(content, dict):
        for key, value in content.items():
            if not isinstance(key, str):
                return repr(key)[:60]
            if wrong := _key_that_is_not_text(value):
                return wrong
    if isinstance(content, list):
        return next((wrong for item in content if (wrong := _key_that_is_not_text(item))), None)
    return None


def omegaconf_reason(error: Exception) -> str:
    """Return OmegaConf's message as one line, which starts with the key."""
    key = getattr(error, "full_key", None)
    return f"{key}: {str(error).split(chr(10))[0][:300]}" if key else _one_line(error)


def _one_line(error: Exception) -> str:
    """Return PyYAML's message as one line."""
    return " ".join(str(error).split())[:300]
