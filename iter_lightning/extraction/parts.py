"""The unit of a long extraction: chunks of documents in, one file a chunk out, whole or not there at all.

A chunk's documents go through the model by themselves, so that its part is the same whichever process made it and
whenever. The name of a part tells its place and a digest of the documents it was made from.
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
from iter_lightning.extraction.extractor import Extractor, Thresholds
from iter_lightning.extraction.formats import BadRecord
from iter_lightning.extraction.grouping import grouped
from iter_lightning.files import locked, write_atomically

LOCK = "lock"
"""The file in a folder of parts that its process holds; the first that is made."""
DOCUMENTS = 512
CHARACTERS = 250_000
"""A chunk is complete with so many documents, or as soon as it has so many characters."""
_PROBE = Document.from_words([["Some", "words", "."]])


@dataclass(frozen=True)
class Chunk:
    """Consecutive records of one shard of the input."""

    shard: int
    number: int
    records: tuple[Document | BadRecord, ...]
    digest: str

    @classmethod
    def of(cls, shard: int, number: int, records: Iterable[Document | BadRecord]) -> Chunk:
        """With the digest of what it holds."""
        taken = tuple(records)
        text = json.dumps([_plain(record) for record in taken], ensure_ascii=True)
        return cls(shard, number, taken, hashlib.sha256(text.encode()).hexdigest()[:16])

    @property
    def place(self) -> str:
        """Sorts as the input does."""
        return f"{self.shard:06d}-{self.number:09d}"

    @property
    def part(self) -> str:
        """The name of the file it is extracted into."""
        return f"{self.place}-{self.digest}.jsonl"


def begun(folder: Path) -> bool:
    """Whether there is an extraction in the folder to go on with."""
    return (folder / "settings.json").exists()


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """The folder of parts, for this process alone; it goes afterwards, unless a failure leaves parts to go on with.

    Raises:
        ConfigError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, ConfigError(f"{folder}: another process extracts into it")):
        try:
            yield
        except BaseException:
            if not any(folder.glob("*.jsonl")):
                _remove(folder)
            raise
        _remove(folder)


def sweep(folder: Path) -> None:
    """Remove what a process that was killed while it removed the folder has left of it."""
    shutil.rmtree(_gone(folder), ignore_errors=True)


def _remove(folder: Path) -> None:
    """In one step: half of the parts would be taken for all."""
    sweep(folder)
    folder.rename(_gone(folder))
    sweep(folder)


def _gone(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.gone")


def claim(folder: Path, settings: dict[str, Any], overwrite: bool) -> None:
    """Begin in the folder, or go on with what an extraction of the same settings left there.

    Raises:
        ConfigError: it is of one with other settings.
    """
    path = folder / "settings.json"
    wanted = json.loads(json.dumps(settings))
    if overwrite or not begun(folder):
        for part in folder.glob("*.jsonl"):
            part.unlink()
    elif (found := json.loads(path.read_text(encoding="utf-8"))) != wanted:
        other = [f"{key} was {found.get(key)!r}, is {wanted[key]!r}" for key in wanted if found.get(key) != wanted[key]]
        raise ConfigError(
            f"{folder} is of an extraction with other settings: {'; '.join(other)}. Give those again to go on, or "
            "--overwrite to begin anew"
        )
    write_atomically(path, json.dumps(settings) + "\n")


def check_parts(folder: Path, made: set[str]) -> None:
    """Raise `ConfigError` unless the parts in the folder are those of this input, all of them and no others."""
    there = {path.name for path in folder.glob("*.jsonl")}
    if lost := sorted(made - there):
        raise ConfigError(
            f"{folder}: {len(lost):,} parts that were made are not in it ({lost[0]}): all machines must see one folder"
        )
    if more := sorted(there - made):
        raise ConfigError(
            f"{folder}: the input was longer when this extraction began, {len(more):,} parts are of what is gone: give "
            "the same input again, or --overwrite"
        )


class Parts:
    """The parts that are there when a process begins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = {path.name.rpartition("-")[0]: path.name for path in folder.glob("*.jsonl")}

    def has(self, chunk: Chunk) -> bool:
        """Whether the chunk is extracted.

        Raises:
            ConfigError: other documents were, at its place.
        """
        name = self._names.get(chunk.place, chunk.part)
        if name != chunk.part:
            first = next((record.id for record in chunk.records if isinstance(record, Document)), "")
            raise ConfigError(
                f"{self.folder}: the input has changed since this extraction began, at {first or chunk.place}: give "
                "the same input again, or --overwrite"
            )
        return chunk.place in self._names


def chunks(shard: int, records: Iterable[Document | BadRecord]) -> Iterator[Chunk]:
    """The records of a shard in chunks, in order."""
    for number, taken in enumerate(grouped(records, _length, CHARACTERS, DOCUMENTS)):
        yield Chunk.of(shard, number, taken)


def _length(record: Document | BadRecord) -> int:
    return len(record.text) if isinstance(record, Document) else 0


@dataclass(frozen=True)
class Rules:
    """What is decided at call time."""

    link_threshold: float | None = None
    thresholds: Mapping[str, float] | None = None

    def check(self, extractor: Extractor) -> None:
        """Raise `ConfigError` where they do not fit the model."""
        Thresholds.of(extractor.backend, self.link_threshold, self.thresholds)


def make_part(extractor: Extractor, chunk: Chunk, rules: Rules, folder: Path) -> int:
    """Extract a chunk and put its part into the folder.

    A document on which the model fails becomes a bad record.

    Returns:
        How many records of it were bad.

    Raises:
        IterError: the model fails on whatever it is given.
        OSError: the disk.
    """
    records = list(chunk.records)
    places = [place for place, record in enumerate(records) if isinstance(record, Document)]
    documents = [record for record in records if isinstance(record, Document)]
    try:
        found: list[Document | BadRecord] = [*extractor(documents, rules.link_threshold, rules.thresholds)]
    except ConfigError:
        raise
    except Exception as error:
        found = [_alone(extractor, document, rules) for document in documents]
        if not any(isinstance(record, Document) for record in found):
            _check_alive(extractor, error)
    for place, record in zip(places, found, strict=True):
        records[place] = record
    lines = [json.dumps(_plain(record), ensure_ascii=False) for record in records]
    try:
        write_atomically(folder / chunk.part, "".join(f"{line}\n" for line in lines))
    except OSError as error:  # which does not say what could not be written
        raise OSError(error.errno, error.strerror, str(folder)) from error
    return sum(isinstance(record, BadRecord) for record in records)


def read_parts(folder: Path) -> Iterator[Document | BadRecord]:
    """What all parts hold, in the order of the input."""
    for part in sorted(folder.glob("*.jsonl")):
        with part.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                values = json.loads(line)
                yield BadRecord(**values["bad"]) if "bad" in values else Document.from_dict(values)


def _check_alive(extractor: Extractor, error: Exception) -> None:
    """Raise unless the model can still be used: it is not the documents, then, that it fails on."""
    try:
        extractor(_PROBE)
    except Exception:
        raise IterError(f"the model fails on all it is given, the first time with {_told(error)}") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip() or 'no message'}"


def _alone(extractor: Extractor, document: Document, rules: Rules) -> Document | BadRecord:
    try:
        return extractor(document, rules.link_threshold, rules.thresholds)
    except Exception as error:
        return BadRecord(document.id, "document", f"the model failed on it: {_told(error)}", document.text[:1000])


def _plain(record: Document | BadRecord) -> dict[str, object]:
    return record.to_dict() if isinstance(record, Document) else {"bad": asdict(record)}
