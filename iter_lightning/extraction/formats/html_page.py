"""HTML: the page of `extraction.page`, which shows the first documents."""

from __future__ import annotations

from pathlib import Path

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.base import Format
from iter_lightning.extraction.formats.support.losses import Losses
from iter_lightning.extraction.formats.support.writing import Writer
from iter_lightning.types import Schema


class HtmlWriter(Writer):
    """Writes documents with `PageWriter`, which limits how many the page shows."""

    def __init__(self, path: Path, schema: Schema, context: str, losses: Losses) -> None:
        from iter_lightning.extraction.page import PageWriter

        super().__init__(path, schema, context, losses)
        self._page = PageWriter(path, schema)

    def write(self, document: Document) -> None:
        """Add a document."""
        self._page.write(document)

    def close(self) -> None:
        """Write the end of the page."""
        self._page.close()
        for note in self._page.notes:
            self.losses.note(note)

    def discard(self) -> None:
        """Remove the unfinished page."""
        self._page.discard()


HTML = Format(
    "html", "a page to look at", (".html", ".htm"), write=HtmlWriter, cannot_hold="documents past the page's limit",
    writes_gold=True,
)  # fmt: skip
