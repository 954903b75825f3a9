"""Divide a long extraction into chunks of documents, and write the result of each chunk to one file, atomically.

Chunks are independent of each other, so a part does not depend on the process that made it. The name of a part contains
the position of its chunk and a digest of the documents.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError, IterError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.formats import BadRecord
from iter_lightning.extraction.grouping import grouped
from iter_lightning.extraction.thresholds import Thresholds
from iter_lightning.io.atomic import write_atomically
from iter_lightning.io.locks import locked

LOCK = "lock"
"""Lock file of the process that uses a folder of parts. It is the first file in the folder."""
DOCUMENTS = 512
CHARACTERS = 250_000
"""Limits of a chunk: it ends at this number of documents, or once it has this number of characters."""
_TEST_DOCUMENT = Document.from_words([["Some", "words", "."]])


@dataclass(frozen=True)
class Chunk:
    """Hold consecutive records of one shard of the input."""

    shard: int
    number: int
    records: tuple[Document | BadRecord, ...]
    digest: str

    @classmethod
    def of(cls, shard: int, number: int, records: Iterable[Document | BadRecord]) -> Chunk:
        """Build a chunk with the digest of its records."""
        taken = tuple(records)
        text = json.dumps([_to_dict(record) for record in taken], ensure_ascii=True)
        return cls(shard, number, taken, hashlib.sha256(text.encode()).hexdigest()[:16])

    @property
    def place(self) -> str:
        """Return the position of the chunk; positions sort in the order of the input."""
        return f"{self.shard:06d}-{self.number:09d}"

    @property
    def part(self) -> str:
        """Return the file name of the part."""
        return f"{self.place}-{self.digest}.jsonl"


def is_started(folder: Path) -> bool:
    """Return whether the folder has an unfinished extraction."""
    return (folder / "settings.json").exists()


@contextmanager
def exclusive_use(folder: Path) -> Iterator[None]:
    """Create and lock the folder of parts, and remove it at the end, unless a failure leaves parts to resume from.

    Raises:
        ConfigError: If another process uses the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, ConfigError(f"{folder}: another process is extracting into it")):
        try:
            yield
        except BaseException:
            if not any(folder.glob("*.jsonl")):
                _remove(folder)
            raise
        _remove(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove the remains of a folder of parts whose process was killed while it deleted the folder."""
    shutil.rmtree(_trash(folder), ignore_errors=True)


def _remove(folder: Path) -> None:
    """Rename the folder before deleting it, so that an interrupted removal never leaves a partial set of parts."""
    remove_leftovers(folder)
    folder.rename(_trash(folder))
    remove_leftovers(folder)


def _trash(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.gone")


def start_or_resume(folder: Path, settings: dict[str, Any], overwrite: bool) -> None:
    """Start an extraction in the folder, or resume one with the same settings.

    Raises:
        ConfigError: If the folder has an extraction with different settings.
    """
    path = folder / "settings.json"
    wanted = json.loads(json.dumps(settings))
    if overwrite or not is_started(folder):
        for part in folder.glob("*.jsonl"):
            part.unlink()
    elif (found := json.loads(path.read_text(encoding="utf-8"))) != wanted:
        other = [f"{key} was {found.get(key)!r}, is {wanted[key]!r}" for key in wanted if found.get(key) != wanted[key]]
        raise ConfigError(
            f"{folder} belongs to an extraction with other settings: {'; '.join(other)}. Use the same settings to "
            "resume, or --overwrite to start again"
        )
    write_atomically(path, json.dumps(settings) + "\n")


def check_parts(folder: Path, made: set[str]) -> None:
    """Raise `ConfigError` unless the folder has exactly the parts of this input."""
    found = {path.name for path in folder.glob("*.jsonl")}
    if lost := sorted(made - found):
        raise ConfigError(
            f"{folder}: {len(lost):,} finished parts are missing ({lost[0]}); all machines must use one shared folder"
        )
    if more := sorted(found - made):
        raise ConfigError(
            f"{folder}: the input was longer when this extraction started, and {len(more):,} parts have no input now; "
            "use the same input again, or --overwrite"
        )


class Parts:
    """List the parts that exist when a process starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = {path.name.rpartition("-")[0]: path.name for path in folder.glob("*.jsonl")}

    def has(self, chunk: Chunk) -> bool:
        """Return whether the part of a chunk exists.

        Raises:
            ConfigError: If the part at its position was made from other documents.
        """
        name = self._names.get(chunk.place, chunk.part)
        if name != chunk.part:
            first = next((record.id for record in chunk.records if isinstance(record, Document)), "")
            raise ConfigError(
                f"{self.folder}: the input has changed since this extraction started, at {first or chunk.place}; use "
                "the same input again, or --overwrite"
            )
        return chunk.place in self._names


def chunks(shard: int, records: Iterable[Document | BadRecord]) -> Iterator[Chunk]:
    """Yield the records of a shard as chunks, in order."""
    for number, taken in enumerate(grouped(records, _length, CHARACTERS, DOCUMENTS)):
        yield Chunk.of(shard, number, taken)


def _length(record: Document | BadRecord) -> int:
    return len(record.text) if isinstance(record, Document) else 0


@dataclass(frozen=True)
class Rules:
    """Hold the thresholds of an extraction."""

    link_threshold: float | None = None
    thresholds: Mapping[str, float] | None = None

    def check(self, extractor: Extractor) -> None:
        """Raise `ConfigError` if the thresholds do not match the model."""
        Thresholds.of(extractor.backend, self.link_threshold, self.thresholds)


def make_part(extractor: Extractor, chunk: Chunk, rules: Rules, folder: Path) -> int:
    """Extract from a chunk and write its part.

    A document on which the model fails becomes a bad record.

    Returns:
        Number of bad records in the part.

    Raises:
        IterError: If the model fails on every input.
        OSError: If the part cannot be written.
    """
    records = list(chunk.records)
    places = [place for place, record in enumerate(records) if isinstance(record, Document)]
    documents = [record for record in records if isinstance(record, Document)]
    try:
        found: list[Document | BadRecord] = [*extractor(documents, rules.link_threshold, rules.thresholds)]
    except ConfigError:
        raise
    except Exception as error:
        # find the documents that the model fails on
        found = [_extract_one(extractor, document, rules) for document in documents]
        if not any(isinstance(record, Document) for record in found):
            _check_usable(extractor, error)
    for place, record in zip(places, found, strict=True):
        records[place] = record
    lines = [json.dumps(_to_dict(record), ensure_ascii=False) for record in records]
    try:
        write_atomically(folder / chunk.part, "".join(f"{line}\n" for line in lines))
    except OSError as error:  # add the folder to the message
        raise OSError(error.errno, error.strerror, str(folder)) from error
    return sum(isinstance(record, BadRecord) for record in records)


def read_parts(folder: Path) -> Iterator[Document | BadRecord]:
    """Yield the records of all parts in the order of the input."""
    for part in sorted(folder.glob("*.jsonl")):
        with part.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                values = json.loads(line)
                yield BadRecord(**values["bad"]) if "bad" in values else Document.from_dict(values)


def _check_usable(extractor: Extractor, error: Exception) -> None:
    """Raise `IterError` if the model fails on any input, rather than on these documents."""
    try:
        extractor(_TEST_DOCUMENT)
    except Exception:
        raise IterError(f"the model fails on every input; the first error was {_describe(error)}") from error


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip() or 'no message'}"


def _extract_one(extractor: Extractor, document: Document, rules: Rules) -> Document | BadRecord:
    try:
        return extractor(document, rules.link_threshold, rules.thresholds)
    except Exception as error:
        return BadRecord(document.id, "document", f"the model failed on it: {_describe(error)}", document.text[:1000])


def _to_dict(record: Document | BadRecord) -> dict[str, object]:
    return record.to_dict() if isinstance(record, Document) else {"bad": asdict(record)}
