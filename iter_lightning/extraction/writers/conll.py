"""CoNLL: a word and its BIO tags a line, what `corpora.conll` reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.writers.files import TextFile
from iter_lightning.extraction.writers.losses import SafeNames
from iter_lightning.extraction.writers.units import units_of
from iter_lightning.types import Schema

_SPACE = re.compile(r"\s+")
_DOCUMENT = "-DOCSTART-"


class ConllWriter(TextFile):
    """Columns divided by tabs: the word, then as many tags as the deepest nesting of the file needs.

    The last column tags the longest entities, those that no longer one overlaps; the one before it the longest of
    the others, and so on. So the last column alone, which readers of CoNLL03 take, is a flat annotation. Lines are
    kept beside the path until their number of columns is known. `-DOCSTART- (id)` opens a document, an empty line
    ends a sentence. Relations, scores and the white space between words are not in this layout.
    """

    def __init__(self, path: Path, schema: Schema, context: str) -> None:
        super().__init__(path, "conll")
        self._spool = TemporaryFile("w+", dir=path.parent, encoding="utf-8", newline="\n")  # noqa: SIM115
        self._layers = 1
        self._types = SafeNames("conll", r"\s", schema.entity_types)

    def write(self, document: Document) -> None:
        """Add a document's sentences."""
        name = _SPACE.sub(" ", document.id).strip()
        lines = [f"{_DOCUMENT} ({name})" if name else _DOCUMENT, ""]
        for unit in units_of(document, "sentence", self.losses, relations=False):
            entities = [(start, end, self._types(kind)) for start, end, kind in unit.entities]
            columns = tag_layers(entities, len(unit.words))
            self._layers = max(self._layers, len(columns))
            lines += ["\t".join(row) for row in zip(map(self._word, unit.words), *reversed(columns), strict=True)]
            lines.append("")
        self._spool.write("\n".join(lines) + "\n")
        self.losses.add("holds no relations", len(document.relations))

    def close(self) -> None:
        """Write the lines with as many columns each."""
        self._spool.seek(0)
        for line in self._spool:
            if missing := self._layers - line.count("\t") if "\t" in line else 0:
                word, _, tags = line.partition("\t")
                line = "\t".join([word, *["O"] * missing, tags])
            self._file.write(line)
        self._spool.close()
        super().close()
        self.notes += self._types.notes()

    def discard(self) -> None:
        """Close without care for what is left."""
        super().discard()
        with suppress(OSError):
            self._spool.close()

    def _word(self, word: str) -> str:
        safe = _SPACE.sub("_", word)
        if safe == _DOCUMENT:
            safe = safe.lower()
        if safe != word:
            self.losses.add("holds no white space in words", 1, "written otherwise")
        return safe


def tag_layers(entities: Sequence[tuple[int, int, str]], length: int) -> list[list[str]]:
    """BIO tags of `length` words, as many layers as it takes, one at least; longer entities come before shorter."""
    found = [["O"] * length]
    for start, end, kind in sorted(entities, key=lambda e: (e[0] - e[1], e[0])):
        layer = next((tags for tags in found if all(tag == "O" for tag in tags[start:end])), None)
        if layer is None:
            found.append(layer := ["O"] * length)
        layer[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return found
