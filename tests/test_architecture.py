"""A file imports only from floors below its own; `torch.nn` code never imports lightning."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "iter_lightning"
FLOORS = {
    "cancellation": 0, "errors": 0, "heap": 0, "processes": 0, "types": 0, "io": 0.5, "machine": 0.5,
    "registry": 0.5, "terminal": 0.5, "json_files": 0.6, "status": 0.7, "corpora": 1, "features": 2, "metrics": 2,
    "model": 3, "training": 4, "extraction": 4, "apps": 5, "inspection": 5, "timing": 5, "studies": 6, "cli": 7,
    "worker": 8, "__main__": 8, "__init__": 8,
}  # fmt: skip


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    own = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "iter_lightning" and parts[1] in FLOORS and parts[1] != own:
            assert FLOORS[parts[1]] < FLOORS[own], f"{own} (floor {FLOORS[own]}) imports {name}"
        if own in ("types", "errors", "io", "heap", "corpora"):
            assert parts[0] not in ("torch", "transformers", "lightning"), f"{own} imports {name}"
        if own in ("features", "metrics", "model"):
            assert parts[0] not in ("lightning", "pytorch_lightning"), f"{own} imports {name}"


def test_importing_the_package_and_the_command_line_is_light() -> None:
    """Heavy imports are inside the verbs."""
    assert not [name for name in imports(PACKAGE / "cli.py") if name.split(".")[0] in ("torch", "lightning")]


@pytest.mark.parametrize("path", sorted((PACKAGE / "studies").rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_studies_import_downwards(path: Path) -> None:
    """`runs` knows nothing of tables, tables nothing of sweeps."""
    levels = {"definitions": 0, "runs": 1, "tables": 2, "sweeps": 3, "reproduce": 4, "dashboard": 4, "__init__": 4}
    own = path.relative_to(PACKAGE / "studies").parts[0].removesuffix(".py")
    for name in imports(path):
        if name.startswith("iter_lightning.studies.") and (other := name.split(".")[2]) != own:
            assert levels[other] < levels[own], f"{path.name} imports {name}"


TESTS = Path(__file__).parent
ACROSS_MODULES = {
    "apps/serve/test_attack.py", "corpora/test_readers.py", "extraction/test_extraction_corpora.py",
    "metrics/test_functional_properties.py", "model/test_gold_roundtrip_corpora.py", "model/test_open_model.py",
    "model/test_parameter_counts.py",
    "model/test_published_checkpoints.py", "model/test_ready_model.py",
    "studies/sweeps/test_sweep_cli.py", "test_architecture.py", "test_experiments.py", "test_language.py",
    "test_sweeps.py", "training/test_cli_coreference.py", "training/test_cli_errors.py", "training/test_cli_fit.py",
    "training/test_cli_transfer.py", "training/test_speed.py",
}  # fmt: skip
"""Tests of what several modules do together; `reliability/` and `benchmarks/` hold such tests only."""


def test_tests_mirror_the_package() -> None:
    """`iter_lightning/a/b.py` is tested by `tests/a/test_b.py`."""
    found = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    elsewhere = {path for path in found if path.parts[0] in ("reliability", "benchmarks")}
    modules = {path: PACKAGE.joinpath(*path.parts[:-1], path.stem.removeprefix("test_")) for path in found - elsewhere}
    alone = {
        str(path) for path, module in modules.items() if not (module.is_dir() or module.with_suffix(".py").is_file())
    }
    assert alone == ACROSS_MODULES
