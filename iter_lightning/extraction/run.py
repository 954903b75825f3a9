"""Extract from any amount of input into files, in parts, so that an interrupted extraction can resume.

The folder `OUT.parts` next to the first output keeps finished parts. At the end, the outputs are assembled from the
parts in the order of the input, written atomically, and the folder is removed. Records that could not be read or
extracted are listed in `OUT.errors.jsonl`, and the settings are recorded in `OUT.manifest.json`.
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
from typing import Any, Literal, Protocol

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.backends import BackendName, check_torch
from iter_lightning.extraction.documents import Context
from iter_lightning.extraction.extractor import MAX_TOKENS, Extractor
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions, open_writer, output_format
from iter_lightning.extraction.labels import Labels
from iter_lightning.extraction.parts import (
    CHARACTERS,
    DOCUMENTS,
    Parts,
    Rules,
    check_parts,
    chunks,
    exclusive_use,
    is_started,
    make_part,
    read_parts,
    remove_leftovers,
    start_or_resume,
)
from iter_lightning.extraction.places import Files, check_apart, check_outputs
from iter_lightning.extraction.splitting import resolve_language
from iter_lightning.heap import freeze_heap
from iter_lightning.io.atomic import write_atomically
from iter_lightning.model.names import resolve_model
from iter_lightning.types import Schema

SHARD_BYTES = 64 * 2**20
"""Largest total size of the input files that form one shard, in bytes. A worker reads one shard at a time."""


@dataclass(frozen=True)
class ExtractionConfig:
    """Configure an extraction."""

    model: str
    """Run folder, model folder, or hub id."""
    inputs: tuple[str, ...]
    reading: ReadOptions = field(default_factory=ReadOptions)
    language: str | None = None
    """spaCy's code. None means the language of the model; "none" means that all documents have words."""
    context: Context = "sentence"
    link_threshold: float | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    backend: BackendName = "torch"
    device: str | None = None
    precision: Literal["fp32", "bf16", "fp16", "int8"] = "fp32"
    compile: bool = False
    allow_slow: bool = False
    """See `InferenceOptions`. It does not affect the results."""
    max_tokens: int = MAX_TOKENS
    labels: Labels | None = None
    """Types to look for with an open model; None means the types of the model."""

    def rules(self) -> Rules:
        """Return the thresholds."""
        return Rules(self.link_threshold, self.thresholds)

    def extractor(self) -> Extractor:
        """Load the extractor."""
        options = None
        if self.backend == "torch":
            check_torch()
            from iter_lightning.model.startup import import_if_allowed

            import_if_allowed()
            from iter_lightning.model.inference import InferenceOptions

            options = InferenceOptions(self.precision, self.compile, allow_slow=self.allow_slow)
        extractor = Extractor.from_pretrained(
            self.model, language=self.language, context=self.context, device=self.device, options=options,
            backend=self.backend, max_tokens=self.max_tokens,
        )  # fmt: skip
        return extractor if self.labels is None else extractor.bind(self.labels)

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return plain values, with the digest of the model, the limits of chunks, and versions of packages."""
        given = asdict(self)
        del given["allow_slow"]
        if self.labels is None:
            del given["labels"]
        return {
            **given, "language": resolve_language(self.language, folder),
            "model_sha256": model_digest(folder), "chunk": [DOCUMENTS, CHARACTERS, SHARD_BYTES],
            "versions": {name: _version(name) for name in ("iter-lightning", "torch", "transformers", "spacy")},
        }  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """Report the progress of an extraction."""

    documents: int = 0
    """Number of documents extracted by this process and its workers."""
    bad: int = 0
    """Number of bad records."""
    done: int = 0
    """Number of input bytes processed."""
    total: int | None = None
    """Number of input bytes; None if unknown."""
    part: str = field(default="", compare=False)
    """File name of the part that was finished last."""
    kernels: str = field(default="", compare=False)
    """Kernels that computed the part; empty if the part existed before."""


class Executor(Protocol):
    """Make the parts of all chunks, in this process or on a cluster."""

    def __call__(
        self, config: ExtractionConfig, extractor: Extractor, shards: Sequence[Reading], folder: Path
    ) -> Iterator[Progress]:
        """Make missing parts in the folder, and yield the progress after each part, existing ones included."""


@dataclass(frozen=True)
class Summary:
    """Summarize a finished extraction."""

    documents: int = 0
    bad: int = 0
    entities: int = 0
    relations: int = 0
    notes: tuple[str, ...] = ()
    """Information that output formats could not represent, and inputs that were skipped."""
    kernels: str = ""
    """Kernels that computed the parts of the last process and its workers."""


def extract(
    config: ExtractionConfig, outputs: Sequence[tuple[Path, str | None]], executor: Executor,
    overwrite: bool = False, on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Summary, bool]:  # fmt: skip
    """Extract from all inputs into all outputs.

    Args:
        config: Settings of the extraction.
        outputs: Path and format of each output. The format None is derived from the suffix.
        executor: Function that makes the parts, such as `run_here`.
        overwrite: Whether to replace outputs and parts of other extractions.
        on_progress: Called after each part.

    Returns:
        The summary, and whether the same extraction had finished before.

    Raises:
        ConfigError: If an output exists or cannot be written, or if existing parts have other settings or other input.
        IterError: If the model fails on every input.
        OSError: If the disk fails. Finished parts are kept, and the same call resumes.
    """
    named = [(path, output_format(path, kind)) for path, kind in outputs]
    files = check_outputs(named)
    folder = resolve_model(config.model)
    check_apart([*(path for path, _ in named), *astuple(files)], config.inputs, folder)
    reading = Reading(config.inputs, config.reading)
    settings = config.settings(folder)

    def finished() -> Summary | None:
        return None if overwrite or is_started(files.parts) else _finished_summary(files, settings, reading, named)

    if (done := finished()) is not None:
        remove_leftovers(files.parts)
        return done, True
    # workers on other machines check the precision on their own processors
    extractor = (config if executor is run_here else replace(config, allow_slow=True)).extractor()
    freeze_heap()
    config.rules().check(extractor)
    _check_writable(named, extractor.schema, config.context)
    with exclusive_use(files.parts):
        if (done := finished()) is not None:  # another process has just finished it
            return done, True
        start_or_resume(files.parts, settings, overwrite)
        started, progress, made, kernels = time.monotonic(), Progress(), set(), set()
        for progress in executor(config, extractor, reading.shards(SHARD_BYTES), files.parts):
            made.add(progress.part)
            kernels.add(progress.kernels)
            on_progress(progress)
        seconds = time.monotonic() - started
        check_parts(files.parts, made - {""})
        summary = _assemble(files, named, extractor.schema, config.context, reading.notes)
        summary = replace(summary, kernels="; ".join(sorted(kernels - {""})))
        manifest = {
            "settings": settings, "inputs": reading.files(), "outputs": [[str(path), kind] for path, kind in named],
            "summary": asdict(summary),
            "last_process": {"documents": progress.documents, "seconds": round(seconds, 1)},
        }  # fmt: skip
        write_atomically(files.manifest, json.dumps(manifest, indent=2) + "\n")  # file names may not be valid UTF-8
    return summary, False


def run_here(
    config: ExtractionConfig, extractor: Extractor, shards: Sequence[Reading], folder: Path
) -> Iterator[Progress]:
    """Make missing parts in this process; implements `Executor`."""
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
    """Return the SHA-256 digest of the configuration, tokenizer, and weights of a model."""
    sha = hashlib.sha256()
    for path in sorted([*folder.glob("*"), *folder.glob("onnx/*")]):
        if path.suffix in (".json", ".txt", ".model", ".safetensors", ".bin", ".onnx") and path.is_file():
            sha.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()


class _DiscardError(Exception):
    """Signal writers to discard their output."""


def _check_writable(outputs: Sequence[tuple[Path, str]], schema: Schema, context: str) -> None:
    """Open all outputs and discard them, so that errors are reported before hours of extraction."""
    with suppress(_DiscardError), ExitStack() as stack:
        for path, kind in outputs:
            stack.enter_context(open_writer(path, kind, schema, context))
        raise _DiscardError


def _finished_summary(
    files: Files, settings: dict[str, Any], reading: Reading, outputs: Sequence[tuple[Path, str]]
) -> Summary | None:
    """Return the summary in the manifest if all outputs exist and have the same settings and input, or None.

    Raises:
        ConfigError: If outputs exist that have other settings or other input.
    """
    existing = [str(path) for path, _ in outputs if path.exists()]
    with suppress(OSError, ValueError, KeyError, TypeError):  # the manifest is missing or has another layout
        manifest = json.loads(files.manifest.read_text(encoding="utf-8"))
        wanted = [json.loads(json.dumps(settings)), reading.files(), [[str(path), kind] for path, kind in outputs]]
        if len(existing) == len(outputs) and wanted == [manifest[key] for key in ("settings", "inputs", "outputs")]:
            return Summary(**{**manifest["summary"], "notes": tuple(manifest["summary"]["notes"])})
    if existing:
        raise ConfigError(
            f"{', '.join(existing)}: exists, but was made from other input or settings; use --overwrite to replace it"
        )
    return None


def _assemble(
    files: Files, outputs: Sequence[tuple[Path, str]], schema: Schema, context: str, notes: Sequence[str]
) -> Summary:
    """Write all outputs from the parts, and bad records to the file of errors."""
    documents = bad = entities = relations = 0
    errors = files.parts / "errors"
    with ExitStack() as stack:
        error_file = stack.enter_context(errors.open("w", encoding="utf-8"))
        writers = [stack.enter_context(open_writer(path, kind, schema, context)) for path, kind in outputs]
        for record in read_parts(files.parts):
            if isinstance(record, BadRecord):
                bad += 1
                error_file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
                continue
            documents, entities = documents + 1, entities + len(record.entities)
            relations += len(record.relations)
            for writer in writers:
                writer.write(record)
        error_file.flush()
        os.fsync(error_file.fileno())
    if bad:
        errors.replace(files.errors)
    else:
        files.errors.unlink(missing_ok=True)
    losses = tuple(note for writer in writers for note in writer.notes)
    return Summary(documents, bad, entities, relations, (*notes, *losses))
