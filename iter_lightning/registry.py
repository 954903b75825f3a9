"""Declarations by name: those of the package, of installed packages, and registered ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

from iter_lightning.errors import ConfigError

_logger = logging.getLogger(__name__)


class Named(Protocol):
    """A declaration; its name is its key in a registry."""

    @property
    def name(self) -> str:
        """The key."""


T = TypeVar("T", bound=Named)


class Registry(Mapping[str, T]):
    """Map names to declarations; those of installed packages are loaded when they are first needed.

    Args:
        kind: class of the declarations.
        what: ordinary name of the kind, for messages.
        group: group of entry points, each of which names a declaration in an installed package.
        own: the declarations of this package.
    """

    def __init__(self, kind: type[T], what: str, group: str, own: Iterable[T]) -> None:
        self.kind, self.what, self.group = kind, what, group
        self._known: dict[str, T] = {}
        self._complete = False
        for declaration in own:
            self.register(declaration)

    def register(self, declaration: T) -> T:
        """Add a declaration and return it.

        Raises:
            ConfigError: it has another type, or another declaration has its name.
        """
        if not isinstance(declaration, self.kind):
            raise ConfigError(f"expected a {self.kind.__name__}, found {type(declaration).__name__}")
        if self._known.get(declaration.name, declaration) is not declaration:
            raise ConfigError(f"{self.what} {declaration.name!r} is registered already")
        self._known[declaration.name] = declaration
        return declaration

    def find(self, name: str) -> T:
        """Return a declaration.

        Raises:
            ConfigError: there is none of this name; the message lists all names.
        """
        if name not in self:
            raise ConfigError(f"unknown {self.what} {name!r}; expected one of {', '.join(self)}")
        return self[name]

    def __getitem__(self, name: str) -> T:
        """Return a declaration, or raise `KeyError`."""
        return self._known[name] if name in self._known else self._all()[name]

    def __contains__(self, name: Any) -> bool:
        """Return whether there is a declaration of this name."""
        return name in self._known or name in self._all()

    def __iter__(self) -> Iterator[str]:
        """Return all names, those of this package first."""
        return iter(self._all())

    def __len__(self) -> int:
        """Return the number of declarations."""
        return len(self._all())

    def _all(self) -> dict[str, T]:
        """Load what installed packages declare, once."""
        if not self._complete:
            self._complete = True
            for point in entry_points(group=self.group):
                try:
                    self.register(point.load())
                except Exception as error:  # one broken package must not stop the others
                    _logger.warning("%s %s (%s) is not available: %s", self.what, point.name, point.value, error)
        return self._known
