"""The formats by name: those of this package, of installed packages, and registered ones."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.formats.support.base import Format

ENTRY_POINTS = "iter_lightning.formats"
"""Group of entry points; each names a `Format` in an installed package."""
_PACKAGE = "iter_lightning.extraction.formats"
_logger = logging.getLogger(__name__)


def formats() -> Mapping[str, Format]:
    """Return all formats by name, sorted.

    Returns:
        The formats in the modules of `iter_lightning.extraction.formats`, those that installed packages name under the
        entry point `iter_lightning.formats`, and those given to `register_format`.

    Example:
        >>> formats()["graphml"].suffixes
        ('.graphml',)
    """
    return dict(sorted(_registry().items()))


def register_format(format: Format) -> None:
    """Add a format, so that `extract`, `Reading` and `open_writer` use it.

    This holds for the current process. To add a format to the command line and to the workers of a cluster, name it
    under the entry point `iter_lightning.formats` of an installed package.

    Args:
        format: the declaration.

    Raises:
        ConfigError: another format has the name, or reads or writes one of the suffixes.
    """
    _add(format, _registry())


def suffixes(write: bool) -> dict[str, str]:
    """Return the name of the format that reads (or writes) each suffix."""
    found = (format for format in formats().values() if (format.write if write else format.read))
    return {suffix: format.name for format in found for suffix in format.suffixes}


@cache
def _registry() -> dict[str, Format]:
    """Load the formats once per process."""
    found: dict[str, Format] = {}
    for module in pkgutil.iter_modules(importlib.import_module(_PACKAGE).__path__):
        if not module.ispkg:
            for value in vars(importlib.import_module(f"{_PACKAGE}.{module.name}")).values():
                if isinstance(value, Format):
                    _add(value, found)
    for point in entry_points(group=ENTRY_POINTS):
        try:
            _add(point.load(), found)
        except Exception as error:  # one broken package must not stop the others
            _logger.warning("format %s (%s) is not available: %s", point.name, point.value, error)
    return found


def _add(format: Format, known: dict[str, Format]) -> None:
    if not isinstance(format, Format):
        raise ConfigError(f"expected a Format, found {type(format).__name__}")
    for other in known.values():
        if other.name == format.name:
            raise ConfigError(f"format {format.name!r} is registered already")
        if (other.read and format.read) or (other.write and format.write):
            for suffix in set(other.suffixes) & set(format.suffixes):
                raise ConfigError(f"format {format.name!r}: the suffix {suffix} belongs to {other.name}")
    known[format.name] = format
