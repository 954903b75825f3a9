"""A sweep's YAML (`sweeps/*.yaml`) as a dataclass, and the experiment YAML of its trials."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from iter_lightning.errors import ConfigError
from iter_lightning.studies.definitions import NO_OTHER_KEYS, validated
from iter_lightning.studies.runs.plan import nested
from iter_lightning.studies.sweeps.search import Facade
from iter_lightning.studies.sweeps.space import Values, build_space, dimensions
from iter_lightning.training.extends import lookup, merge, merged
from iter_lightning.training.run import identity

_SET_BY_THE_SWEEP = ("extends", "experiment", "run_dir")


@dataclass(frozen=True)
class SweepConfig:
    """A search for the hyperparameters of one experiment.

    Raises:
        ConfigError: All faults, one a line.

    Example:
        >>> load_sweep(Path("sweeps/conll04_minilm.yaml")).facade  # doctest: +SKIP
        'multifidelity'
    """

    __pydantic_config__ = NO_OTHER_KEYS

    path: Path
    """The sweep's own file."""
    experiment: Path
    """The experiment's YAML."""
    facade: Facade = "hpo"
    """`hpo` trains every trial to the end, as the paper does; `multifidelity` uses epochs as budget (Hyperband)."""
    trials: int = 50
    """Number of trials, including trial 1, the unchanged experiment; may be raised later."""
    seed: int = 1
    """Seed of the search; the trainings keep the experiment's seed."""
    initial: int = 8
    """Configurations of the initial design, before the surrogate model leads."""
    min_epochs: int | None = None
    """multifidelity: the smallest budget of a trial."""
    max_epochs: int | None = None
    """multifidelity: the largest budget, which trial 1 and the incumbent have."""
    space: Mapping[str, Any] = field(default_factory=dict)
    """Changes to the dimensions of Appendix D (see `space`); null drops one."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings of all trials and of the incumbent, nested as in an experiment's YAML."""

    def __post_init__(self) -> None:
        faults = [f"{name}: expected at least {least}, found {value}"
                  for name, least in (("trials", 1), ("seed", 0), ("initial", 1))
                  if (value := getattr(self, name)) < least]  # fmt: skip
        faults += [*self._epoch_faults(), *self._space_faults()]
        if not self.experiment.is_file():
            faults.append(f"experiment: no such file: {self.experiment}")
        else:
            faults += self._experiment_faults()
        if faults:
            raise ConfigError("\n".join(f"{self.path}: {fault}" for fault in faults))

    @property
    def name(self) -> str:
        """Name of the file, which names folders and reports."""
        return self.path.stem

    @property
    def epochs(self) -> tuple[int, int] | None:
        """Smallest and largest budget of multifidelity."""
        return None if self.min_epochs is None or self.max_epochs is None else (self.min_epochs, self.max_epochs)

    @property
    def full_budget(self) -> float | None:
        """SMAC's highest budget; None under hpo."""
        return None if self.max_epochs is None else float(self.max_epochs)

    @property
    def dimensions(self) -> dict[str, Any]:
        """The search space."""
        return dimensions(self.space)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The experiment with everything it extends and the overrides, without the defaults of `fit`."""
        return merge(merged(self.experiment), self.overrides)

    def identity(self) -> dict[str, Any]:
        """Return everything that must not change when a sweep is resumed; the number of trials may."""
        return {
            "facade": self.facade, "seed": self.seed, "initial": self.initial, "min_epochs": self.min_epochs,
            "max_epochs": self.max_epochs, "space": self.dimensions, "experiment": identity(self.settings),
        }  # fmt: skip

    def experiment_yaml(
        self, folder: Path, name: str, values: Values, comments: Sequence[str], more: Mapping[str, Any] | None = None
    ) -> str:
        """Return the text of an experiment YAML that extends this sweep's experiment.

        Args:
            folder: Folder of the file; the experiment is named relative to it.
            name: Name of the new experiment.
            values: Option -> value.
            comments: First lines of the file.
            more: Other settings, nested.
        """
        body = merge(self.overrides, nested(values), more or {})
        extends = os.path.relpath(self.experiment.resolve(), folder.resolve())
        content = {"extends": extends, "experiment": name, **body}
        return "".join(f"# {line}\n" for line in comments) + yaml.safe_dump(content, sort_keys=False)

    def _epoch_faults(self) -> list[str]:
        least, most = self.min_epochs, self.max_epochs
        if self.facade != "multifidelity":
            given = [name for name in ("min_epochs", "max_epochs") if getattr(self, name) is not None]
            return [f"{name}: only multifidelity has budgets; set trainer.max_epochs in overrides" for name in given]
        if least is None or most is None or not 1 <= least <= most:
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
    """Read a sweep's YAML and the files it extends; `experiment` is relative to it.

    Args:
        path: The sweep's YAML file.

    Returns:
        The sweep, checked.

    Raises:
        ConfigError: The file cannot be read, or has unknown, missing or wrong entries.

    Example:
        >>> load_sweep(Path("sweeps/synthetic.yaml")).name  # doctest: +SKIP
        'synthetic'
    """
    content = merged(path)
    content.pop("extends", None)
    experiment = content.pop("experiment", None)
    if not isinstance(experiment, str):
        raise ConfigError(f"{path}: experiment: expected the path of an experiment's YAML, found {experiment!r:.60}")
    return validated(SweepConfig, content, path, path=str(path), experiment=str(path.parent / experiment))
