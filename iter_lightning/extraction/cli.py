"""Run `python -m iter_lightning extract MODEL INPUT... --output OUT`."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.backends import BACKENDS
from iter_lightning.extraction.documents import CONTEXTS, Document, TextEntity
from iter_lightning.extraction.extractor import MAX_TOKENS
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions, formats
from iter_lightning.extraction.labels import Labels, add_label_options
from iter_lightning.extraction.places import Files
from iter_lightning.extraction.progress import show_progress
from iter_lightning.extraction.run import Executor, ExtractionConfig, Summary, extract, run_here
from iter_lightning.heap import limit_onednn_cache, return_large_buffers
from iter_lightning.machine import require_standard_output
from iter_lightning.model.names import DEFAULT, ready_models
from iter_lightning.model.startup import allow_quick_import
from iter_lightning.processes import advise
from iter_lightning.status import unfinished_note

_logger = logging.getLogger(__name__)
LAUNCHERS = ("local", "ray")
_EPILOG = """
examples:
  extract article.txt --labels "person,company,drug" --relations "works for,causes"
  extract runs/mine/seed1 article.txt                             JSON lines to the terminal
  extract runs/mine/seed1 texts/ --output found.jsonl --output page.html
  extract runs/mine/seed1 news.parquet --text-field body --output triples.csv
  zcat news.jsonl.gz | extract runs/mine/seed1 - --input-format jsonl --output found.parquet
  extract owner/model corpus/ --output graph.graphml --launcher ray --workers 8

