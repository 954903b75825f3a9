"""SpERT's JSON: what `corpora.spert` reads, and other relation extractors too."""

from __future__ import annotations

import json
from pathlib import Path

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.writers.files import TextFile
from iter_lightning.extraction.writers.units import units_of
from iter_lightning.types import Schema


class SpertWriter(TextFile):
    """A record a sentence, or a document for the context `document`; `orig_id` is the document's id.

    The white space between words and the scores are not in this layout.
    """

    def __init__(self, path: Path, schema: Schema, context: str) -> None:
        super().__init__(path, "spert")
        self._context = context
        self._between = "[\n"

    def write(self, document: Document) -> None:
        """Add a document's records."""
        for unit in units_of(document, self._context, self.losses):
            record = {
                "tokens": unit.words,
                "entities": [{"type": kind, "start": start, "end": end} for start, end, kind in unit.entities],
                "relations": [{"type": kind, "head": head, "tail": tail} for head, tail, kind in unit.relations],
            }
            if document.id:  # readers number the records that have none
                record["orig_id"] = document.id
            self._file.write(self._between + json.dumps(record, ensure_ascii=False))
            self._between = ",\n"

    def close(self) -> None:
        """End the list."""
        self._file.write("[]\n" if self._between == "[\n" else "\n]\n")
        super().close()
