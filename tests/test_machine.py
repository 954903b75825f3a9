"""Errors that the machine causes."""

from __future__ import annotations

from pathlib import Path

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.machine import check_machine, machine_fault


def test_missing_temporary_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    check_machine(heavy=True)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match=r"TMPDIR is '.*missing', which is not a folder"):
        check_machine(heavy=False)


def test_missing_working_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="the working directory no longer exists"):
        check_machine(heavy=False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "out of memory"),
        (ImportError("libx.so: failed to map segment from shared object"), "out of memory"),
        (ModuleNotFoundError("no", name="pyarrow"), "the package pyarrow is not installed"),
        (ImportError("cannot import y\nfrom x", name="x"), "x cannot be imported: cannot import y"),
        (OSError(28, "No space left on device", "/a"), "/a: No space left on device"),
        (BrokenPipeError(32, "Broken pipe"), "standard output: its reader has closed the pipe"),
    ],
)
def test_fault_of_the_machine_is_one_line(error: Exception, expected: str) -> None:
    fault = machine_fault(error)
    assert fault is not None
    assert fault.startswith(expected)
    assert "\n" not in fault


def test_fault_of_the_program_is_none() -> None:
    assert machine_fault(ValueError("x")) is None
    assert machine_fault(RuntimeError("shapes do not match")) is None
