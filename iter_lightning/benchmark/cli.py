"""`python -m iter_lightning benchmark SECTION... [options]`."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console

from iter_lightning.benchmark import inference
from iter_lightning.benchmark.agreement import agreement
from iter_lightning.benchmark.architectures import architectures
from iter_lightning.benchmark.host import host
from iter_lightning.benchmark.memory import memory
from iter_lightning.benchmark.report import show, write_report
from iter_lightning.benchmark.results import Entry, add_entry, machine, read_entries
from iter_lightning.benchmark.shapes import Measurement, Plan
from iter_lightning.benchmark.streaming import stream
from iter_lightning.benchmark.subjects import TOKENIZER, Subject, SubjectSpec, load_subject, name_of
from iter_lightning.benchmark.training import training
from iter_lightning.errors import ConfigError

SECTIONS: dict[str, Callable[[Subject, Plan], Iterator[Measurement]]] = {
    "speed": inference.speed, "lengths": inference.lengths, "entities": inference.entities, "omega": inference.omega,
    "training": training, "memory": memory, "agreement": agreement,
    "host": host, "stream": stream,
}  # fmt: skip
_APART = ("agreement", "host", "stream")
"""Not among `all`."""
EPILOG = """sections:
  speed      sentences a second and time over the bare encoder's, at every batch size and precision (default)
  lengths    sentences of 32 to 4096 subwords, attention told apart
  entities   sentences with 2 to 200 entities, and their memory
  omega      nested entities: one and three lefts a right
  training   an optimiser step over the encoder's forward and backward, and its memory
  memory     peak memory of predicting
  agreement  what trained models find in each precision, against padded float32
  host       tokenising, processes, building predictions, Ray: what bounds a fast GPU
  stream     sentences a second of a long stream once it flows, tokenised by --workers, in the batches of speed
  all        all but agreement, host and stream

