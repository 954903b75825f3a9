"""`reproduce` and `seeds`: from a plan, or one experiment, to finished runs, and from them to tables and figures."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from iter_lightning.corpora import data_folder
from iter_lightning.errors import ConfigError, IterError
from iter_lightning.studies.runs.launch import LAUNCHERS
from iter_lightning.studies.runs.plan import Column, Plan, Row, Spec, load_plan, select
from iter_lightning.studies.runs.runner import PENDING, Settings, make_runs
from iter_lightning.studies.runs.survey import Run, survey
from iter_lightning.training.yaml_files import parse_yaml

PLANS = ("table2", "table4", "table6", "table7")
TARGETS = ("table1", "table2", "table3", "table4", "table5", "table6", "table7", "figure2", "figure3")


def reproduce(arguments: list[str]) -> None:
    """Make the runs of tables and figures, and write them.

    Raises:
        IterError: what went wrong, after everything else was done.
    """
    options = _reproduce_parser().parse_args(arguments)
    targets = TARGETS if "all" in options.targets else tuple(dict.fromkeys(options.targets))
    settings = _settings(options)
    problems: list[str] = []
    for target in targets:
        try:
            problems += _make(target, options, settings, several=len(targets) > 1)
        except IterError as error:
            if len(targets) == 1:
                raise
            problems.append(f"{target}: {error}")
    if problems:
        raise IterError("\n".join(problems))


def _make(target: str, options: argparse.Namespace, settings: Settings, several: bool) -> list[str]:
    """Make and write one target; returns what went wrong on the way."""
    plan = _plan_of(target, options.experiments)
    if plan is None:
        _write_files(target, None, [], options)
        return []
    if target in PLANS:
        print(f"{target}: {plan.title}", flush=True)
    corpora, encoders = options.corpora, options.encoders
    if several:  # tables differ in their rows and columns: each takes what it has of those asked for
        corpora = [name for name in corpora if name in plan.corpora]
        encoders = [name for name in encoders if name in {row.key for row in plan.rows}]
        if len(corpora) < bool(options.corpora) or len(encoders) < bool(options.encoders):
            print("  nothing of what was asked for is in it")
            return []
    made: list[Run] = []
    if target in PLANS:  # for figures and Table 3 nothing is trained: what is there is drawn and measured
        specs = select(plan, corpora, encoders, options.seeds, options.folds, options.set)
        made = make_runs(specs, settings, dry_run=options.dry_run or options.report_only)
    everything = select(plan, seeds=options.seeds, options=options.set)  # the report knows the others, too
    runs = survey(everything, settings.runs_dir, settings.data_dir, options.allow_unfinished)
    _write_files(target, plan, runs, options)
    if options.dry_run or options.report_only:
        return []
    failed = [run.spec.name for run in made if run.state in PENDING]
    return [f"{target}: {len(failed)} runs failed: {', '.join(failed)}; the same command tries again"] if failed else []


def _write_files(target: str, plan: Plan | None, runs: list[Run], options: argparse.Namespace) -> None:
    if not options.dry_run:
        for path in _write(target, plan, runs, options):
            print(f"written: {path}", flush=True)


def seeds(arguments: list[str]) -> None:
    """Run one experiment with several seeds, and tell mean, spread and interval.

    Raises:
        IterError: a run failed; the others are told.
    """
    parser = argparse.ArgumentParser(prog="python -m iter_lightning seeds", description=_first_line(seeds))
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="an experiment's YAML")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], metavar="N")
    parser.add_argument("--folds", type=int, nargs="+", default=[], metavar="N", help="of a corpus that has folds")
    _common(parser)
    options = parser.parse_args(arguments)
    settings = _settings(options)
    specs = specs_of(options.config, options.seeds, options.folds, options.set)
    runs = make_runs(specs, settings, options.dry_run)
    if options.dry_run:
        return
    if options.allow_unfinished:
        runs = survey(specs, settings.runs_dir, settings.data_dir, allow_unfinished=True)
    from iter_lightning.studies.tables.cells import summary_text

    print(f"\n{summary_text(runs)}")
    if failed := [run.spec.name for run in runs if run.state != "done" or run.unfinished]:
        raise IterError(f"{len(failed)} of {len(runs)} runs are not finished: {', '.join(failed)}")


def specs_of(
    config: Path, seeds: Sequence[int], folds: Sequence[int] = (), options: Sequence[tuple[str, Any]] = ()
) -> list[Spec]:
    """The runs of one experiment, as of a plan of one cell."""
    row = Row(config.stem, config.stem, configs={config.stem: config.name})
    column = Column(config.name, folds=max(folds, default=-1) + 1, seeds=tuple(seeds))
    plan = Plan(config, 0, config.stem, {config.stem: column}, (row,))
    return select(plan, folds=folds, options=options)


def _reproduce_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m iter_lightning reproduce", description=_first_line(reproduce))
    parser.add_argument("targets", nargs="+", choices=[*TARGETS, "all"], metavar="TARGET",
                        help=f"{', '.join(TARGETS)}, or all")  # fmt: skip
    parser.add_argument("--corpora", nargs="+", default=[], metavar="NAME", help="columns; default: all")
    parser.add_argument("--encoders", nargs="+", default=[], metavar="NAME", help="rows; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[], metavar="N", help="default: the plan's")
    parser.add_argument("--folds", type=int, nargs="+", default=[], metavar="N", help="of ADE; default: all ten")
    parser.add_argument("--experiments", type=Path, default=Path("experiments"), metavar="FOLDER", help="of the plans")
    parser.add_argument(
        "--reports", type=Path, default=Path("docs/reports"), metavar="FOLDER", help="default: docs/reports"
    )
    parser.add_argument("--report-only", action="store_true", help="write from the runs that are there; run nothing")
    _common(parser)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time; default: 1")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="local", help="default: local processes")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="of run folders; default: runs"
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="of corpora; default: ITER_DATA, else data")
    parser.add_argument("--set", type=_option, nargs="+", default=[], metavar="NAME=VALUE",
                        help="an option of fit for all runs, e.g. trainer.precision=bf16-mixed")  # fmt: skip
    parser.add_argument("--wandb-mode", default="auto", metavar="MODE", help="as fit's --wandb.mode")
    parser.add_argument(
        "--allow-unfinished", action="store_true",
        help="show scores of runs whose training has not finished, too, with a note (see `test --allow-unfinished`)",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="say what would be run, and stop")


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    try:
        return name, parse_yaml(value, "the value")
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!r}: {error}") from error


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(options.runs, data_folder(options.data), options.jobs, options.launcher, options.wandb_mode)


def _plan_of(target: str, folder: Path) -> Plan | None:
    """A table's own plan; Table 3 and the figures show Table 2's runs; Tables 1 and 5 need none."""
    if target in ("table1", "table5"):
        return None
    return load_plan(folder / f"{target if target in PLANS else 'table2'}.yaml")


def _write(target: str, plan: Plan | None, runs: list[Run], options: argparse.Namespace) -> list[Path]:
    """Write a target; returns the files."""
    from iter_lightning.studies.tables import figure2, scores, table1, throughput

    reports, data_dir = options.reports, data_folder(options.data)
    if plan is not None and target in PLANS:
        given = [*(["--seeds", *map(str, options.seeds)] if options.seeds else []),
                 *(["--set", *(f"{name}={value}" for name, value in options.set)] if options.set else [])]  # fmt: skip
        return scores.write_scores(plan, runs, reports, "".join(f" {word}" for word in given))
    if target == "table1":
        return table1.write_table1(reports, data_dir)
    if target == "table5":
        return table1.write_table5(reports, options.experiments, options.runs)
    chosen = [run for run in runs if _asked_for(run.spec, options)]
    if target == "figure2":
        return figure2.write_figure2(chosen, reports, data_dir)
    write = throughput.write_table3 if target == "table3" else throughput.write_figure3
    return write(chosen, reports, data_dir)


def _asked_for(spec: Spec, options: argparse.Namespace) -> bool:
    return (not options.corpora or spec.corpus in options.corpora) and (
        not options.encoders or spec.row in options.encoders
    )


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").splitlines()[0]
