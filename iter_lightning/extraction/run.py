"""Extraction from any amount of input into files: in parts, so that it can be stopped, killed and started again.

Beside the first output lies a folder `OUT.parts` until all is done; the outputs are made from its parts, in the order
of the input, and appear whole. What could not be read or extracted goes to `OUT.errors.jsonl`, how the outputs were
made to `OUT.manifest.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, astuple, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.extractor import MAX_TOKENS, Extractor, check_torch, model_folder
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions, open_writer, output_format
from iter_lightning.extraction.parts import (
    CHARACTERS,
    DOCUMENTS,
    Parts,
    Rules,
    begun,
    check_parts,
    chunks,
    claim,
    holding,
    make_part,
    read_parts,
    sweep,
)
from iter_lightning.extraction.places import Files, check_apart, check_outputs
from iter_lightning.extraction.splitting import resolve_language
from iter_lightning.files import write_atomically
from iter_lightning.heap import settle
from iter_lightning.types import Schema

SHARD_BYTES = 64 * 2**20
"""Input files are taken together up to so many bytes; what a worker reads."""


@dataclass(frozen=True)
class ExtractionConfig:
    """All that decides what an extraction finds."""

    model: str
    """Folder or hub id."""
    inputs: tuple[str, ...]
    reading: ReadOptions = field(default_factory=ReadOptions)
    language: str | None = None
    """spaCy's code; None is the model's, "none" if all documents come with their words."""
    context: str = "sentence"
    link_threshold: float | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    backend: str = "torch"
    device: str | None = None
    precision: str = "fp32"
    compile: bool = False
    allow_slow: bool = False
    """See `InferenceOptions`; decides nothing about what is found."""
    max_tokens: int = MAX_TOKENS

    def rules(self) -> Rules:
        """What is decided at call time."""
        return Rules(self.link_threshold, self.thresholds)

    def extractor(self) -> Extractor:
        """The extractor it asks for."""
        options = None
        if self.backend == "torch":
            check_torch()
            from iter_lightning.model.inference import InferenceOptions

            options = InferenceOptions(self.precision, self.compile, allow_slow=self.allow_slow)
        return Extractor.from_pretrained(
            self.model, language=self.language, context=self.context, device=self.device, options=options,
            backend=self.backend, max_tokens=self.max_tokens,
        )  # fmt: skip

    def settings(self, folder: Path) -> dict[str, Any]:
        """Plain values, with what they stand for: the model's digest, the chunks, the versions."""
        given = asdict(self)
        del given["allow_slow"]
        return {
            **given, "language": resolve_language(self.language, folder),
            "model_sha256": model_digest(folder), "chunk": [DOCUMENTS, CHARACTERS, SHARD_BYTES],
            "versions": {name: _version(name) for name in ("iter-lightning", "torch", "transformers", "spacy")},
        }  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """How far an extraction is."""

    documents: int = 0
    """Extracted by this process and its workers."""
    bad: int = 0
    done: int = 0
    """Bytes of input behind it."""
    total: int | None = None
    """Bytes of all input; None where it is not known."""
    part: str = field(default="", compare=False)
    """The part that is there now."""
    kernels: str = field(default="", compare=False)
    """What computed the part; empty if it was there before."""


class Executor(Protocol):
    """Makes the parts of all chunks: here, or on a cluster."""

    def __call__(
        self, config: ExtractionConfig, extractor: Extractor, shards: Sequence[Reading], folder: Path
    ) -> Iterator[Progress]:
        """Make what parts are missing in the folder; tells after each, also of those that were there."""


@dataclass(frozen=True)
class Summary:
    """What an extraction came to."""

    documents: int = 0
    bad: int = 0
    entities: int = 0
    relations: int = 0
    notes: tuple[str, ...] = ()
    """What a format could not hold, what was passed over."""
    kernels: str = ""
    """What computed the parts that the last process or its workers made."""


