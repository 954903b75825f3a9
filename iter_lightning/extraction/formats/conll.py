"""CoNLL: a word and its tags per line, an empty line between sentences. `corpora.conll` holds the parts for corpora."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from tempfile import TemporaryFile

from iter_lightning.corpora.conll import DOCUMENT_START, columns_of, line_fault, tag_layers, tagged_example
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.formats.support.base import Advance, BadRecord, Format, Item, ReadOptions, Source
from iter_lightning.extraction.formats.support.records import word_annotation
from iter_lightning.extraction.formats.support.streams import Line, lines_of
from iter_lightning.extraction.formats.support.words import word_examples
from iter_lightning.extraction.formats.support.writing import TextWriter

_SPACE = re.compile(r"\s+")


def read_conll(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """Read words from the first column and tags from the last.

    A document begins at `-DOCSTART-`; before the first one, each sentence is a document. A bad line makes its document
    a bad record.
    """
    block, in_documents = _Block(source, options), False
    for line in lines_of(source, options, advance):
        try:
            columns: list[str] | ValueError = columns_of(line.text())
        except ValueError as error:
            columns = error
        starts = isinstance(columns, list) and columns[:1] == [DOCUMENT_START]
        if starts or (columns == [] and not in_documents):
            yield from block.items()
            block = _Block(source, options)
        if starts:
            in_documents = True
        elif columns:
            block.add(line, columns)
        elif block.sentences[-1]:
            block.sentences.append([])
    yield from block.items()


@dataclass
class _Block:
    """The document that is being read."""

    source: Source
    options: ReadOptions
    sentences: list[list[tuple[str, str]]] = field(default_factory=lambda: [[]])
    first: str = ""
    """The place of its first word."""
    characters: int = 0
    fault: BadRecord | None = None

    def add(self, line: Line, columns: list[str] | ValueError) -> None:
        """Add a word and its tag. After a fault, nothing is kept."""
        self.first = self.first or line.place
        if self.fault is not None:
            return
        if isinstance(columns, ValueError):
            reason: str | None = str(columns)
        else:
            reason = line_fault(columns, -1 if self.options.gold else None)
            self.characters += len(columns[0]) + 1
            self.sentences[-1].append((columns[0], columns[-1]))
            if self.characters - 1 > self.options.max_characters:
                reason = f"more than {self.options.max_characters:,} characters in a document (max_characters)"
        if reason:
            document = "" if self.first == line.place else f" (the document begins at {self.first})"
            self.fault = BadRecord(self.source.name, line.place, reason + document, line.shown())
            self.sentences = [[]]

    def items(self) -> Iterator[Item]:
        """Yield the document or its fault. A document without words yields nothing."""
        if self.fault is not None:
            yield self.fault
        elif self.first:
            words = [[word for word, _ in sentence] for sentence in self.sentences]
            document = Document.from_words(words, id=f"{self.source.name}:{self.first}")
            if self.options.gold:
                document = replace(document, gold=word_annotation(document, tagged_example(self.sentences)))
            yield document


class ConllWriter(TextWriter):
    """Writes tab-separated columns: the word, then as many tags as the deepest nesting of the file needs.

    The last column tags the longest entities, the one before it the longest of the others, and so on. So the last
    column alone, which readers of CoNLL03 use, is a flat annotation. `-DOCSTART- (id)` begins a document. Lines are
    kept in a temporary file until the number of columns is known.
    """

    def open(self) -> None:
        """Open the file and a temporary one."""
        super().open()
        spool = TemporaryFile("w+", dir=self.path.parent, encoding="utf-8", newline="\n")  # noqa: SIM115
        self._spool = self.files.enter_context(spool)
        self._layers = 1
        self._types = self.losses.safe_names(r"\s", self.schema.entity_types)

    def write(self, document: Document) -> None:
        """Add the sentences of a document."""
        name = _SPACE.sub(" ", document.id).strip()
        lines = [f"{DOCUMENT_START} ({name})" if name else DOCUMENT_START, ""]
        for example in word_examples(document, "sentence", self.losses, relations=False):
            entities = [replace(entity, type=self._types(entity.type)) for entity in example.entities]
            layers = tag_layers(entities, len(example.words))
            self._layers = max(self._layers, len(layers))
            lines += ["\t".join(row) for row in zip(map(self._word, example.words), *reversed(layers), strict=True)]
            lines.append("")
        self._spool.write("\n".join(lines) + "\n")
        self.losses.add("holds no relations", len(document.relations))

    def close(self) -> None:
        """Write all lines with the same number of columns."""
        self._spool.seek(0)
        for line in self._spool:
            if missing := self._layers - line.count("\t") if "\t" in line else 0:
                word, _, tags = line.partition("\t")
                line = "\t".join([word, *["O"] * missing, tags])
            self.file.write(line)
        super().close()

    def _word(self, word: str) -> str:
        safe = _SPACE.sub("_", word)
        if safe == DOCUMENT_START:
            safe = safe.lower()
        if safe != word:
            self.losses.add("holds no white space in words", 1, "written otherwise")
        return safe


CONLL = Format(
    "conll", "words and BIO tags", (".conll", ".bio", ".iob"), read=read_conll, write=ConllWriter,
    cannot_hold="relations, scores, the white space between words", gzip=True, reads_gold=True,
    other_suffixes=(".txt", ".tsv"),
)  # fmt: skip
