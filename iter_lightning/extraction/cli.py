"""`python -m iter_lightning extract MODEL INPUT... --output OUT`."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import CONTEXTS, Document
from iter_lightning.extraction.extractor import BACKENDS, MAX_TOKENS
from iter_lightning.extraction.formats import BadRecord, Reading, ReadOptions, formats
from iter_lightning.extraction.places import Files
from iter_lightning.extraction.progress import show_progress
from iter_lightning.extraction.run import Executor, ExtractionConfig, Summary, extract, run_here
from iter_lightning.heap import keep_few_products, return_large_buffers
from iter_lightning.machine import require_standard_output
from iter_lightning.processes import advise
from iter_lightning.status import unfinished_note

LAUNCHERS = ("local", "ray")
_EPILOG = """
examples:
  extract runs/mine/seed1 article.txt                             JSON lines to the terminal
  extract runs/mine/seed1 texts/ --output found.jsonl --output page.html
  extract runs/mine/seed1 news.parquet --text-field body --output triples.csv
  zcat news.jsonl.gz | extract runs/mine/seed1 - --input-format jsonl --output found.parquet
  extract owner/model corpus/ --output graph.graphml --launcher ray --workers 8

A killed or interrupted extraction goes on with the same command; no document is lost or written twice.
"""


def main(arguments: list[str]) -> None:
    """Extract entities and relations from documents."""
    options = _parser().parse_args(arguments)
    logging.getLogger("iter_lightning").setLevel(logging.ERROR if options.quiet else logging.WARNING)
    keep_few_products()
    return_large_buffers()
    config = _config(options)
    if not options.quiet and (note := unfinished_note(options.model)):
        print(note, file=sys.stderr)
    outputs = [(Path(path), options.format or ("brat" if path.endswith("/") else None)) for path in options.output]
    if not outputs:
        if options.overwrite or options.format or options.launcher != "local":
            raise ConfigError("--format, --overwrite and --launcher go with --output")
        _to_stdout(config)
        return
    executor = _executor(options)
    started = time.monotonic()
    again = "without --overwrite " if options.overwrite else ""
    advise(f"the same command {again}resumes")
    with show_progress(options.quiet) as tell:
        summary, known = extract(config, outputs, executor, options.overwrite, tell)
    report = _report(summary, [path for path, _ in outputs], known, time.monotonic() - started)
    if summary.bad and not summary.documents:
        raise ConfigError(f"no record could be extracted\n{report}")
    if not options.quiet:
        print(report, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    inputs = [name for name, format in formats().items() if format.read]
    outputs = [name for name, format in formats().items() if format.write]
    parser = argparse.ArgumentParser(
        prog="python -m iter_lightning extract", description=main.__doc__, epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("model", metavar="MODEL", help="run folder, model folder or hub id")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="files, folders, or - for standard input")
    parser.add_argument("--output", "-o", action="append", default=[], metavar="OUT", help="by suffix; may be repeated")
    parser.add_argument("--format", choices=outputs, metavar="NAME", help=f"format of OUT: {', '.join(outputs)}")
    reading = parser.add_argument_group("input")
    reading.add_argument("--input-format", choices=inputs, metavar="NAME", help=", ".join(inputs))
    reading.add_argument("--text-field", default="text", metavar="FIELD", help="of a record, or column (default: text)")
    reading.add_argument("--id-field", default="id", metavar="FIELD", help="likewise (default: id)")
    reading.add_argument("--gold", action="store_true", help="records carry gold annotation: kept, shown in .html")
    reading.add_argument("--max-characters", type=int, default=ReadOptions.max_characters, metavar="N",
                         help="longer texts are bad records (default: %(default)s)")  # fmt: skip
    reading.add_argument("--language", metavar="CODE",
                         help="spaCy's code; none: all come with words (default: the model's, else en)")  # fmt: skip
    found = parser.add_argument_group("what is found")
    found.add_argument("--context", choices=CONTEXTS, default="sentence", help="document: relations cross sentences")
    found.add_argument("--link-threshold", type=float, metavar="P", help="lambda (default: the model's)")
    found.add_argument("--threshold", action="append", default=[], metavar="TYPE=P", help="least probability of a type")
    how = parser.add_argument_group("how")
    how.add_argument("--backend", choices=BACKENDS, default="torch")
    how.add_argument("--device", metavar="NAME", help="cpu, cuda, ... (default: a GPU where there is one)")
    how.add_argument("--precision", choices=("fp32", "bf16", "fp16", "int8"), default="fp32",
                     help="default fp32; others are refused on CPUs that are slower at them")  # fmt: skip
    how.add_argument("--allow-slow", action="store_true", help="compute in --precision even if fp32 would be faster")
    how.add_argument("--compile", action="store_true", help="compile the encoder: pays for long runs in int8")
    how.add_argument("--max-tokens", type=int, default=MAX_TOKENS, metavar="N", help="subwords a batch (%(default)s)")
    how.add_argument("--launcher", choices=LAUNCHERS, default="local")
    how.add_argument("--workers", type=int, metavar="N", help="of Ray (default: one a GPU, else one a machine)")
    how.add_argument("--overwrite", action="store_true", help="replace OUT, and forget a started extraction into it")
    how.add_argument("--quiet", "-q", action="store_true", help="errors alone")
    return parser


def _config(options: argparse.Namespace) -> ExtractionConfig:
    reading = ReadOptions(
        options.input_format, options.text_field, options.id_field, options.gold, options.max_characters
    )
    if options.backend == "onnx" and (options.precision != "fp32" or options.compile or options.allow_slow):
        raise ConfigError(
            "--precision, --compile and --allow-slow go with --backend torch; the graphs of --backend onnx have the "
            "precision that `export --onnx` gave them"
        )
    return ExtractionConfig(
        model=options.model, inputs=tuple(options.inputs), reading=reading,
        language=options.language, context=options.context,
        link_threshold=options.link_threshold, thresholds=_thresholds(options.threshold),
        backend=options.backend, device=options.device, precision=options.precision, compile=options.compile,
        allow_slow=options.allow_slow, max_tokens=options.max_tokens,
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
            raise ConfigError(f"--threshold {item!r}: expected TYPE=P, as Work_For=0.8")
    return found


def _executor(options: argparse.Namespace) -> Executor:
    if options.launcher == "local":
        if options.workers is not None:
            raise ConfigError("--workers goes with --launcher ray; a local extraction takes all cores")
        return run_here
    from iter_lightning.extraction.cluster import RayExecutor

    return RayExecutor(options.workers)


def _to_stdout(config: ExtractionConfig) -> None:
    """JSON lines in UTF-8 as they are found, bad records to standard error."""
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
                print(_told(record), file=sys.stderr)
            else:
                yield record

    try:
        for document in extractor(documents(), rules.link_threshold, rules.thresholds):
            found += 1
            print(json.dumps(document.to_dict(), ensure_ascii=False), flush=True)
    except BrokenPipeError:  # whoever reads has enough; what Python would still flush at its end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if bad and not found:
        raise ConfigError("no record could be extracted")


def _told(record: BadRecord) -> str:
    return f"{record.source}: {record.place}: {record.reason}"


def _report(summary: Summary, outputs: list[Path], again: bool, seconds: float) -> str:
    lines = [*summary.notes]
    if summary.bad:
        errors = Files.beside(outputs[0]).errors
        what = f"{summary.bad:,} bad records" if summary.bad > 1 else "1 bad record"
        with suppress(OSError), errors.open(encoding="utf-8") as file:  # of an earlier run, it may be gone
            what += f", the first {_told(BadRecord(**json.loads(file.readline())))}"
        lines.append(f"{what}; all, with reasons, in {errors}")
    if summary.kernels:
        lines.append(f"computed by {summary.kernels}")
    documents = "1 document" if summary.documents == 1 else f"{summary.documents:,} documents"
    what = f"{documents}, {summary.entities:,} entities, {summary.relations:,} relations"
    how = "done already (--overwrite does it again)" if again else f"in {seconds:.0f} s"
    return "\n".join([*lines, f"{what} {how}: {', '.join(map(str, outputs))}"])
