"""A table's plan: which encoder on which corpus, with which seeds or folds. One YAML, from which the runs follow.

Rows are encoders, columns corpora; every cell is a number of runs, every run a `Spec`: an experiment's YAML, what is
set beyond it, and the folder it belongs to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from iter_lightning.errors import ConfigError
from iter_lightning.metrics.functional import TASKS
from iter_lightning.training.extends import lookup, merge, merged
from iter_lightning.training.yaml_files import parse_yaml

MAX_FOLDS = 100


@dataclass(frozen=True)
class Spec:
    """One run: what is trained, and where."""

    corpus: str
    """Key of the column."""
    row: str
    """Key of the row."""
    seed: int
    fold: int | None
    config: Path
    """The experiment's YAML."""
    options: tuple[tuple[str, str], ...]
    """Set on the command line, beyond the YAML: (name, value as YAML)."""
    group: str
    """The experiment's name, shared by the runs of a cell; names the folder and the W&B group."""
    init_from: tuple[Spec, ...] = ()
    """Runs the best of which this one starts from (Appendix E)."""

    @property
    def part(self) -> str:
        """What tells the runs of a cell apart: `seed2`, `fold3`, or `fold3-seed2` where both vary."""
        if self.fold is None:
            return f"seed{self.seed}"
        return f"fold{self.fold}" if self.seed == 1 else f"fold{self.fold}-seed{self.seed}"

    @property
    def name(self) -> str:
        """`GROUP/PART`, also the folder below `runs/`."""
        return f"{self.group}/{self.part}"

    def arguments(self) -> list[str]:
        """What `fit` and `test` are told; folders and W&B's options are the runner's."""
        named = [f"--{name}={value}" for name, value in self.options]
        return [f"--config={self.config}", f"--seed_everything={self.seed}", *named]

    def settings(self) -> dict[str, Any]:
        """What the run's configuration must hold: the YAML with all it extends, then the options."""
        wanted = merged(self.config)
        for name, text in (("seed_everything", str(self.seed)), *self.options):
            keys, value = name.split("."), parse_yaml(text, f"the value of {name}")
            if keys[0] == "data" and len(keys) == 2:  # the command line's short form
                keys.insert(1, "init_args")
            for key in reversed(keys):
                value = {key: value}
            wanted = merge(wanted, value)
        return wanted


@dataclass(frozen=True)
class Column:
    """A corpus of the table."""

    config: str
    """The experiment's YAML, beside the plan."""
    folds: int = 0
    """Cross-validation over so many folds (ADE), at most `MAX_FOLDS`; 0: the corpus's own split."""
    seeds: tuple[int, ...] | None = None
    """Instead of the plan's."""
    tasks: tuple[str, ...] | None = None
    """What it is scored on; None is all of the table's."""
    both_symmetric: bool = False
    """Whether symmetric relations are also scored twice, the paper's (*)."""


@dataclass(frozen=True)
class Row:
    """An encoder of the table."""

    key: str
    label: str
    encoder: str | None = None
    """Folder, hub id or `package:NAME`; None is the experiment's own."""
    configs: Mapping[str, str] = field(default_factory=dict)
    """Corpus -> the row's own experiment, instead of the column's with another encoder."""
    corpora: tuple[str, ...] | None = None
    """The corpora it is run on; None is all."""
    seeds: tuple[int, ...] | None = None
    """Instead of the plan's (three for ablations)."""
    init_from: str | None = None
    """An experiment's YAML: the best of its runs is where each run starts (Appendix E)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Anything else of `fit`, by its dotted name."""


