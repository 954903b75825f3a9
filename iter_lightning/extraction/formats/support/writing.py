"""Base classes of writers, and the counts of what a format cannot represent."""

from __future__ import annotations

import gzip
import io
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.types import Schema


class Writer(ABC):
    """Writes documents one by one.

    A subclass opens its files in `open` and enters them into `self.files`, which closes them. `open_writer` calls
    `close` at the end, or `discard` after an error.

    Args:
        path: where to write: a new file, or a new folder. It has the output's name and suffix, and its folder is
            removed afterwards.
        schema: the types that may occur.
        context: `sentence` or `document`: what the model read at once.
        losses: counts what the format cannot represent.
    """

    def __init__(self, path: Path, schema: Schema, context: str, losses: Losses) -> None:
        self.path = path
        self.schema = schema
        self.context = context
        self.losses = losses
        self.files = ExitStack()
        self.open()

    def open(self) -> None:  # noqa: B027 (optional)
        """Prepare to write."""

    @abstractmethod
    def write(self, document: Document) -> None:
        """Add a document."""

    def close(self) -> None:
        """Write the rest, which may take a while, and close the files."""
        self.files.close()

    def discard(self) -> None:
        """Close the files after an error, and ignore further ones."""
        with suppress(Exception):
            self.files.close()


class TextWriter(Writer):
    """Writes a UTF-8 file as `self.file`; see `Writer` for the arguments.

    The file is compressed if its path ends in `.gz` (without a time stamp, so equal text gives equal bytes). Line
    endings are written unchanged.
    """

    def open(self) -> None:
        """Open the file."""
        raw: Any = self.files.enter_context(self.path.open("wb"))
        if self.path.suffix.lower() == ".gz":
            raw = self.files.enter_context(gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0))
        self.file = self.files.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline=""))


class Losses:
    """Counts of what a format cannot represent, by reason.

    Args:
        format: the name of the format, with which notes begin.

    Example:
        >>> losses = Losses("conll")
        >>> losses.add("holds no relations", 1204)
        >>> losses.notes()
        ['conll holds no relations: 1,204 left out']
    """

    def __init__(self, format: str) -> None:
        self.format = format
        self._counts: Counter[tuple[str, str]] = Counter()
        self._names: list[SafeNames] = []
        self._notes: list[str] = []

    def add(self, why: str, number: int = 1, what: str = "left out") -> None:
        """Count `number` cases of `why`; `what` says what was done about them."""
        if number:
            self._counts[why, what] += number

    def note(self, text: str) -> None:
        """Report a sentence of the format's own."""
        self._notes.append(text)

    def safe_names(self, forbidden: str, names: Iterable[str] = ()) -> SafeNames:
        """Return names of types in the characters that the format allows; changed ones are reported."""
        self._names.append(SafeNames(forbidden, names))
        return self._names[-1]

    def notes(self) -> list[str]:
        """Return a line per reason, in the order in which reasons first occurred."""
        counts = [f"{self.format} {why}: {count:,} {what}" for (why, what), count in self._counts.items()]
        changed = [", ".join(names.changed()) for names in self._names if names.changed()]
        return [*counts, *(f"{self.format} cannot spell all types: {names}" for names in changed), *self._notes]


class SafeNames:
    """Maps names to names without forbidden characters, so that different names stay different.

    Args:
        forbidden: pattern of the characters that become `_`.
        names: names known from the start; those that need no change keep their spelling.
    """

    def __init__(self, forbidden: str, names: Iterable[str] = ()) -> None:
        self._forbidden = re.compile(forbidden)
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        names = tuple(names)
        for name in sorted(names, key=lambda name: self._safe(name) != name):
            self(name)
        self._names = {name: self._names[name] for name in names}

    def __call__(self, name: str) -> str:
        """Return the safe spelling of a name."""
        if name not in self._names:
            safe, number = self._safe(name), 1
            while safe in self._taken:
                number += 1
                safe = f"{self._safe(name)}_{number}"
            self._names[name] = safe
            self._taken.add(safe)
        return self._names[name]

    def items(self) -> Iterable[tuple[str, str]]:
        """Return each name so far with its safe spelling."""
        return self._names.items()

    def changed(self) -> list[str]:
        """Describe the names that are spelled differently."""
        return [f"{name!r} is {safe}" for name, safe in self._names.items() if safe != name]

    def _safe(self, name: str) -> str:
        return self._forbidden.sub("_", name) or "_"


def needed(module: str, purpose: str) -> Any:
    """Import a module of an optional package.

    Raises:
        ConfigError: it is missing; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ConfigError(f"{purpose} needs {package} (pip install 'iter-lightning[extract]')") from error
