"""JSON lines: `Document.to_dict`, all of it."""

from __future__ import annotations

import json
from pathlib import Path

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.writers.files import TextFile
from iter_lightning.types import Schema


class JsonlWriter(TextFile):
    """An object a line; nothing is lost."""

    def __init__(self, path: Path, schema: Schema, context: str) -> None:
        super().__init__(path, "jsonl")

    def write(self, document: Document) -> None:
        """Add a document."""
        self._file.write(json.dumps(document.to_dict(), ensure_ascii=False) + "\n")
