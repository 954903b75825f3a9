"""Declarations of the package, of installed packages, and registered ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace as Dish

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.registry import Registry

GROUP = "iter_lightning.dishes"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *targets: str) -> None:
    information = folder / "dishes-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: dishes\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *targets]))
    monkeypatch.syspath_prepend(str(folder))


def test_registry_finds_its_own_and_registered_declarations() -> None:
    registry = Registry(Dish, "dish", GROUP, [Dish(name="soup")])
    stew = registry.register(Dish(name="stew"))
    assert registry.register(stew) is stew
    assert (list(registry), len(registry), registry.find("stew")) == (["soup", "stew"], 2, stew)
    assert "cake" not in registry
    with pytest.raises(KeyError):
        registry["cake"]
    with pytest.raises(ConfigError, match="unknown dish 'cake'; expected one of soup, stew"):
        registry.find("cake")
    with pytest.raises(ConfigError, match="dish 'soup' is registered already"):
        registry.register(Dish(name="soup"))
    with pytest.raises(ConfigError, match="expected a SimpleNamespace, found str"):
        registry.register("soup")  # type: ignore[arg-type]


def test_registry_reports_a_broken_package_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "good_dishes.py").write_text("from types import SimpleNamespace\nCAKE = SimpleNamespace(name='cake')\n")
    (tmp_path / "bad_dishes.py").write_text("raise RuntimeError('burnt')\n")
    install(tmp_path, monkeypatch, "pie = bad_dishes:PIE", "cake = good_dishes:CAKE")
    registry = Registry(Dish, "dish", GROUP, [Dish(name="soup")])
    assert registry["soup"] == Dish(name="soup")
    assert "burnt" not in caplog.text
    assert registry.find("cake") == Dish(name="cake")
    assert "dish pie (bad_dishes:PIE) is not available: burnt" in caplog.text
    assert list(registry) == ["soup", "cake"]