def extract(
    config: ExtractionConfig, outputs: Sequence[tuple[Path, str | None]], executor: Executor,
    overwrite: bool = False, tell: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Summary, bool]:  # fmt: skip
    """Extract from all inputs into all outputs, each a path and its format (None: by suffix).

    Returns:
        What it came to, and whether that was done already.

    Raises:
        ConfigError: an output that is there already or cannot be written, parts of an extraction with other settings
            or other input.
        IterError, OSError: the disk; the parts that are there stay, and the same call goes on with them.
    """
    named = [(path, output_format(path, kind)) for path, kind in outputs]
    files = check_outputs(named)
    folder = model_folder(config.model)
    check_apart([*(path for path, _ in named), *astuple(files)], config.inputs, folder)
    reading = Reading(config.inputs, config.reading)
    settings = config.settings(folder)

    def finished() -> Summary | None:
        return None if overwrite or begun(files.parts) else _finished(files, settings, reading, named)

    if (done := finished()) is not None:
        sweep(files.parts)
        return done, True
    # workers elsewhere check their own processors
    extractor = (config if executor is run_here else replace(config, allow_slow=True)).extractor()
    settle()
    config.rules().check(extractor)
    _try(named, extractor.schema, config.context)
    with holding(files.parts):
        if (done := finished()) is not None:  # by another process, in the meantime
            return done, True
        claim(files.parts, settings, overwrite)
        started, progress, made, kernels = time.monotonic(), Progress(), set(), set()
        for progress in executor(config, extractor, reading.shards(SHARD_BYTES), files.parts):
            made.add(progress.part)
            kernels.add(progress.kernels)
            tell(progress)
        seconds = time.monotonic() - started
        check_parts(files.parts, made - {""})
        summary = _assemble(files, named, extractor.schema, config.context, reading.notes)
        summary = replace(summary, kernels="; ".join(sorted(kernels - {""})))
        manifest = {
            "settings": settings, "inputs": reading.files(), "outputs": [[str(path), kind] for path, kind in named],
            "summary": asdict(summary),
            "last_process": {"documents": progress.documents, "seconds": round(seconds, 1)},
        }  # fmt: skip
        write_atomically(files.manifest, json.dumps(manifest, indent=2) + "\n")  # names of files may be no UTF-8
    return summary, False


def run_here(
    config: ExtractionConfig, extractor: Extractor, shards: Sequence[Reading], folder: Path
) -> Iterator[Progress]:
    """The `Executor` of this process."""
    parts, rules = Parts(folder), config.rules()
    total = None if any(shard.total is None for shard in shards) else sum(shard.total or 0 for shard in shards)
    documents, bad, behind = 0, 0, 0
    yield Progress(total=total)
    for number, shard in enumerate(shards):
        for chunk in chunks(number, shard):
            if missing := not parts.has(chunk):
                failed = make_part(extractor, chunk, rules, folder)
                documents, bad = documents + len(chunk.records) - failed, bad + failed
            kernels = extractor.kernels if missing else ""
            yield Progress(documents, bad, behind + shard.done, total, chunk.part, kernels)
        behind += shard.done


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def model_digest(folder: Path) -> str:
    """SHA-256 over a model's configuration, tokenizer and weights."""
    sha = hashlib.sha256()
    for path in sorted([*folder.glob("*"), *folder.glob("onnx/*")]):
        if path.suffix in (".json", ".txt", ".model", ".safetensors", ".bin", ".onnx") and path.is_file():
            sha.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()


class _EnoughError(Exception):
    """Ends an attempt."""


def _try(outputs: Sequence[tuple[Path, str]], schema: Schema, context: str) -> None:
    """Open all outputs and leave them as they were: what cannot be written is told before hours of extraction."""
    with suppress(_EnoughError), ExitStack() as stack:
        for path, kind in outputs:
            stack.enter_context(open_writer(path, kind, schema, context))
        raise _EnoughError


def _finished(
    files: Files, settings: dict[str, Any], reading: Reading, outputs: Sequence[tuple[Path, str]]
) -> Summary | None:
    """What the manifest says of these outputs, if they are there and were made like this of this input.

    Raises:
        ConfigError: some are there, made in another way.
    """
    there = [str(path) for path, _ in outputs if path.exists()]
    with suppress(OSError, ValueError, KeyError, TypeError):  # no manifest, or none of ours
        manifest = json.loads(files.manifest.read_text(encoding="utf-8"))
        wanted = [json.loads(json.dumps(settings)), reading.files(), [[str(path), kind] for path, kind in outputs]]
        if len(there) == len(outputs) and wanted == [manifest[key] for key in ("settings", "inputs", "outputs")]:
            return Summary(**{**manifest["summary"], "notes": tuple(manifest["summary"]["notes"])})
    if there:
        raise ConfigError(f"{', '.join(there)}: there already, not from this input and settings (--overwrite)")
    return None


def _assemble(
    files: Files, outputs: Sequence[tuple[Path, str]], schema: Schema, context: str, notes: Sequence[str]
) -> Summary:
    """All outputs from all parts, and the bad records beside them."""
    documents = bad = entities = relations = 0
    errors = files.parts / "errors"
    with ExitStack() as stack:
        told_bad = stack.enter_context(errors.open("w", encoding="utf-8"))
        writers = [stack.enter_context(open_writer(path, kind, schema, context)) for path, kind in outputs]
        for record in read_parts(files.parts):
            if isinstance(record, BadRecord):
                bad += 1
                told_bad.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
                continue
            documents, entities = documents + 1, entities + len(record.entities)
            relations += len(record.relations)
            for writer in writers:
                writer.write(record)
        told_bad.flush()
        os.fsync(told_bad.fileno())
    if bad:
        errors.replace(files.errors)
    else:
        files.errors.unlink(missing_ok=True)
    told = tuple(note for writer in writers for note in writer.notes)
    return Summary(documents, bad, entities, relations, (*notes, *told))
