"""GENIA: its description, and the reader of the 3.02 archive.

The rules are those behind the splits of recent work on nested entities:

- Sentences keep the order of the file.
- Text is split at white space and at every `cons` tag.
- A `cons` element is an entity if its `sem` starts with one of the prefixes below. Elements without `sem` and
  coordinations are not entities.
- If a span has several types, the type that sorts last is kept.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import IO, Any, NoReturn
from xml.parsers import expat

from iter_lightning.corpora.corpus import Corpus, CorpusFile, Counts, Layout, SplitProtocol, Splits
from iter_lightning.corpora.spert import read_spert, write_spert
from iter_lightning.errors import CorpusError, IterError
from iter_lightning.io.streams import GzipReader, regular_file
from iter_lightning.types import Entity, Example, Schema

XML_NAME, ARCHIVE = "GENIAcorpus3.02.xml", "GENIAcorpus3.02.tgz"
TYPES = (("G#DNA", "DNA"), ("G#RNA", "RNA"), ("G#protein", "protein"))
"""Prefixes of `sem` and their types."""
EXACT = {"G#cell_type": "cell_type", "G#cell_line": "cell_line"}
TRAIN_DEV, TRAIN = 16_692, 15_023
"""Of 18,546 sentences, the first 16,692 are train and dev, and the first 15,023 of these are train."""
LARGEST_XML, DEEPEST = 256 << 20, 100
"""Limits on the XML: bytes (the corpus has 9 million) and depth of elements (the corpus has 8)."""


def read_genia(archive: str | Path) -> list[Example]:
    """Read all sentences of `GENIAcorpus3.02.tgz`, or of its XML file, in file order. Ids count from 0.

    Raises:
        CorpusError: If the file is missing, damaged, or over a limit, or if the archive has no XML file.
    """
    archive = Path(archive)
    try:
        with regular_file(archive).open("rb") as file:
            if archive.suffix == ".xml":
                return _sentences(file)
            with io.BufferedReader(GzipReader(file)) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
                member = next((m for m in tar if Path(m.name).name == XML_NAME), None)
                if member is None:
                    raise IterError(f"holds no {XML_NAME}")
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise IterError(f"{XML_NAME} in it is a link or a device; expected a file")
                return _sentences(content)
    except (IterError, OSError, EOFError, ValueError, LookupError, tarfile.TarError, expat.ExpatError) as error:
        reason = getattr(error, "strerror", None) or error  # LookupError, ValueError: an encoding
        raise CorpusError([f"{archive}: cannot be read: {reason}"]) from error


def _sentences(file: IO[bytes]) -> list[Example]:
    """Parse the XML as a stream.

    Raises:
        IterError: If it is over a limit, or declares entities.
    """
    reader, size = _SentenceReader(), 0
    while data := file.read(1 << 16):
        size += len(data)
        if size > LARGEST_XML:
            raise IterError(f"the XML is larger than {LARGEST_XML:,} bytes")
        reader.parser.Parse(data, False)
    reader.parser.Parse(b"", True)
    return reader.examples


class _SentenceReader:
    """Collect the sentences of an XML stream. Every tag is a word boundary."""

    def __init__(self) -> None:
        self.examples: list[Example] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._add_text
        self.parser.EntityDeclHandler = self._refuse_entities
        self._open: list[tuple[str | None, int]] = []
        """Type and first word of each open element."""
        self._sentence = 0
        """Number of open elements at the start of the current sentence; 0 outside of sentences."""
        self._text: list[str] = []
        self._words: list[str] = []
        self._types: dict[tuple[int, int], str] = {}

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._end_words()
        kind = _type_of(attributes.get("sem", "")) if tag == "cons" else None
        self._open.append((kind, len(self._words)))
        if len(self._open) > DEEPEST:
            raise IterError(
                f"line {self.parser.CurrentLineNumber}: elements are nested more than {DEEPEST} deep, GENIA's at most 8"
            )
        if tag == "sentence" and not self._sentence:
            self._sentence = len(self._open)

    def _end(self, tag: str) -> None:
        self._end_words()
        kind, start = self._open.pop()
        if kind is not None and len(self._words) > start:
            span = (start, len(self._words))
            self._types[span] = max(kind, self._types.get(span, ""))
        if self._sentence > len(self._open):
            entities = tuple(Entity(start, end, kind) for (start, end), kind in self._types.items())
            self.examples.append(Example(tuple(self._words), entities, id=str(len(self.examples))))
            self._sentence, self._words, self._types = 0, [], {}

    def _add_text(self, text: str) -> None:
        if self._sentence:
            self._text.append(text)

    def _end_words(self) -> None:
        self._words.extend("".join(self._text).split())
        self._text.clear()

    def _refuse_entities(self, name: str, *declaration: Any) -> NoReturn:
        raise IterError(
            f"it declares the entity {name!r}; GENIA declares none, and entities could expand without limit"
        )


def _type_of(sem: str) -> str | None:
    return EXACT.get(sem) or next((kind for prefix, kind in TYPES if sem.startswith(prefix)), None)


_PREPARED = Layout({"train": "genia_train_dev.json", "test": "genia_test.json"}, read_spert)
_PARTS = {"train": slice(None, TRAIN_DEV), "test": slice(TRAIN_DEV, None)}


def _convert(folder: Path) -> None:
    """Write the sentences of the archive as SpERT's JSON, which is read faster."""
    examples = read_genia(folder / ARCHIVE)
    for split, part in _PARTS.items():
        write_spert(examples[part], folder / _PREPARED.files[split])


def _protocol(splits: Splits, protocol: SplitProtocol) -> Splits:
    """Under `clean`, split dev off train as usual."""
    if protocol == "paper" or "dev" in splits:
        return splits
    return {**splits, "train": splits["train"][:TRAIN], "dev": splits["train"][TRAIN:]}


GENIA = Corpus(
    name="genia", title="GENIA", omega=4, flat=False, overlapping="21.6%",
    summary="MEDLINE abstracts with nested entities; `clean` selects on the usual last tenth of train, `paper` on test.",
    read=read_genia, layouts=(_PREPARED, Layout(dict.fromkeys(_PARTS, ARCHIVE), read_genia, _PARTS)),
    convert=_convert, protocol=_protocol,
    schema=Schema(("DNA", "RNA", "cell_line", "cell_type", "protein")),
    files=(
        CorpusFile(
            ARCHIVE, "", "http://www.nactem.ac.uk/GENIA/current/GENIA-corpus/Term/GENIAcorpus3.02.tgz",
            "85b2aede313308c33783ba508d054d0af0ff9c7e48490f0db5168a9f88d74d1c",
        ),
    ),
    counts={"train": Counts(16692, 50509, 0), "test": Counts(1854, 5506, 0)},
    license='annotation CC BY 3.0, attribution "Corpus annotations (c) GENIA Project"; abstracts under NLM terms',
    citation="Kim et al., Bioinformatics 19 (Suppl. 1), 2003; sentences and types as in Tan et al., IJCAI 2021",
)  # fmt: skip