@dataclass(frozen=True)
class Plan:
    """A table: columns, rows, seeds.

    Raises:
        ConfigError: every fault of the plan, at once.
    """

    path: Path
    table: int
    title: str
    corpora: Mapping[str, Column]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    tasks: tuple[str, ...] = ("NER", "RE+")
    """The scores shown."""
    scores: tuple[str, ...] = ("f1",)
    """Of precision, recall, f1."""

    def __post_init__(self) -> None:
        faults = [f"corpora: {name}: folds: expected 0 to {MAX_FOLDS}, found {column.folds}"
                  for name, column in self.corpora.items() if not 0 <= column.folds <= MAX_FOLDS]  # fmt: skip
        faults += [f"rows: the key {key!r} is given twice" for key in _twice([row.key for row in self.rows])]
        faults += [f"tasks: {task!r} is none of {', '.join(TASKS)}" for task in self.tasks if task not in TASKS]
        for row in self.rows:
            for corpus in (*row.configs, *(row.corpora or ())):
                if corpus not in self.corpora:
                    faults.append(f"row {row.key}: no column {corpus!r}; those are {', '.join(self.corpora)}")
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
        """The columns a row is run on."""
        alone = row.corpora or (tuple(row.configs) if row.encoder is None else tuple(self.corpora))
        return {name: column for name, column in self.corpora.items() if name in alone}

    def specs(
        self, row: Row, corpus: str, seeds: Sequence[int] = (), more: Sequence[tuple[str, Any]] = ()
    ) -> tuple[Spec, ...]:
        """The runs of a cell: with `seeds` instead of the plan's, and with `more` options in each."""
        column = self.corpora[corpus]
        file = self.path.parent / row.configs.get(corpus, column.config)
        options, group = self._options(row, file, own=corpus in row.configs)
        start = self._start(row, options)
        if more:  # other settings are other runs, in folders of their own
            options, group = {**options, **dict(more)}, f"{group}-{_digest(more)}"
        seeds = column.seeds or tuple(seeds) or row.seeds or self.seeds
        folds: Sequence[int | None] = range(column.folds) if column.folds else (None,)
        return tuple(
            Spec(corpus, row.key, seed, fold, file,
                 _texts(options if fold is None else {**options, "data.fold": fold}), group, start)
            for seed in seeds for fold in folds
        )  # fmt: skip

    def _options(self, row: Row, file: Path, own: bool) -> tuple[dict[str, Any], str]:
        """What is set beyond the YAML, and the group: the experiment's name, the row's added where it is another."""
        content = merged(file)
        group = str(content.get("experiment", file.stem))
        options = dict(row.options)
        if row.encoder is not None and not own and lookup(content, "model.encoder") != row.encoder:
            options = {"model.encoder": row.encoder, **options}
        group = f"{group}_{row.key}" if options else group
        return options, f"{group}+{Path(row.init_from).stem}" if row.init_from else group

    def _start(self, row: Row, options: Mapping[str, Any]) -> tuple[Spec, ...]:
        """The runs on another corpus that a row starts from: one for each of the row's seeds."""
        if row.init_from is None:
            return ()
        file = self.path.parent / row.init_from
        group = str(merged(file).get("experiment", file.stem))
        own = lookup(merged(file), "model.encoder")
        encoder = options.get("model.encoder", own)
        named = {} if encoder == own else {"model.encoder": encoder}
        return tuple(
            Spec(file.stem, row.key, seed, None, file, _texts(named), f"{group}_{row.key}" if named else group)
            for seed in row.seeds or self.seeds
        )


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: no YAML, unknown or missing keys, or what `Plan` refuses.
    """
    content = merged(path)
    content.pop("extends", None)
    columns, lines = content.get("corpora") or {}, content.get("rows") or []
    if not isinstance(columns, dict) or not isinstance(lines, list):
        raise ConfigError(
            f"{path}: expected corpora: NAME: {{config: FILE, ...}} and rows: a list of {{key: NAME, ...}}, found "
            f"{columns!r:.60} and {lines!r:.60}"
        )
    corpora = {name: _build(Column, values, f"{path}: corpora: {name}") for name, values in columns.items()}
    rows = tuple(_build(Row, values, f"{path}: rows: {i}") for i, values in enumerate(lines))
    plan: Plan = _build(Plan, {**content, "path": path, "corpora": corpora, "rows": rows}, str(path))
    return plan


def select(
    plan: Plan, corpora: Sequence[str] = (), encoders: Sequence[str] = (), seeds: Sequence[int] = (),
    folds: Sequence[int] = (), options: Sequence[tuple[str, Any]] = (),
) -> list[Spec]:  # fmt: skip
    """The runs of a plan, or of a part of it.

    Args:
        plan: the whole.
        corpora, encoders: keys of columns and rows; none named is all.
        seeds: instead of the plan's, but not for a column that has its own (folds are one seed each).
        folds: of the columns with folds; none named is all.
        options: set in every run.

    Raises:
        ConfigError: a key the plan does not have.
    """
    for what, named, known in (("corpora", corpora, plan.corpora), ("encoders", encoders, [r.key for r in plan.rows])):
        if unknown := [name for name in named if name not in known]:
            raise ConfigError(f"{what}: {plan.path} has no {', '.join(unknown)}; it has {', '.join(known)}")
    chosen: list[Spec] = []
    for row in plan.rows:
        if encoders and row.key not in encoders:
            continue
        for corpus in plan.columns_of(row):
            if not corpora or corpus in corpora:
                cell = plan.specs(row, corpus, seeds, options)
                chosen += [spec for spec in cell if spec.fold is None or not folds or spec.fold in folds]
    return chosen


def _build(cls: type[Any], values: Any, where: str) -> Any:
    """A dataclass from a map; unknown and missing keys are told with those that exist."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected keys and values, found {type(values).__name__}")
    known = [f.name for f in fields(cls) if f.name != "path" or "path" in values]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ConfigError(f"{where}: unknown {', '.join(map(repr, unknown))}; known are {', '.join(known)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    hints = get_type_hints(cls)
    if wrong := [key for key in values if not _conforms(values[key], hints[key])]:
        shown = "; ".join(f"{key}: found {values[key]!r:.60}, expected {_WORDS[str(hints[key])]}" for key in wrong)
        raise ConfigError(f"{where}: {shown}")
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {str(error).partition('__init__() ')[2] or error}") from error


def _conforms(value: Any, hint: Any) -> bool:
    """Whether a value of a YAML is of a field's type; only the types that these dataclasses have are known."""
    parts, origin = get_args(hint), get_origin(hint)
    if origin is UnionType:
        return any(_conforms(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and all(_conforms(item, parts[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_conforms(item, parts[1]) for item in value.values())
    if hint in (Any, NoneType):
        return hint is Any or value is None
    return isinstance(value, hint) and (hint is not int or not isinstance(value, bool))


_WORDS = {
    "<class 'int'>": "a whole number", "<class 'bool'>": "true or false", "<class 'str'>": "text",
    "str | None": "text", "tuple[int, ...]": "a list of whole numbers",
    "tuple[int, ...] | None": "a list of whole numbers", "tuple[str, ...]": "a list of names",
    "tuple[str, ...] | None": "a list of names", "collections.abc.Mapping[str, str]": "CORPUS: FILE",
    "collections.abc.Mapping[str, typing.Any]": "OPTION: VALUE",
}  # fmt: skip
"""Types as messages name them."""


def _texts(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Values as the command line takes them: YAML on one line."""
    return tuple((name, v if isinstance(v, str) else json.dumps(v)) for name, v in options.items())


def _digest(options: Sequence[tuple[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(sorted(options), default=str).encode()).hexdigest()[:6]


def _twice(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
