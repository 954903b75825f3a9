"""The plan of a table: which encoder on which corpus, with which seeds or folds.

A plan is one YAML file. Its rows are encoders, its columns corpora. Every cell is a number of runs, and every run is a
`RunSpec`: an experiment's YAML, the options set beyond it, and the folder it belongs to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from iter_lightning.errors import ConfigError
from iter_lightning.studies.definitions import NO_OTHER_KEYS, validated
from iter_lightning.training.extends import lookup, merge, merged
from iter_lightning.training.yaml_files import parse_yaml

MAX_FOLDS = 100
Task = Literal["NER", "RE", "RE+"]
Score = Literal["precision", "recall", "f1"]
Options = Sequence[tuple[str, Any]]
"""Options of `fit`: (dotted name, value)."""


@dataclass(frozen=True)
class RunSpec:
    """One run that a plan asks for."""

    corpus: str
    """Key of the column."""
    row: str
    """Key of the row."""
    seed: int
    fold: int | None
    config: Path
    """The experiment's YAML."""
    options: tuple[tuple[str, str], ...]
    """Options set on the command line, beyond the YAML: (name, value as YAML)."""
    group: str
    """Name of the experiment, shared by the runs of a cell; names the folder and the W&B group."""
    init_from: tuple[RunSpec, ...] = ()
    """This run starts from the best of these (Appendix E)."""

    @property
    def part(self) -> str:
        """The run's name inside its cell: `seed2`, `fold3`, or `fold3-seed2` if both vary."""
        if self.fold is None:
            return f"seed{self.seed}"
        return f"fold{self.fold}" if self.seed == 1 else f"fold{self.fold}-seed{self.seed}"

    @property
    def name(self) -> str:
        """`GROUP/PART`, also the folder below `runs/`."""
        return f"{self.group}/{self.part}"

    def arguments(self) -> list[str]:
        """Arguments of `fit` and `test`, without those for folders and W&B."""
        named = [f"--{name}={value}" for name, value in self.options]
        return [f"--config={self.config}", f"--seed_everything={self.seed}", *named]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration as the YAML files and the options state it, without the defaults of `fit`."""
        given = {name: parse_yaml(text, f"the value of {name}") for name, text in self.options}
        return merge(merged(self.config), nested({"seed_everything": self.seed, **given}))


@dataclass(frozen=True)
class Column:
    """A corpus of the table."""

    __pydantic_config__ = NO_OTHER_KEYS

    config: str
    """The experiment's YAML, beside the plan."""
    folds: int = 0
    """Number of folds of a cross-validation (ADE), at most `MAX_FOLDS`; 0 uses the corpus's own split."""
    seeds: tuple[int, ...] | None = None
    """Instead of the plan's seeds."""
    tasks: tuple[Task, ...] | None = None
    """Tasks it is scored on; None for all of the table's."""
    both_symmetric: bool = False
    """Whether symmetric relations are also counted twice, the paper's (*)."""


@dataclass(frozen=True)
class Row:
    """An encoder of the table."""

    __pydantic_config__ = NO_OTHER_KEYS

    key: str
    label: str
    encoder: str | None = None
    """Folder, hub id or `package:NAME`; None for the experiment's own."""
    configs: Mapping[str, str] = field(default_factory=dict)
    """Corpus -> the row's own experiment, instead of the column's with another encoder."""
    corpora: tuple[str, ...] | None = None
    """The corpora it is run on; None for all."""
    seeds: tuple[int, ...] | None = None
    """Instead of the plan's seeds (three for ablations)."""
    init_from: str | None = None
    """An experiment's YAML; each run starts from the best of that experiment's runs (Appendix E)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Other options of `fit`, by dotted name."""


