"""The search space: Appendix D, what a sweep file makes of it, and plain values that come back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ConfigSpace import CategoricalHyperparameter, OrdinalHyperparameter

from iter_lightning.errors import ConfigError
from iter_lightning.studies.sweeps.space import (
    APPENDIX_D,
    build_space,
    configuration_of,
    dimensions,
    outside,
    plain,
)

RATE = "model.encoder_group.learning_rate"


def test_appendix_d() -> None:
    space = build_space(dimensions({}))
    for group in ("encoder_group", "head_group"):
        rate, decay = space[f"model.{group}.learning_rate"], space[f"model.{group}.weight_decay"]
        assert (rate.lower, rate.upper, rate.log) == (2e-5, 1e-3, True)
        assert (decay.lower, decay.upper, decay.log) == (0.0, 0.1, False)
        assert space[f"model.{group}.schedule"].choices == ("constant", "linear")
        assert space[f"model.{group}.warmup_ratio"].sequence == (0.0, 0.05, 0.1, 0.2)
    assert space["data.init_args.batch_size"].sequence == (8, 16, 32, 64)
    assert space["model.activation"].choices == ("gelu", "relu", "tanh")
    assert len(space) == 11


def test_a_sweep_replaces_adds_and_drops_dimensions() -> None:
    changes = {
        "model.dropout": None, "model.activation": ["relu", "gelu"], "data.init_args.batch_size": [32, 8],
        "model.window_overlap": {"low": 8, "high": 64}, "model.resolve_overlaps": [True, False],
    }  # fmt: skip
    space = build_space(dimensions(changes))
    assert set(space) == {*APPENDIX_D, "model.window_overlap", "model.resolve_overlaps"} - {"model.dropout"}
    assert isinstance(space["model.activation"], CategoricalHyperparameter)
    assert isinstance(space["data.init_args.batch_size"], OrdinalHyperparameter)
    assert space["data.init_args.batch_size"].sequence == (8, 32)
    space.seed(0)
    values = plain(space.sample_configuration())
    assert type(values["model.window_overlap"]) is int
    assert type(values["model.resolve_overlaps"]) is bool


def test_plain_values_survive_json_and_yaml_and_are_the_configuration_again() -> None:
    space = build_space(dimensions({}))
    space.seed(1)
    for drawn in space.sample_configuration(200):
        values = plain(drawn)
        assert {type(value) for value in values.values()} <= {int, float, str}
        assert json.loads(json.dumps(values)) == values
        assert yaml.safe_load(yaml.safe_dump(values)) == values
        again = configuration_of(space, values)
        assert again == drawn
        assert hash(again) == hash(drawn)  # SMAC looks them up by hash
        assert plain(again) == values
        assert not outside(space, values)
    with pytest.raises(ValueError, match=r"no value for model\.dropout"):
        configuration_of(space, {name: value for name, value in values.items() if name != "model.dropout"})


def test_outside() -> None:
    space = build_space({RATE: APPENDIX_D[RATE], "model.activation": ["relu", "tanh"], "w": [0.0, 0.05]})
    found = outside(space, {RATE: 2e-3, "model.activation": "gelu", "w": 0.05})
    assert sorted(found) == ["model.activation gelu", f"{RATE} 0.002"]
    assert outside(space, {"model.activation": "relu", "w": 0.05}) == [f"{RATE} None"]
    assert outside(space, {RATE: "fast", "model.activation": "relu", "w": 0.05}) == [f"{RATE} fast"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"low": "2e-5", "high": 1}, "YAML reads 1e-4 as text"), ({"low": 1, "high": 1}, "low must be below high"),
        ({"low": 0, "high": 1, "log": True}, "above 0, found 0 and 1"), ({"min": 0, "max": 1}, "expected {low"),
        ([8], "at least two different values, found \\[8\\]"), (["a", 1], "a list of numbers or one of strings"),
        (["a", "a"], "different"), ("relu", "found 'relu'"),
    ],
)  # fmt: skip
def test_dimensions_that_cannot_be(value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        build_space({"model.x": value, "model.y": [1]})
    assert str(raised.value).count("space: model.") == 2  # all at once


def test_an_empty_space() -> None:
    with pytest.raises(ConfigError, match="no dimension is left"):
        build_space(dimensions(dict.fromkeys(APPENDIX_D)))
