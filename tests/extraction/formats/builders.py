"""Documents to write and files to read, which the tests of formats share."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from iter_lightning.extraction.documents import Annotation, Document, TextEntity, TextRelation
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions, formats, open_writer
from iter_lightning.extraction.splitting import Splitter
from iter_lightning.types import Schema

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
ODD_LINE = "a\u2028b\x0bc\x0cd\x85e\x1cf\rg\x00h\ufeffi"
"""All that `str.splitlines` cuts at, and LF and CR LF nowhere."""
ADA = "Ada works for Acme."
ADA_GOLD = {
    "entities": [{"start": 0, "end": 3, "type": "Per", "text": "Ada"}, {"start": 14, "end": 18, "type": "Org"}],
    "relations": [{"head": 0, "tail": 1, "type": "WorkFor"}],
}
ADA_WORDS = {
    "tokens": ["Ada", "works", "for", "Acme", "."],
    "entities": [{"start": 0, "end": 1, "type": "Per"}, {"start": 3, "end": 4, "type": "Org"}],
    "relations": [{"head": 0, "tail": 1, "type": "WorkFor"}],
}


SCHEMA = Schema(("Loc", "Org", "Per son"), ("Kin", "Lives/In"), symmetric=("Kin",))
EXAMPLES = 12
GAPS = ("", " ", "  ", "\n", "\r\n", "\t", "\u00a0", " \n ", "\u2028", "\x85", "\r")
WORDS = (
    "Ada", "London", "👩‍🚀", "a\u0301", "שלום", "北京", '"', ",", "don't", "-DOCSTART-", "#", "\x00", "\x1f",
    "New York", "two\nlines", "\ufeff", "<&>", "\\n", "=1+1", "]]>", "\ufffe",
)  # fmt: skip

OUTPUTS = {name: f"out{f.suffixes[0]}" for name, f in formats().items() if f.write} | {"gzip": "out.jsonl.gz"}


def read(path: Path, **options: Any) -> list[Document | BadRecord]:
    return list(Reading([str(path)], ReadOptions(**options)))


def documents_in(path: Path, **options: Any) -> list[Document]:
    found = read(path, **options)
    assert not [item for item in found if isinstance(item, BadRecord)]
    return [item for item in found if isinstance(item, Document)]


def only_bad(path: Path, **options: Any) -> BadRecord:
    (item,) = read(path, **options)
    assert isinstance(item, BadRecord), item
    return item


def told(items: list[Document | BadRecord]) -> list[str]:
    """Texts of documents; place and reason of bad records."""
    return [item.text if isinstance(item, Document) else f"{item.place}: {item.reason}" for item in items]


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_jsonl(path: Path, *records: Any) -> Path:
    return write(path, "".join(json.dumps(record) + "\n" for record in records))


def as_lines(path: Path, texts: list[str]) -> Path:
    return write(path.with_suffix(".txt"), "\ufeff" + "".join(f"{text}\n" for text in texts))


def as_jsonl(path: Path, texts: list[str]) -> Path:
    lines = [json.dumps({"text": text}, ensure_ascii=number % 2 == 0) for number, text in enumerate(texts)]
    return write(path.with_suffix(".jsonl"), "\r\n".join(lines))


def as_json(path: Path, texts: list[str]) -> Path:
    return write(path.with_suffix(".json"), json.dumps([{"text": t} for t in texts], ensure_ascii=False, indent=1))


def as_csv(path: Path, texts: list[str], suffix: str = ".csv", delimiter: str = ",") -> Path:
    rows = io.StringIO(newline="")
    writer = csv.writer(rows, delimiter=delimiter)
    writer.writerows([["n", "text"], *([number, text] for number, text in enumerate(texts))])
    return write(path.with_suffix(suffix), rows.getvalue())


def as_tsv(path: Path, texts: list[str]) -> Path:
    return as_csv(path, texts, ".tsv", "\t")


def as_parquet(path: Path, texts: list[str]) -> Path:
    path = path.with_suffix(".parquet")
    pq.write_table(pa.table({"n": pa.array(range(len(texts))), "text": pa.array(texts, pa.string())}), path)
    return path


def expected_gold() -> Annotation:
    ada, acme = TextEntity(0, 3, "Per", "Ada"), TextEntity(14, 18, "Org", "Acme")
    return Annotation((ada, acme), (TextRelation(ada, acme, "WorkFor"),))


def document_of(
    text: str, entities: Sequence[tuple[str, str]], relations: Sequence[tuple[int, str, int]] = (), id: str = "d"
) -> Document:
    """A split text with entities (their text, found once each, and type) and relations between their places."""
    document = Splitter("en")([Document(text, id=id)])[0]
    found = []
    for number, (spelled, kind) in enumerate(entities):
        start = text.index(spelled)
        found.append(TextEntity(start, start + len(spelled), kind, spelled, round(0.9 - number / 100, 6)))
    links = tuple(
        TextRelation(found[h], found[t], kind, round(0.5 + i / 100, 6)) for i, (h, kind, t) in enumerate(relations)
    )
    return replace(document, entities=tuple(found), relations=links)


@st.composite
def documents(draw: st.DrawFn, whole_words: bool = False) -> Document:
    """Any words and white space; entities that are nested, cross, are of two types; relations of all kinds."""
    word = st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4))
    pairs = draw(st.lists(st.tuples(st.sampled_from(GAPS), word), max_size=8))
    text, words, sentences = "", [], []
    for gap, spelled in pairs:
        words.append((len(text) + len(gap), len(text) + len(gap) + len(spelled)))
        if not sentences or draw(st.integers(0, 3)) == 0:
            sentences.append(words[-1])
        sentences[-1] = (sentences[-1][0], words[-1][1])
        text += gap + spelled
    text += draw(st.sampled_from(GAPS))
    borders = [start for start, _ in words], [end for _, end in words]
    if not whole_words and text and draw(st.booleans()):
        borders = list(range(len(text))), list(range(1, len(text) + 1))
    entities = {}
    for _ in range(draw(st.integers(0, 6)) if borders[0] else 0):
        start, end = draw(st.sampled_from(borders[0])), draw(st.sampled_from(borders[1]))
        if start < end:
            kind = draw(st.sampled_from(SCHEMA.entity_types))
            score = draw(st.integers(0, 1_000_000)) / 1_000_000
            entities[start, end, kind] = TextEntity(start, end, kind, text[start:end], score)
    found = [entities[key] for key in sorted(entities)]
    links = {
        (draw(st.sampled_from(found)), draw(st.sampled_from(found)), draw(st.sampled_from(SCHEMA.relation_types)))
        for _ in range(draw(st.integers(0, 4)) if found else 0)
    }
    key = draw(st.one_of(st.sampled_from(["", "..", "a/b", "Ä"]), st.text(st.characters(exclude_categories=["Cs"]))))
    ordered = sorted(links, key=lambda link: (link[0].start, link[0].end, link[0].type, link[1].start, link[1].end,
                                              link[1].type, link[2]))  # fmt: skip
    relations = tuple(TextRelation(h, t, kind, 0.25 + n / 8) for n, (h, t, kind) in enumerate(ordered))
    return Document(text, tuple(words), tuple(sentences), tuple(found), relations, key)


def written(suffix: str, found: Sequence[Document], folder: Path, context: str = "sentence") -> tuple[Path, list[str]]:
    path = folder / f"out{suffix}"
    with open_writer(path, None, SCHEMA, context) as writer:
        for document in found:
            writer.write(document)
    assert sorted(folder.iterdir()) == [path]
    return path, writer.notes


def any_documents(whole_words: bool = False) -> Any:
    """A test's argument `found`, many times."""
    return lambda test: settings(max_examples=EXAMPLES)(given(found=st.lists(documents(whole_words), max_size=3))(test))