@dataclass(frozen=True)
class TablePlan:
    """A table: columns, rows, seeds.

    Raises:
        ConfigError: Every fault of the plan, one a line.

    Example:
        >>> plan = load_plan(Path("experiments/table2.yaml"))  # doctest: +SKIP
        >>> plan.table, list(plan.corpora)[0]  # doctest: +SKIP
        (2, 'ace05')
    """

    __pydantic_config__ = NO_OTHER_KEYS

    path: Path
    table: int
    title: str
    corpora: Mapping[str, Column]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    tasks: tuple[Task, ...] = ("NER", "RE+")
    """The tasks shown."""
    scores: tuple[Score, ...] = ("f1",)

    def __post_init__(self) -> None:
        keys = [row.key for row in self.rows]
        faults = [f"corpora: {name}: folds: expected 0 to {MAX_FOLDS}, found {column.folds}"
                  for name, column in self.corpora.items() if not 0 <= column.folds <= MAX_FOLDS]  # fmt: skip
        faults += [f"rows: the key {key!r} is given twice" for key in sorted({k for k in keys if keys.count(k) > 1})]
        for row in self.rows:
            for corpus in (*row.configs, *(row.corpora or ())):
                if corpus not in self.corpora:
                    faults.append(f"row {row.key}: no column {corpus!r}; the columns are {', '.join(self.corpora)}")
            if row.encoder is None and not row.configs:
                faults.append(f"row {row.key}: neither an encoder nor configs of its own")
        given = [row.init_from for row in self.rows if row.init_from is not None]
        given += [file for row in self.rows for file in row.configs.values()]
        for file in sorted({*(column.config for column in self.corpora.values()), *given}):
            if not (self.path.parent / file).is_file():
                faults.append(f"{file}: no such file beside the plan")
        if faults:
            raise ConfigError("\n".join(f"{self.path}: {fault}" for fault in faults))

    def columns_of(self, row: Row) -> dict[str, Column]:
        """Return the columns that a row is run on."""
        own = row.corpora or (tuple(row.configs) if row.encoder is None else tuple(self.corpora))
        return {name: column for name, column in self.corpora.items() if name in own}

    def specs(self, row: Row, corpus: str, seeds: Sequence[int] = (), more: Options = ()) -> tuple[RunSpec, ...]:
        """Return the runs of a cell, with `seeds` instead of the plan's and with `more` options in each."""
        column = self.corpora[corpus]
        file = self.path.parent / row.configs.get(corpus, column.config)
        options, group = self._options(row, file, own=corpus in row.configs)
        start = self._start(row, options)
        if more:  # other settings are other runs, in folders of their own
            options, group = {**options, **dict(more)}, f"{group}-{_digest(more)}"
        seeds = column.seeds or tuple(seeds) or row.seeds or self.seeds
        folds: Sequence[int | None] = range(column.folds) if column.folds else (None,)
        return tuple(
            RunSpec(corpus, row.key, seed, fold, file,
                    option_texts(options if fold is None else {**options, "data.fold": fold}), group, start)
            for seed in seeds for fold in folds
        )  # fmt: skip

    def _options(self, row: Row, file: Path, own: bool) -> tuple[dict[str, Any], str]:
        """Return the options beyond the YAML, and the group: the experiment's name, plus the row's if it differs."""
        content = merged(file)
        group = str(content.get("experiment", file.stem))
        options = dict(row.options)
        if row.encoder is not None and not own and lookup(content, "model.encoder") != row.encoder:
            options = {"model.encoder": row.encoder, **options}
        group = f"{group}_{row.key}" if options else group
        return options, f"{group}+{Path(row.init_from).stem}" if row.init_from else group

    def _start(self, row: Row, options: Mapping[str, Any]) -> tuple[RunSpec, ...]:
        """Return the runs on another corpus that a row starts from: one for each of the row's seeds."""
        if row.init_from is None:
            return ()
        file = self.path.parent / row.init_from
        content = merged(file)
        group, own = str(content.get("experiment", file.stem)), lookup(content, "model.encoder")
        encoder = options.get("model.encoder", own)
        named = {} if encoder == own else {"model.encoder": encoder}
        return tuple(
            RunSpec(file.stem, row.key, seed, None, file, option_texts(named), f"{group}_{row.key}" if named else group)
            for seed in row.seeds or self.seeds
        )


def load_plan(path: Path) -> TablePlan:
    """Read a plan.

    Args:
        path: The plan's YAML file.

    Returns:
        The plan, checked.

    Raises:
        ConfigError: The file cannot be read, or has unknown, missing or wrong entries.

    Example:
        >>> load_plan(Path("experiments/table2.yaml")).table  # doctest: +SKIP
        2
    """
    content = merged(path)
    content.pop("extends", None)
    return validated(TablePlan, content, path, path=str(path))


def select(
    plan: TablePlan, corpora: Sequence[str] = (), encoders: Sequence[str] = (), seeds: Sequence[int] = (),
    folds: Sequence[int] = (), options: Options = (),
) -> list[RunSpec]:  # fmt: skip
    """Return the runs of a plan, or of a part of it.

    Args:
        plan: The whole plan.
        corpora: Keys of columns; none for all.
        encoders: Keys of rows; none for all.
        seeds: Instead of the plan's, but not for a column that has its own (folds have one seed each).
        folds: Folds of the columns that have some; none for all.
        options: Options set in every run.

    Returns:
        The runs, row by row.

    Raises:
        ConfigError: A key that the plan does not have.

    Example:
        >>> plan = load_plan(Path("experiments/table2.yaml"))  # doctest: +SKIP
        >>> [spec.name for spec in select(plan, ["scierc"], seeds=[1])][0]  # doctest: +SKIP
        'scierc/seed1'
    """
    for what, named, known in (("corpora", corpora, plan.corpora), ("encoders", encoders, [r.key for r in plan.rows])):
        if unknown := [name for name in named if name not in known]:
            raise ConfigError(f"{what}: {plan.path} has no {', '.join(unknown)}; it has {', '.join(known)}")
    return [
        spec
        for row in plan.rows if not encoders or row.key in encoders
        for corpus in plan.columns_of(row) if not corpora or corpus in corpora
        for spec in plan.specs(row, corpus, seeds, options) if spec.fold is None or not folds or spec.fold in folds
    ]  # fmt: skip


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted names into nested mappings, the inverse of `extends.lookup`; `data.x` is `data.init_args.x`."""
    parts: list[dict[str, Any]] = []
    for name, value in values.items():
        *path, last = name.split(".")
        short = path == ["data"] and last not in ("class_path", "init_args")
        for key in reversed([*path, *(["init_args"] if short else []), last]):
            value = {key: value}
        parts.append(value)
    return merge(*parts)


def option_texts(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return values as the command line takes them: YAML on one line."""
    return tuple((name, v if isinstance(v, str) else json.dumps(v)) for name, v in options.items())


def _digest(options: Options) -> str:
    return hashlib.sha256(json.dumps(sorted(options), default=str).encode()).hexdigest()[:6]
