"""`reproduce` and `seeds`: make the runs of a plan or of one experiment, then its tables and figures."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from iter_lightning.corpora import data_folder
from iter_lightning.errors import ConfigError, IterError
from iter_lightning.studies.runs.launch import Kind
from iter_lightning.studies.runs.plan import Column, Options, Row, RunSpec, TablePlan, load_plan, option_texts, select
from iter_lightning.studies.runs.runner import PENDING, RunnerOptions, make_runs
from iter_lightning.studies.runs.survey import Run, Survey
from iter_lightning.training.yaml_files import parse_yaml

_LOG = logging.getLogger(__name__)
PLANS = ("table2", "table4", "table6", "table7")
TARGETS = ("table1", "table2", "table3", "table4", "table5", "table6", "table7", "figure2", "figure3")


def reproduce(arguments: list[str]) -> None:
    """Make the runs of tables and figures, and write them.

    Raises:
        IterError: Everything that failed, after the rest was done.
    """
    options = _reproduce_parser().parse_args(arguments)
    options.data = data_folder(options.data)
    targets = TARGETS if "all" in options.targets else tuple(dict.fromkeys(options.targets))
    survey = Survey(options.runs, options.data)
    problems: list[str] = []
    for target in targets:
        try:
            problems += _make(target, options, survey, several=len(targets) > 1)
        except IterError as error:
            if len(targets) == 1:
                raise
            problems.append(f"{target}: {error}")
    if problems:
        raise IterError("\n".join(problems))


def _make(target: str, options: argparse.Namespace, survey: Survey, several: bool) -> list[str]:
    """Make and write one target; returns the problems."""
    if target in ("table1", "table5"):
        _write(target, None, [], options)
        return []
    # Table 3 and the figures show Table 2's runs
    plan = load_plan(options.experiments / f"{target if target in PLANS else 'table2'}.yaml")
    if target in PLANS:
        _LOG.info("%s: %s", target, plan.title)
    corpora, encoders = options.corpora, options.encoders
    if several:  # tables differ in their rows and columns: each takes what it has of those asked for
        corpora = [name for name in corpora if name in plan.corpora]
        encoders = [name for name in encoders if name in {row.key for row in plan.rows}]
        if (options.corpora and not corpora) or (options.encoders and not encoders):
            _LOG.info("  it has none of the corpora or encoders asked for")
            return []
    failed: list[str] = []
    if target in PLANS:  # for the others nothing is trained
        specs = select(plan, corpora, encoders, options.seeds, options.folds, options.set)
        found = make_runs(specs, survey, _runner_options(options, options.dry_run or options.report_only))
        failed = [run.spec.name for run in found if run.state in PENDING]
    everything = select(plan, seeds=options.seeds, options=options.set)  # reports cover the whole plan
    runs = survey.runs(everything, options.allow_unfinished)
    _write(target, plan, runs, options)
    if target == "figure2":  # it has stored link thresholds in manifests
        for run in runs:
            survey.reread(run.folder.path)
    if not failed or options.dry_run or options.report_only:
        return []
    return [f"{target}: {len(failed)} runs failed: {', '.join(failed)}; the same command tries again"]


def _write(target: str, plan: TablePlan | None, runs: list[Run], options: argparse.Namespace) -> None:
    """Write the files of a target, and print their paths."""
    if options.dry_run:
        return
    from iter_lightning.studies.tables import figure2, scores, table1, table5, throughput

    corpora, encoders = options.corpora, options.encoders
    chosen = [run for run in runs if (not corpora or run.spec.corpus in corpora)
              and (not encoders or run.spec.row in encoders)]  # fmt: skip
    folder, data = options.reports, options.data
    writers: dict[str, Callable[[str], list[Path]]] = {
        "table1": partial(table1.write_table1, folder, data),
        "table5": partial(table5.write_table5, folder, options.experiments, options.runs),
        "figure2": partial(figure2.write_figure2, chosen, folder, data),
        "table3": partial(throughput.write_table3, chosen, folder, data),
        "figure3": partial(throughput.write_figure3, chosen, folder, data),
    }
    if plan is not None and target in PLANS:
        writers[target] = partial(scores.write_scores, plan, runs, folder)
    for path in writers[target](_command(target, options)):
        print(f"written: {path}", flush=True)


def _command(target: str, options: argparse.Namespace) -> str:
    """The command of a report: with the options on which its content depends."""
    words = ["python", "-m", "iter_lightning", "reproduce", target]
    given = {
        "--seeds": list(map(str, options.seeds)),
        "--set": [f"{k}={v}" for k, v in option_texts(dict(options.set))],
    }
    if target not in PLANS:  # tables of a plan show all its corpora and encoders
        given |= {"--corpora": options.corpora, "--encoders": options.encoders}
    if target not in ("table1", "table5"):
        words += [word for name, values in given.items() if values for word in (name, *values)]
        words += ["--allow-unfinished"] if options.allow_unfinished else []
    return shlex.join(words)


def seeds(arguments: list[str]) -> None:
    """Run one experiment with several seeds, and report mean, spread and interval.

    Raises:
        IterError: A run failed; the others are reported.
    """
    parser = argparse.ArgumentParser(prog="python -m iter_lightning seeds", description=_first_line(seeds))
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="an experiment's YAML")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], metavar="N")
    parser.add_argument("--folds", type=int, nargs="+", default=[], metavar="N", help="folds of a corpus that has some")
    _common(parser)
    options = parser.parse_args(arguments)
    survey = Survey(options.runs, data_folder(options.data))
    specs = specs_of(options.config, options.seeds, options.folds, options.set)
    runs = make_runs(specs, survey, _runner_options(options, options.dry_run))
    if options.dry_run:
        return
    if options.allow_unfinished:
        runs = survey.runs(specs, allow_unfinished=True)
    from iter_lightning.studies.tables.cells import summary_text

    print(summary_text(runs))
    if failed := [run.spec.name for run in runs if run.state != "done" or run.unfinished]:
        raise IterError(f"{len(failed)} of {len(runs)} runs are not finished: {', '.join(failed)}")


def specs_of(
    config: Path, seeds: Sequence[int], folds: Sequence[int] = (), options: Options = ()
) -> list[RunSpec]:  # fmt: skip
    """Return the runs of one experiment, as of a plan with one cell."""
    row = Row(config.stem, config.stem, configs={config.stem: config.name})
    column = Column(config.name, folds=max(folds, default=-1) + 1, seeds=tuple(seeds))
    plan = TablePlan(config, 0, config.stem, {config.stem: column}, (row,))
    return select(plan, folds=folds, options=options)


def _reproduce_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m iter_lightning reproduce", description=_first_line(reproduce))
    parser.add_argument("targets", nargs="+", choices=[*TARGETS, "all"], metavar="TARGET",
                        help=f"{', '.join(TARGETS)}, or all")  # fmt: skip
    parser.add_argument("--corpora", nargs="+", default=[], metavar="NAME", help="columns; default: all")
    parser.add_argument("--encoders", nargs="+", default=[], metavar="NAME", help="rows; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[], metavar="N", help="default: the plan's")
    parser.add_argument("--folds", type=int, nargs="+", default=[], metavar="N", help="folds of ADE; default: all ten")
    parser.add_argument("--experiments", type=Path, default=Path("experiments"), metavar="FOLDER",
                        help="folder of the plans; default: experiments")  # fmt: skip
    parser.add_argument(
        "--reports", type=Path, default=Path("docs/reports"), metavar="FOLDER", help="default: docs/reports"
    )
    parser.add_argument("--report-only", action="store_true", help="write reports of existing runs; run nothing")
    _common(parser)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time; default: 1")
    parser.add_argument("--launcher", choices=get_args(Kind), default="local", help="default: local processes")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="folder of run folders; default: runs"
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="folder of corpora; default: ITER_DATA, else data")
    parser.add_argument("--set", type=_option, nargs="+", default=[], metavar="NAME=VALUE",
                        help="an option of fit for all runs, e.g. trainer.precision=bf16-mixed")  # fmt: skip
    parser.add_argument("--wandb-mode", default="auto", metavar="MODE", help="see fit's --wandb.mode")
    parser.add_argument(
        "--allow-unfinished", action="store_true",
        help="include scores of runs whose training has not finished, with a note (see `test --allow-unfinished`)",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="report what would be run, and stop")


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    try:
        return name, parse_yaml(value, "the value")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!r}: {error}") from error


def _runner_options(options: argparse.Namespace, dry_run: bool) -> RunnerOptions:
    return RunnerOptions(options.jobs, options.launcher, options.wandb_mode, dry_run)


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").splitlines()[0]
