"""Columns of words and tags, sentence by sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from iter_lightning.corpora.conll import entity_spans
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.readers.items import Advance, BadRecord, Item, ReadOptions, Source
from iter_lightning.extraction.readers.records import word_annotation
from iter_lightning.extraction.readers.streams import Line, lines_of, opened
from iter_lightning.types import Entity, Example

_PREFIXES = ("B-", "I-", "E-", "S-")


def read_conll(source: Source, options: ReadOptions, advance: Advance) -> Iterator[Item]:
    """Word in the first column, tag in the last; a blank line ends a sentence.

    A document begins at `-DOCSTART-`; before the first of those every sentence is one. A bad line spoils its document.
    """
    limit = options.longest_record
    block, in_documents = _Block(source, options), False
    with opened(source, advance) as stream:
        for line in lines_of(stream, limit):
            columns = _columns(line, limit)
            starts = isinstance(columns, list) and columns[:1] == ["-DOCSTART-"]
            if starts or (columns == [] and not in_documents):
                yield from block.items()
                block = _Block(source, options)
            if starts:
                in_documents = True
            elif columns:
                block.add(line, columns)
            else:
                block.end_sentence()
    yield from block.items()


def _columns(line: Line, limit: int) -> list[str] | ValueError:
    """By tabs where the line has one, else by spaces; none in a blank line."""
    try:
        text = line.text(limit).rstrip("\r\n")
    except ValueError as error:
        return error
    if not text.strip():
        return []
    return text.split("\t") if "\t" in text else [column for column in text.split(" ") if column]


@dataclass
class _Block:
    """The document that is being read."""

    source: Source
    options: ReadOptions
    sentences: list[list[tuple[str, str]]] = field(default_factory=lambda: [[]])
    first: str = ""
    """Where its first word is."""
    characters: int = 0
    fault: BadRecord | None = None

    def add(self, line: Line, columns: list[str] | ValueError) -> None:
        """A word and its tag; after a fault nothing is kept."""
        self.first = self.first or line.place
        if self.fault is not None:
            return
        reason = str(columns) if isinstance(columns, ValueError) else self._wrong(columns)
        if not isinstance(columns, ValueError):
            self.characters += len(columns[0]) + 1
            self.sentences[-1].append((columns[0], columns[-1].strip()))
            if self.characters - 1 > self.options.max_characters:
                reason = f"more than {self.options.max_characters:,} characters in a document (max_characters)"
        if reason:
            document = "" if self.first == line.place else f" (the document begins at {self.first})"
            self.fault = BadRecord(self.source.name, line.place, reason + document, line.shown())
            self.sentences = [[]]

    def end_sentence(self) -> None:
        """A blank line."""
        if self.sentences[-1]:
            self.sentences.append([])

    def items(self) -> Iterator[Item]:
        """The document, or what is wrong with it; nothing where it has no word."""
        if self.fault is not None:
            yield self.fault
        elif self.first:
            words = [[word for word, _ in sentence] for sentence in self.sentences]
            document = Document.from_words(words, id=f"{self.source.name}:{self.first}")
            if self.options.gold:
                document = replace(document, gold=word_annotation(document, self._example(document)))
            yield document

    def _wrong(self, columns: list[str]) -> str:
        if not columns[0]:
            return "the word in the first column is empty"
        if not self.options.gold:
            return ""
        if len(columns) < 2:
            return "expected a word and a tag, found one column"
        tag = columns[-1].strip()
        known = tag == "O" or (tag.startswith(_PREFIXES) and len(tag) > 2)
        return "" if known else f"{tag!r} is no tag (O, B-X, I-X, E-X, S-X)"

    def _example(self, document: Document) -> Example:
        entities, offset = [], 0
        for sentence in self.sentences:
            spans = entity_spans([tag for _, tag in sentence])
            entities += [Entity(offset + start, offset + end, kind) for start, end, kind in spans]
            offset += len(sentence)
        return Example(document.word_texts(), tuple(entities))
