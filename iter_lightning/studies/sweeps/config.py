"""What a sweep is: `sweeps/*.yaml` as a dataclass, and the experiment YAML that a trial or the incumbent is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import yaml

from iter_lightning.errors import ConfigError
from iter_lightning.studies.sweeps.search import Facade
from iter_lightning.studies.sweeps.space import Values, build_space, dimensions, nested
from iter_lightning.training.extends import lookup, merge, merged
from iter_lightning.training.run import identity

_SET_BY_THE_SWEEP = ("extends", "experiment", "run_dir")


@dataclass(frozen=True)
class SweepConfig:
    """A search for the hyperparameters of one experiment.

    Raises:
        ConfigError: all faults, a line each.
    """

    path: Path
    """The sweep's own file."""
    experiment: Path
    """The experiment's YAML."""
    facade: Facade = "hpo"
    """`hpo`, every trial trained to the end, as the paper; or `multifidelity`, epochs as budget (Hyperband)."""
    trials: int = 50
    """Trials in all, the experiment as it is (trial 1) included; may be raised later."""
    seed: int = 1
    """Of the search. The trainings keep the experiment's."""
    initial: int = 8
    """Configurations of the initial design, before the surrogate leads."""
    min_epochs: int | None = None
    """multifidelity: the least a trial gets."""
    max_epochs: int | None = None
    """multifidelity: the most, which the incumbent and trial 1 have been given."""
    space: Mapping[str, Any] = field(default_factory=dict)
    """Dimensions over Appendix D's (see `space`); null drops one."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Set in all trials and in the incumbent, nested as in an experiment's YAML."""

    def __post_init__(self) -> None:
        faults = [*self._number_faults(), *self._epoch_faults(), *self._space_faults()]
        if self.facade not in get_args(Facade):
            faults.append(f"facade: {self.facade!r} is not one of {', '.join(get_args(Facade))}")
        if not self.experiment.is_file():
            faults.append(f"experiment: no such file: {self.experiment}")
        elif isinstance(self.overrides, Mapping):
            faults += self._experiment_faults()
        if faults:
            raise ConfigError("\n".join(f"{self.path}: {fault}" for fault in faults))

    @property
    def name(self) -> str:
        """The file's, which names folders and reports."""
        return self.path.stem

    @property
    def epochs(self) -> tuple[int, int] | None:
        """Least and most epochs of multifidelity."""
        return None if self.min_epochs is None or self.max_epochs is None else (self.min_epochs, self.max_epochs)

    @property
    def full_budget(self) -> float | None:
        """SMAC's highest budget; None under hpo."""
        return None if self.max_epochs is None else float(self.max_epochs)

    @property
    def dimensions(self) -> dict[str, Any]:
        """What is searched."""
        return dimensions(self.space)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The experiment with all it extends and the overrides, as the YAML files have it."""
        return merge(merged(self.experiment), self.overrides)

    def identity(self) -> dict[str, Any]:
        """What has to stay when a sweep goes on; the number of trials need not."""
        return {
            "facade": self.facade, "seed": self.seed, "initial": self.initial, "min_epochs": self.min_epochs,
            "max_epochs": self.max_epochs, "space": self.dimensions, "experiment": identity(self.settings),
        }  # fmt: skip

    def experiment_yaml(
        self, folder: Path, name: str, values: Values, comments: Sequence[str], more: Mapping[str, Any] | None = None
    ) -> str:
        """An experiment YAML for `folder`: this sweep's experiment with values of its own.

        Args:
            folder: where the file will be; the experiment is named relative to it.
            name: of the experiment.
            values: option -> value.
            comments: its first lines.
            more: anything else, nested.
        """
        body = merge(merge(self.overrides, nested(values)), more or {})
        extends = os.path.relpath(self.experiment.resolve(), folder.resolve())
        content = {"extends": extends, "experiment": name, **body}
        return "".join(f"# {line}\n" for line in comments) + yaml.safe_dump(content, sort_keys=False)

    def _number_faults(self) -> list[str]:
        wanted = {"trials": 1, "seed": 0, "initial": 1}
        return [
            f"{name}: expected a whole number of at least {least}, found {value!r}"
            for name, least in wanted.items() if not _is_whole(value := getattr(self, name), least)
        ]  # fmt: skip

    def _epoch_faults(self) -> list[str]:
        least, most = self.min_epochs, self.max_epochs
        if self.facade != "multifidelity":
            given = [name for name in ("min_epochs", "max_epochs") if getattr(self, name) is not None]
            return [f"{name}: only multifidelity has budgets; set trainer.max_epochs in overrides" for name in given]
        if not (_is_whole(least, 1) and _is_whole(most, 1) and least <= most):  # type: ignore[operator]
            return [f"min_epochs, max_epochs: expected whole numbers, 1 <= min <= max, found {least!r} and {most!r}"]
        return []

    def _experiment_faults(self) -> list[str]:
        faults = []
        for name in ("data", "data.init_args", "model", "trainer"):
            part = lookup(self.settings, name)
            if part is not None and not isinstance(part, Mapping):
                faults.append(f"{name}: expected keys and values, found {part!r:.60}")
        if lookup(self.settings, "data.init_args.split_protocol") == "paper":
            faults.append("data.init_args.split_protocol: a sweep needs `clean`: `paper` selects on test or train")
        return faults

    def _space_faults(self) -> list[str]:
        both = [f for f in ("space", "overrides") if not isinstance(getattr(self, f), Mapping)]
        if both:
            return [f"{name}: expected keys and values, found {type(getattr(self, name)).__name__}" for name in both]
        faults = [f"overrides: {name} is set by the sweep" for name in _SET_BY_THE_SWEEP if name in self.overrides]
        for name in self.dimensions:
            if lookup(self.overrides, name) is not None:
                faults.append(f"overrides: {name} is searched; drop it from the space with `{name}: null`")
        if self.facade == "multifidelity" and lookup(self.overrides, "trainer.max_epochs") is not None:
            faults.append("overrides: trainer.max_epochs is the budget of multifidelity")
        try:
            build_space(self.dimensions)
        except ConfigError as error:
            faults += str(error).splitlines()
        return faults


def load_sweep(path: Path) -> SweepConfig:
    """Read a sweep's YAML; what it `extends` comes first, and `experiment` is relative to it.

    Raises:
        ConfigError: the file cannot be read, has unknown keys, or what `SweepConfig` refuses.
    """
    content = merged(path)
    content.pop("extends", None)
    known = [f.name for f in fields(SweepConfig) if f.name != "path"]
    faults = [f"{path}: unknown {key!r}; known are {', '.join(known)}" for key in content if key not in known]
    if not isinstance(content.get("experiment"), str):
        faults.append(
            f"{path}: experiment: expected the path of an experiment's YAML, found {content.get('experiment')!r}"
        )
    if faults:
        raise ConfigError("\n".join(faults))
    return SweepConfig(path, path.parent / content.pop("experiment"), **content)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
