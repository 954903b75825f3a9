"""SpERT's JSON: an array of records with tokens, entities and relations. `json_array` reads it for extraction.

`corpora.spert` reads and writes the same records as corpora.
"""

from __future__ import annotations

import json

from iter_lightning.corpora.spert import spert_record
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.base import Format
from iter_lightning.extraction.formats.support.words import word_examples
from iter_lightning.extraction.formats.support.writing import TextWriter


class SpertWriter(TextWriter):
    """Writes a record per sentence, or per document in the context `document`; `orig_id` is the document's id."""

    def open(self) -> None:
        """Open the file."""
        super().open()
        self._separator = "[\n"

    def write(self, document: Document) -> None:
        """Add the records of a document."""
        for example in word_examples(document, self.context, self.losses):
            record = spert_record(example)
            if not document.id:  # readers number records without an id
                del record["orig_id"]
            self.file.write(self._separator + json.dumps(record, ensure_ascii=False))
            self._separator = ",\n"

    def close(self) -> None:
        """End the array."""
        self.file.write("[]\n" if self._separator == "[\n" else "\n]\n")
        super().close()


SPERT = Format(
    "spert", "SpERT's records, for training", (".json",), write=SpertWriter,
    cannot_hold="scores, the white space between words", gzip=True,
)  # fmt: skip