def noted(notes: Sequence[str], what: str) -> int:
    """The count of the note that has `what` in it."""
    lines = [note for note in notes if what in note]
    return int(re.search(r": ([\d,]+) ", lines[0])[1].replace(",", "")) if lines else 0  # type: ignore[index]


def in_words(document: Document, unit: tuple[int, int]) -> set[tuple[int, int, str]]:
    """The entities of the words `[first, last)`, by going through the words."""
    spans = set()
    for entity in document.entities:
        inside = [n for n, (start, end) in enumerate(document.words) if start < entity.end and entity.start < end]
        if inside and unit[0] <= inside[0] and inside[-1] < unit[1]:
            spans.add((inside[0] - unit[0], inside[-1] + 1 - unit[0], entity.type))
    return spans


def noise(size: int, seed: int = 0) -> str:
    """Text that gzip cannot make small."""
    return random.Random(seed).randbytes(size).hex()


def write_documents(path: Path, *found: Document, then: Callable[[], None] = lambda: None) -> list[str]:
    with open_writer(path, None, SCHEMA) as writer:
        for document in found:
            writer.write(document)
        then()
    return writer.notes


def contents(path: Path) -> dict[str, bytes]:
    """Every file below."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def write_input(path: Path, content: str | bytes) -> str:
    """Write a file, and return its name as an input has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(write(path, content))


def ids(reading: Reading) -> list[str]:
    return [item.id if isinstance(item, Document) else f"{item.source}: {item.place}" for item in reading]


BOOKS = [
    document_of(
        "Ada Lovelace of Byron House, London\r\nlives. She\tknows  Babbage.\n\n“Ünïcode” ☕ said Ann, Kit\nand Co.",
        [("Ada Lovelace", "Per son"), ("Ada Lovelace of Byron House", "Org"), ("Byron House, London", "Loc"),
         ("Byron House, London", "Org"), ("Babbage", "Per son"), ("Kit\nand Co.", "Org")],
        [(0, "Lives/In", 2), (4, "Kin", 0), (0, "Kin", 0), (5, "Lives/In", 3)], "book/1",
    ),
    Document("", id="empty"),
    Document(" \n ", id=""),
    document_of("Babbage lives in Ada Lovelace's house.", [("Ada Lovelace", "Per son"), ("Babbage", "Per son")],
                [(0, "Kin", 1)], "book/1"),
]  # fmt: skip
