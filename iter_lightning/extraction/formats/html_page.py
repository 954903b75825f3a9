"""HTML: the page of `extraction.page`, which shows the first documents."""

from __future__ import annotations

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.base import Format
from iter_lightning.extraction.formats.support.writing import Writer


class HtmlWriter(Writer):
    """Writes documents with `PageWriter`, which limits how many the page shows."""

    def open(self) -> None:
        """Start the page."""
        from iter_lightning.extraction.page import PageWriter

        self._page = self.files.enter_context(PageWriter(self.path, self.schema))

    def write(self, document: Document) -> None:
        """Add a document."""
        self._page.write(document)

    def close(self) -> None:
        """Write the end of the page."""
        super().close()
        for note in self._page.notes:
            self.losses.note(note)


HTML = Format(
    "html", "a page to look at", (".html", ".htm"), write=HtmlWriter, cannot_hold="documents past the page's limit",
    writes_gold=True,
)  # fmt: skip
