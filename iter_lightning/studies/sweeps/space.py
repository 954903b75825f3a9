"""The search space of a sweep: Appendix D with the changes of a sweep file.

A dimension has the dotted name of the option it sets (`model.encoder_group.learning_rate`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from ConfigSpace import (
    CategoricalHyperparameter,
    Configuration,
    ConfigurationSpace,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)

from iter_lightning.errors import ConfigError

Value: TypeAlias = bool | int | float | str
Values: TypeAlias = dict[str, Value]
"""Option -> value."""
Hyperparameter: TypeAlias = (
    CategoricalHyperparameter | OrdinalHyperparameter | UniformFloatHyperparameter | UniformIntegerHyperparameter
)

_GROUP: dict[str, Any] = {
    "learning_rate": {"low": 2e-5, "high": 1e-3, "log": True},
    "schedule": ["constant", "linear"],
    "warmup_ratio": [0.0, 0.05, 0.1, 0.2],
    "weight_decay": {"low": 0.0, "high": 0.1},
}
APPENDIX_D: dict[str, Any] = {
    **{f"model.{group}.{name}": value for group in ("encoder_group", "head_group") for name, value in _GROUP.items()},
    "data.init_args.batch_size": [8, 16, 32, 64],
    "model.activation": ["gelu", "relu", "tanh"],
    "model.dropout": {"low": 0.0, "high": 0.4},
}
"""The paper's search space. Dropout is not in its text, but Table 5's runs differ in it (0.3, 0.234, 0.051)."""


def dimensions(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return Appendix D with the `space:` of a sweep file, which replaces, adds or, with null, drops dimensions."""
    return {name: value for name, value in {**APPENDIX_D, **changes}.items() if value is not None}


def build_space(wanted: Mapping[str, Any]) -> ConfigurationSpace:
    """Build a space of `dimensions`.

    `{low, high, log}` is a range, of integers if both ends are; a list of numbers is ordered, one of strings is not.

    Raises:
        ConfigError: All dimensions that are not valid, one a line.
    """
    faults: list[str] = []
    found: list[Hyperparameter] = []
    for name, value in wanted.items():
        try:
            found.append(_hyperparameter(name, value))
        except ValueError as error:
            faults.append(f"space: {name}: {error}")
    if not found and not faults:
        faults.append("space: no dimension is left to search")
    if faults:
        raise ConfigError("\n".join(faults))
    space = ConfigurationSpace()
    space.add(found)
    return space


def plain(configuration: Configuration) -> Values:
    """Convert a configuration to plain values, without numpy's types."""
    values = dict(configuration)
    return {name: _plain(values[name]) for name in sorted(values)}


def configuration_of(space: ConfigurationSpace, values: Mapping[str, Value]) -> Configuration:
    """Invert `plain`: the result equals the configuration that was drawn, and has the same hash.

    Raises:
        ValueError: A value that is missing or outside the space.
    """
    if missing := [name for name in space if name not in values]:
        raise ValueError(f"no value for {', '.join(missing)}")
    legal = Configuration(space, values={name: values[name] for name in space})
    return Configuration(space, vector=legal.get_array())  # hashes go by the types of the values: numpy's, as drawn


def outside(space: ConfigurationSpace, values: Mapping[str, Value | None]) -> list[str]:
    """List the options, with their values, that are outside the space."""

    def legal(name: str) -> bool:
        value = values.get(name)
        try:
            return value is not None and bool(space[name].legal_value(value))
        except (TypeError, ValueError):
            return False

    return [f"{name} {values.get(name)}" for name in space if not legal(name)]


def _hyperparameter(name: str, value: Any) -> Hyperparameter:
    if isinstance(value, Mapping):
        return _range(name, value)
    if not isinstance(value, list) or len(value) < 2 or len({*map(str, value)}) < len(value):
        raise ValueError(f"expected {{low, high, log}} or a list of at least two different values, found {value!r}")
    if all(_is_number(item) for item in value):
        return OrdinalHyperparameter(name, sorted(value))
    if all(isinstance(item, bool) for item in value) or all(isinstance(item, str) for item in value):
        return CategoricalHyperparameter(name, value)
    raise ValueError(f"expected a list of numbers or one of strings, found {value!r}")


def _range(name: str, value: Mapping[str, Any]) -> Hyperparameter:
    low, high, log = value.get("low"), value.get("high"), value.get("log", False)
    known = set(value) <= {"low", "high", "log"} and isinstance(log, bool)
    if not known or not _is_number(low) or not _is_number(high):
        raise ValueError(
            f"expected {{low: number, high: number, log: true or false}}, found {dict(value)!r}"
            + (" (YAML reads 1e-4 as text: write 1.0e-4)" if isinstance(low, str) or isinstance(high, str) else "")
        )
    if low >= high or (log and low <= 0):
        raise ValueError(f"low must be below high{' and above 0' if log else ''}, found {low} and {high}")
    if isinstance(low, int) and isinstance(high, int):
        return UniformIntegerHyperparameter(name, low, high, log=log)
    return UniformFloatHyperparameter(name, float(low), float(high), log=log)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> Value:
    result: Value = value.item() if isinstance(value, np.generic) else value
    return result