Untrained heads are calibrated to find as much as the corpus holds. Figures are added to OUTPUT.json, where they
replace earlier ones of the same settings and machine, and OUTPUT.md is written anew from all of them.
"""


def main(arguments: Sequence[str]) -> None:
    """Measure what is asked for, and write the report.

    Raises:
        IterError: what the user can put right.
        SystemExit: with status 2, after argparse has printed what it does not understand.
    """
    options = _parser().parse_args(arguments)
    data = Path(f"{options.output}.json")
    if options.render:
        entries = read_entries(data)
        if not entries:
            raise ConfigError(f"nothing to render: {data} has no figures yet")
        write_report(entries, Path(f"{options.output}.md"))
        return
    sections, plan = _sections(options.sections), _plan(options)
    read_entries(data)  # a file that is none of ours is told before anything is measured
    console, command = Console(), command_of(arguments, options)
    if not console.is_terminal:
        console = Console(width=200)  # of a log; 80 would break every cell
    here = machine(torch.device(options.device))
    for spec in _specs(options):
        subject = load_subject(spec)
        for section in sections:
            console.print(f"[bold]{section}[/] of {subject.label} on {spec.corpus}", highlight=False)
            found = []
            for settings, values in SECTIONS[section](subject, plan):
                found.append(Entry(section, subject.describe(), settings, values, command, here))
                add_entry(data, found[-1])
            show(found, console)
    write_report(read_entries(data), Path(f"{options.output}.md"))
    console.print(f"{options.output}.md", highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m iter_lightning benchmark", description="Measure speed and memory against the bare encoder.",
        usage="python -m iter_lightning benchmark [SECTION ...] [options]", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="see below")
    subjects = parser.add_argument_group("what is measured (any number of each)")
    add = subjects.add_argument
    add("--model", nargs="+", default=[], metavar="FOLDER", help="trained models: run folders or exported models")
    add("--encoder", nargs="+", default=[], metavar="NAME",
        help=f"untrained heads on these: folder, hub id, package:NAME; default {TOKENIZER}")  # fmt: skip
    add("--architecture", nargs="+", default=[], metavar="NAME", help=f"random weights: {', '.join(architectures())}")
    add("--left-width", type=int, metavar="N", help="inner width of IsLeft; default: as in the paper, d_ff")
    add("--pair-width", type=int, metavar="N", help="of IsSpan and IsLink; default: as in the paper, 2 d_ff")
    add("--pair-memory-mb", type=int, metavar="MIB", help="bound on the pair heads' inner layers")
    add("--device", default="cpu", help="cpu (default) or cuda")
    corpus = parser.add_argument_group("on which sentences")
    add = corpus.add_argument
    add("--corpus", default="synthetic", metavar="NAME", help="of the catalogue; default: synthetic")
    add("--split", default="test")
    add("--fold", type=int, help="of ADE")
    add("--data", type=Path, default=Path(os.environ.get("ITER_DATA") or "data"), metavar="FOLDER")
    add("--sentences", type=int, metavar="N", help="so many of the split; default: all")
    _add_plan(parser)
    parser.add_argument("--output", type=Path, default=Path("docs/reports/throughput"), metavar="PATH",
                        help="without suffix; default docs/reports/throughput")  # fmt: skip
    parser.add_argument("--render", action="store_true", help="measure nothing, write OUTPUT.md from OUTPUT.json")
    return parser


def _add_plan(parser: argparse.ArgumentParser) -> None:
    default = Plan()
    add = parser.add_argument_group("how").add_argument
    add("--passes", type=int, default=default.passes, metavar="N", help="counted ones; default 5")
    add("--batch-sizes", type=int, nargs="*", default=default.batch_sizes, metavar="N", help="of speed; default 1 8 64")
    add("--token-budgets", type=int, nargs="+", default=(), metavar="N", help="of speed: padded subwords a batch")
    add("--batch", type=int, default=default.batch, metavar="N", help="sentences a batch elsewhere; default 8")
    add("--precision", nargs="+", choices=("fp32", "bf16", "fp16", "int8"), default=default.precisions)
    add("--compile", action="store_true", help="torch.compile")
    add("--no-packing", action="store_true", help="pad, also where the encoder's family could do without")
    add("--workers", type=int, default=0, metavar="N", help="processes that tokenise ahead; default 0")
    add("--lengths", type=int, nargs="+", default=default.lengths, metavar="N", help="subwords, of lengths")
    add("--entities", type=int, nargs="+", default=default.entities, metavar="N", help="a sentence, of entities")
    add("--subwords", type=int, default=default.subwords, metavar="N", help="a sentence, of entities; default 1024")


def _sections(names: Sequence[str]) -> list[str]:
    chosen = list(dict.fromkeys(names)) or ["speed"]
    if "all" in chosen:
        return [name for name in SECTIONS if name not in _APART]
    if unknown := [name for name in chosen if name not in SECTIONS]:
        raise ConfigError(f"no section {', '.join(map(repr, unknown))}: one of {', '.join(SECTIONS)}, all")
    return chosen


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        options.passes, tuple(options.batch_sizes), tuple(options.token_budgets), options.batch,
        tuple(options.precision), options.compile, False if options.no_packing else None, options.workers,
        tuple(options.lengths), tuple(options.entities), options.subwords,
    )  # fmt: skip


def _specs(options: argparse.Namespace) -> list[SubjectSpec]:
    chosen = [(kind, name) for kind in ("model", "encoder", "architecture") for name in getattr(options, kind)]
    return [
        SubjectSpec(
            kind,
            name,
            options.corpus,
            options.split,
            options.fold,
            str(options.data),
            options.sentences,
            options.device,
            options.left_width,
            options.pair_width,
            options.pair_memory_mb,
        )  # fmt: skip
        for kind, name in chosen or [("encoder", TOKENIZER)]
    ]


def command_of(arguments: Sequence[str], options: argparse.Namespace) -> str:
    """The command as another machine would give it: folders by their role, the output left out."""
    role = {str(options.data): "data"}
    for spec in _specs(options):
        if Path(spec.name).is_dir():
            role[spec.name] = f"runs/{name_of(spec)}" if spec.kind == "model" else name_of(spec)
    words = []
    skip = False
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == "--output" or skip:
            skip = name == "--output" and not value and not skip
            continue
        words.append(f"{name}={role.get(value, value)}" if value else role.get(argument, argument))
    return shlex.join(["python", "-m", "iter_lightning", "benchmark", *words])
