"""Base classes of writers."""

from __future__ import annotations

import gzip
import io
from abc import ABC, abstractmethod
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.losses import Losses
from iter_lightning.types import Schema


class Writer(ABC):
    """Writes documents one by one.

    `open_writer` calls `close` at the end, or `discard` after an error.

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

    @abstractmethod
    def write(self, document: Document) -> None:
        """Add a document."""

    def close(self) -> None:  # noqa: B027 (optional)
        """Write the rest; this may take a while."""

    def discard(self) -> None:  # noqa: B027 (optional)
        """Release open files after an error."""


class TextWriter(Writer):
    """Writes a UTF-8 file as `self.file`; see `Writer` for the arguments.

    The file is compressed if its path ends in `.gz` (without a time stamp, so equal text gives equal bytes). Line
    endings are written unchanged.
    """

    def __init__(self, path: Path, schema: Schema, context: str, losses: Losses) -> None:
        super().__init__(path, schema, context, losses)
        self._raw = path.open("wb")
        self._packed = None
        if path.suffix.lower() == ".gz":
            self._packed = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._raw, mtime=0)
        self.file = io.TextIOWrapper(self._packed or self._raw, encoding="utf-8", newline="")

    def close(self) -> None:
        """Write the rest."""
        self.file.close()
        self._raw.close()

    def discard(self) -> None:
        """Close the files and ignore errors."""
        for file in (self.file, self._packed, self._raw):
            if file is not None:
                with suppress(OSError, ValueError):
                    file.close()


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
