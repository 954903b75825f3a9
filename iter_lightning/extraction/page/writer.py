"""`PageWriter`: the first documents of a stream as a page, in the memory of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.page.rendering import TITLE, document_block, page_parts
from iter_lightning.files import permit
from iter_lightning.types import Schema

LIMIT = 500
"""Documents that a browser still shows at ease."""
MOST_BYTES = 64 * 2**20
"""Of documents in one page; long ones reach it before `LIMIT`."""


class PageWriter:
    """Writes documents into a page as they come; past a limit it only counts them, which the page and `notes` say.

    The file appears when the writer is closed; what is discarded, or left by an error inside of `with`, leaves none.

    Args:
        path: of the page.
        schema: the order of the types, and so their colours, and which relations are symmetric.
        limit: documents at most.
        title: of the page.

    Raises:
        ConfigError: a limit below 1, or a place that cannot be written to.
    """

    def __init__(self, path: Path, schema: Schema, limit: int = LIMIT, title: str = TITLE) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigError(f"{path}: the limit of a page must be a whole number from 1, found {limit!r}")
        self.path = Path(path)
        self.limit = limit
        self.notes: list[str] = []
        self._seen = self._shown = self._bytes = 0
        head, self._tail = page_parts(schema, title)
        try:
            if self.path.is_dir():
                raise IsADirectoryError(0, "is a folder")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        except OSError as error:
            raise ConfigError(f"{path}: the page cannot be written: {error.strerror or error}") from error
        self._part: Path | None = Path(name)
        self._file = os.fdopen(handle, "w", encoding="utf-8")
        self._file.write(head)

    def write(self, document: Document) -> None:
        """Add a document, or count it.

        Raises:
            ConfigError: the writer is closed.
        """
        if self._part is None:
            raise ConfigError(f"{self.path}: the page is closed")
        whole = self._seen == self._shown  # the page shows the first ones, none after a gap
        self._seen += 1
        if not whole or self._shown >= self.limit:
            return
        block = document_block(document)
        size = len(block.encode())
        if self._bytes + size > MOST_BYTES:
            return
        self._file.write(block)
        self._bytes += size
        self._shown += 1

    def close(self) -> None:
        """End the page and put it into its place; a second time does nothing."""
        if self._part is None:
            return
        part = self._part
        if self._shown < self._seen:
            self.notes = [f"the page shows the first {self._shown:,} of {self._seen:,} documents"]
        try:
            self._file.write(self._tail(self.notes))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            permit(part)
            part.replace(self.path)
        except BaseException:
            self.discard()
            raise
        self._part = None

    def discard(self) -> None:
        """Leave no file, and one that was there before as it was."""
        if self._part is not None:
            self._part.unlink(missing_ok=True)
            self._part = None
            self._file.close()

    def __enter__(self) -> PageWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
