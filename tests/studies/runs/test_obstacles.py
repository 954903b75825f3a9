"""Obstacles with their remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iter_lightning.studies.runs import obstacles
from iter_lightning.studies.runs.obstacles import encoder_obstacle, obstacle_of


def test_obstacles_name_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()  # the real check of corpora
    encoder_obstacle.cache_clear()
    monkeypatch.setattr(obstacles, "hub_reachable", lambda: False)
    settings: dict[str, Any] = {"data": {"class_path": "x.ACE05"}, "model": {"encoder": "no/such"}}
    assert "LDC2006T06" in obstacle_of(settings, tmp_path)
    settings["data"]["class_path"] = "CoNLL04"
    assert "iter_lightning prepare conll04" in obstacle_of(settings, tmp_path)
    settings["data"]["class_path"] = "Synthetic"
    assert "hf download no/such" in obstacle_of(settings, tmp_path)
    settings["model"]["encoder"] = "package:no_such_package"
    assert "not installed; pip install" in obstacle_of(settings, tmp_path)
    settings["model"]["encoder"] = str(tmp_path)
    assert obstacle_of(settings, tmp_path) == ""
    encoder_obstacle.cache_clear()