To resume a killed or interrupted extraction, run the same command again. No document is lost or written twice.
"""


def main(arguments: list[str]) -> None:
    """Extract entities and relations from documents."""
    options = _parser().parse_intermixed_args(arguments)
    if options.quiet:
        logging.getLogger("iter_lightning").setLevel(logging.ERROR)
    limit_onednn_cache()
    return_large_buffers()
    allow_quick_import()
    options.model, options.inputs = model_and_inputs(options.given)
    config = _config(options)
    if note := unfinished_note(options.model):
        _logger.warning(note)
    outputs = [(Path(path), options.format or ("brat" if path.endswith("/") else None)) for path in options.output]
    if not outputs:
        if options.overwrite or options.format or options.launcher != "local":
            raise ConfigError("--format, --overwrite, and --launcher require --output")
        _to_stdout(config, options.show)
        return
    executor = _executor(options)
    started = time.monotonic()
    again = "without --overwrite " if options.overwrite else ""
    advise(f"the same command {again}resumes")
    with show_progress() as on_progress:
        summary, known = extract(config, outputs, executor, options.overwrite, on_progress)
    report = _report(summary, [path for path, _ in outputs], known, time.monotonic() - started)
    if summary.bad and not summary.documents:
        raise ConfigError(f"no record could be extracted\n{report}")
    _logger.info(report)


def _parser() -> argparse.ArgumentParser:
    inputs = [name for name, format in formats().items() if format.read]
    outputs = [name for name, format in formats().items() if format.write]
    parser = argparse.ArgumentParser(
        prog="python -m iter_lightning extract", usage="%(prog)s [options] [MODEL] INPUT...",
        description=main.__doc__, epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "given", metavar="INPUT", nargs="+",
        help="run folder, model folder, name of a ready model, or hub id (default: the ready model, which finds types "
        "of your choice); then files, folders, or - for standard input",
    )  # fmt: skip
    add_label_options(parser.add_argument_group("labels, for open models"))
    parser.add_argument("--output", "-o", action="append", default=[], metavar="OUT",
                        help="output, with a format derived from its suffix; may be repeated")  # fmt: skip
    parser.add_argument("--format", choices=outputs, metavar="NAME", help=f"format of OUT: {', '.join(outputs)}")
    reading = parser.add_argument_group("input")
    reading.add_argument("--input-format", choices=inputs, metavar="NAME", help=f"format of INPUT: {', '.join(inputs)}")
    reading.add_argument(
        "--text-field", default="text", metavar="FIELD", help="field or column with the text (default: text)"
    )
    reading.add_argument("--id-field", default="id", metavar="FIELD", help="field or column with the id (default: id)")
    reading.add_argument("--gold", action="store_true", help="read gold annotation from records, and show it in .html")
    reading.add_argument("--max-characters", type=int, default=ReadOptions.max_characters, metavar="N",
                         help="largest text; longer ones are bad records (default: %(default)s)")  # fmt: skip
    reading.add_argument("--language", metavar="CODE",
                         help="spaCy's code, or none if all documents have words (default: the model's)")  # fmt: skip
    found = parser.add_argument_group("results")
    found.add_argument("--show", action="store_true", help="without OUT: print colored text instead of JSON lines")
    found.add_argument(
        "--context", choices=CONTEXTS, default="sentence", help="with document, relations may cross sentences"
    )
    found.add_argument("--link-threshold", type=float, metavar="P", help="lambda (default: the value of the model)")
    found.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="TYPE=P",
        help="smallest probability for a type; may be repeated",
    )
    how = parser.add_argument_group("execution")
    how.add_argument("--backend", choices=BACKENDS, default="torch")
    how.add_argument("--device", metavar="NAME", help="cpu, cuda, ... (default: a GPU if available)")
    how.add_argument("--precision", choices=("fp32", "bf16", "fp16", "int8"), default="fp32",
                     help="default: fp32; CPUs that are slower with another precision reject it")  # fmt: skip
    how.add_argument("--allow-slow", action="store_true", help="use --precision even if fp32 would be faster")
    how.add_argument("--compile", action="store_true", help="compile the encoder; worthwhile for long runs in int8")
    how.add_argument(
        "--max-tokens",
        type=int,
        default=MAX_TOKENS,
        metavar="N",
        help="padded subwords per batch (default: %(default)s)",
    )
    how.add_argument("--launcher", choices=LAUNCHERS, default="local")
    how.add_argument("--workers", type=int, metavar="N", help="Ray workers (default: one per GPU, or one per machine)")
    how.add_argument("--overwrite", action="store_true", help="replace OUT and discard its unfinished extraction")
    how.add_argument("--quiet", "-q", action="store_true", help="print errors only")
    return parser


def model_and_inputs(given: list[str]) -> tuple[str, list[str]]:
    """Split positional arguments into the model and the inputs.

    The first one is an input if it is `-`, a file, or a folder that contains neither a model nor a run.

    Raises:
        ConfigError: There is a model but no input.

    Example:
        >>> model_and_inputs(["-"])
        ('open-minilm', ['-'])
    """
    first = Path(given[0])
    is_run = any((first / name).exists() for name in ("config.json", "config.yaml", "manifest.json", "model"))
    if given[0] == "-" or first.is_file() or (first.is_dir() and not is_run):
        return DEFAULT, given
    if len(given) == 1:
        what = (
            f"the model {first}" if first.exists() or given[0] in ready_models() else f"{first}, which does not exist"
        )
        raise ConfigError(f"extract needs files, folders, or - for standard input; found only {what}")
    return given[0], given[1:]


def _config(options: argparse.Namespace) -> ExtractionConfig:
    reading = ReadOptions(
        options.input_format, options.text_field, options.id_field, options.gold, options.max_characters
    )
    if options.backend == "onnx" and (options.precision != "fp32" or options.compile or options.allow_slow):
        raise ConfigError(
            "--precision, --compile, and --allow-slow require --backend torch; with --backend onnx, `export --onnx` "
            "determines the precision"
        )
    return ExtractionConfig(
        model=options.model, inputs=tuple(options.inputs), reading=reading,
        language=options.language, context=options.context,
        link_threshold=options.link_threshold, thresholds=_thresholds(options.threshold),
        backend=options.backend, device=options.device, precision=options.precision, compile=options.compile,
        allow_slow=options.allow_slow, max_tokens=options.max_tokens,
        labels=Labels.from_options(options.labels, options.relations, options.schema, options.nested),
    )  # fmt: skip


def _thresholds(given: Iterable[str]) -> dict[str, float]:
    found = {}
    for item in given:
        kind, equals, value = item.rpartition("=")
        try:
            found[kind] = float(value)
        except ValueError:
            equals = ""
        if not equals or not kind:
            raise ConfigError(f"--threshold {item!r}: expected TYPE=P, such as Work_For=0.8")
    return found


def _executor(options: argparse.Namespace) -> Executor:
    if options.launcher == "local":
        if options.workers is not None:
            raise ConfigError("--workers requires --launcher ray; a local extraction uses all cores")
        return run_here
    from iter_lightning.extraction.cluster import RayExecutor

    return RayExecutor(options.workers)


def _show(document: Document, types: Sequence[str]) -> None:
    """Print a document with entities in colored brackets, and its relations below."""
    from iter_lightning.terminal import Span, colors_of, console, render

    def span(entity: TextEntity) -> Span:
        return entity.start, entity.end, entity.type

    links = [(span(r.head), r.type, span(r.tail), r.score) for r in document.relations]
    console().print(render(document.text, map(span, document.entities), links, colors_of(types)))


def _to_stdout(config: ExtractionConfig, show: bool) -> None:
    """Print documents in UTF-8 to standard output, as JSON lines or for people to read, and log bad records."""
    require_standard_output()
    reading, extractor, rules = Reading(config.inputs, config.reading), config.extractor(), config.rules()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")

    found = bad = 0

    def documents() -> Iterable[Document]:
        nonlocal bad
        for record in reading:
            if isinstance(record, BadRecord):
                bad += 1
                _logger.error(_describe(record))
            else:
                yield record

    try:
        for document in extractor(documents(), rules.link_threshold, rules.thresholds):
            found += 1
            if show:
                _show(document, extractor.schema.entity_types)
            else:
                print(json.dumps(document.to_dict(), ensure_ascii=False), flush=True)
    except BrokenPipeError:  # the reader has closed the pipe; discard what Python flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if bad and not found:
        raise ConfigError("no record could be extracted")


def _describe(record: BadRecord) -> str:
    return f"{record.source}: {record.place}: {record.reason}"


def _report(summary: Summary, outputs: list[Path], again: bool, seconds: float) -> str:
    lines = [*summary.notes]
    if summary.bad:
        errors = Files.beside(outputs[0]).errors
        what = f"{summary.bad:,} bad records" if summary.bad > 1 else "1 bad record"
        with suppress(OSError), errors.open(encoding="utf-8") as file:  # the file of an earlier run may be missing
            what += f", the first is {_describe(BadRecord(**json.loads(file.readline())))}"
        lines.append(f"{what}; see {errors} for all records and reasons")
    if summary.kernels:
        lines.append(f"computed with {summary.kernels}")
    documents = "1 document" if summary.documents == 1 else f"{summary.documents:,} documents"
    what = f"{documents}, {summary.entities:,} entities, {summary.relations:,} relations"
    how = "finished before (use --overwrite to repeat it)" if again else f"in {seconds:.0f} s"
    return "\n".join([*lines, f"{what} {how}: {', '.join(map(str, outputs))}"])
