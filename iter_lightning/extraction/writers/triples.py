"""CSV and TSV: a relation a row."""

from __future__ import annotations

import csv
from bisect import bisect_left, bisect_right
from pathlib import Path

from iter_lightning.extraction.documents import Document, TextRelation
from iter_lightning.extraction.writers.files import TextFile
from iter_lightning.types import Schema

COLUMNS = (
    "document", "head", "head_type", "head_start", "head_end", "relation", "tail", "tail_type", "tail_start",
    "tail_end", "score", "sentence",
)  # fmt: skip


class TriplesWriter(TextFile):
    """Rows as RFC 4180 has them, fields divided by tabs where the path says `.tsv`.

    `sentence` is the text of the sentence, or from the first to the last of the sentences a relation spans. Fields
    are written as they are found: spreadsheets take one that begins with `=`, `+`, `-` or `@` for a formula, so
    import columns of texts you do not trust as text.
    """

    def __init__(self, path: Path, schema: Schema, context: str) -> None:
        super().__init__(path, "csv")
        tabs = ".tsv" in (suffix.lower() for suffix in path.suffixes[-2:])
        self._csv = csv.writer(self._file, csv.excel_tab if tabs else csv.excel)
        self._csv.writerow(COLUMNS)

    def write(self, document: Document) -> None:
        """Add a document's relations."""
        starts = [start for start, _ in document.sentences]
        for relation in document.relations:
            head, tail = relation.head, relation.tail
            self._csv.writerow((
                document.id, head.text, head.type, head.start, head.end, relation.type, tail.text, tail.type,
                tail.start, tail.end, relation.score, _sentence(document, relation, starts),
            ))  # fmt: skip
        linked = {entity for relation in document.relations for entity in (relation.head, relation.tail)}
        self.losses.add("holds no entity without a relation", len(set(document.entities) - linked))


def _sentence(document: Document, relation: TextRelation, starts: list[int]) -> str:
    low = min(relation.head.start, relation.tail.start)
    high = max(relation.head.end, relation.tail.end)
    first, last = bisect_right(starts, low) - 1, bisect_left(starts, high) - 1
    if first >= 0:
        low = starts[first]
    if last >= 0:
        high = max(high, document.sentences[last][1])
    return document.text[low:high]
