"""A finished sweep for all tests here."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from iter_lightning.studies.sweeps.config import SweepConfig
from iter_lightning.studies.sweeps.search import Facade
from tests.studies.sweeps.fakes import (
    CRASHES,
    FakeLauncher,
    run_sweep,
    sweep_config,
)


@pytest.fixture(scope="session", params=get_args(Facade))
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepConfig, Path]:
    """A sweep of 8 trials, one of them crashed."""
    folder = tmp_path_factory.mktemp(request.param)
    config = sweep_config(folder, request.param)
    run_sweep(config, folder / "whole", FakeLauncher(crashes=CRASHES))
    return config, folder
