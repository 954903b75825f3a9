"""Write the first documents of a stream to a page, with the memory of one document."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.page.rendering import TITLE, Renderable, document_block, page_parts
from iter_lightning.io.atomic import whole_file
from iter_lightning.types import Schema

LIMIT = 500
"""Default number of documents, which browsers display without delay."""
MOST_BYTES = 64 * 2**20
"""Largest total size of the documents of a page, in bytes."""


class PageWriter:
    """Write documents to a page one by one.

    Documents past a limit are only counted, and the page and `notes` report their number. The file appears when the
    writer is closed. An error inside the `with` block discards it.

    Args:
        path: Path of the page.
        schema: Order of the types, which defines their colors, and symmetric relation types.
        limit: Largest number of documents.
        title: Title of the page.

    Raises:
        ConfigError: If `limit` is below 1, or if the page cannot be written.

    Example:
        >>> import tempfile
        >>> from iter_lightning import Document
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with PageWriter(Path(folder, "page.html"), Schema(("Peop",)), limit=1) as writer:
        ...         writer.write(Document.from_words([["Ada", "sings"]]))
        ...         writer.write(Document.from_words([["Bo", "sleeps"]]))
        >>> writer.notes
        ['the page shows the first 1 of 2 documents']
    """

    def __init__(self, path: Path, schema: Schema, limit: int = LIMIT, title: str = TITLE) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigError(f"{path}: the limit of a page must be a whole number of at least 1, found {limit!r}")
        self.path = Path(path)
        self.limit = limit
        self.notes: list[str] = []
        self._seen = self._shown = self._bytes = 0
        head, self._end = page_parts(schema, title)
        try:
            if self.path.is_dir():
                raise IsADirectoryError(0, "is a folder")
            self._open = ExitStack()
            self._file = self._open.enter_context(whole_file(self.path))
        except OSError as error:
            raise ConfigError(f"{path}: the page cannot be written: {error.strerror or error}") from error
        self._file.write(head)

    def write(self, document: Renderable) -> None:
        """Add a document, or only count it if a limit is reached.

        Raises:
            ConfigError: If the writer is closed.
        """
        if self._file.closed:
            raise ConfigError(f"{self.path}: the page is closed")
        complete = self._seen == self._shown  # no document is shown after a skipped one
        self._seen += 1
        if not complete or self._shown >= self.limit:
            return
        block = document_block(document)
        size = len(block.encode())
        if self._bytes + size > MOST_BYTES:
            return
        self._file.write(block)
        self._bytes += size
        self._shown += 1

    def close(self) -> None:
        """Finish the page and move it to its path. Closing twice has no effect."""
        if self._file.closed:
            return
        if self._shown < self._seen:
            self.notes = [f"the page shows the first {self._shown:,} of {self._seen:,} documents"]
        with self._open:
            self._file.write(self._end(self.notes))

    def discard(self) -> None:
        """Remove the unfinished page. An existing file at the path does not change."""
        with suppress(_DiscardedError), self._open:
            raise _DiscardedError

    def __enter__(self) -> PageWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class _DiscardedError(Exception):
    """Ends the block that writes the page, so that its file is removed."""
