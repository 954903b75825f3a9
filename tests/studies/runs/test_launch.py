"""Launchers: slots, statuses, logs; what is stopped is gone; a child does not outlive the process that started it."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.studies.runs.launch import PARENT, Launcher, Task, make_launcher, visible_gpus, worker_command

NO_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `cluster` is missing")
RAY = pytest.param("ray", marks=[NO_RAY, pytest.mark.slow])


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    """One local cluster of two workers for all tests."""
    yield
    if (ray := sys.modules.get("ray")) is not None:
        ray.shutdown()


def python(tmp_path: Path, name: str, code: str) -> Task:
    return Task(name, (sys.executable, "-c", code), tmp_path / f"{name}.log")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize("kind", ["local", RAY])
def test_all_tasks_end_with_their_status_and_log(kind: str, tmp_path: Path) -> None:
    launcher: Launcher = make_launcher(kind, 2)
    codes = {"good": "print('well')", "bad": "import sys; print('ill'); sys.exit(3)"}
    for name, code in codes.items():
        launcher.submit(python(tmp_path, name, code))
    found = {outcome.task.name: outcome.status for outcome in (launcher.wait(), launcher.wait())}
    assert found == {"good": 0, "bad": 3}
    assert (tmp_path / "good.log").read_text() == "well\n"
    assert (tmp_path / "bad.log").read_text() == "ill\n"
    launcher.submit(python(tmp_path, "good", "import os; print(os.getcwd())"))  # a slot is free again
    assert launcher.wait().status == 0
    assert (tmp_path / "good.log").read_text() == f"well\n{Path.cwd()}\n"


@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize("kind", ["local", RAY])
def test_stop_ends_all_processes(kind: str, tmp_path: Path) -> None:
    launcher = make_launcher(kind, 2)
    for name in "ab":  # as the worker does, each ends when its parent is gone
        code = (
            "import os; from pathlib import Path; from iter_lightning.processes import _watch\n"
            f"Path({str(tmp_path / name)!r}).write_text(str(os.getpid()))\n"
            f"_watch(int(os.environ[{PARENT!r}]), 0.05)"
        )
        launcher.submit(python(tmp_path, name, code))
    assert eventually(lambda: all((tmp_path / n).exists() and (tmp_path / n).read_text() for n in "ab"))
    pids = [int((tmp_path / name).read_text()) for name in "ab"]
    launcher.stop()
    assert eventually(lambda: all(map(gone, pids)))


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "import os, sys, time; from pathlib import Path; from iter_lightning.studies.runs.launch import Task, start\n"
        "code = 'import os; from iter_lightning.processes import _watch\\n'\n"
        f"code += '_watch(int(os.environ[\"{PARENT}\"]), 0.05)'\n"
        f"child = start(Task('x', (sys.executable, '-c', code), Path({str(tmp_path / 'log')!r})), os.environ)\n"
        "print(child.pid, flush=True); time.sleep(100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert not gone(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert eventually(lambda: gone(child))


def test_local_processes_share_cores_and_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert visible_gpus() == ["4", "6"]
    launcher = make_launcher("local", 3)
    show = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], int(os.environ['OMP_NUM_THREADS']) >= 1)"
    for name in "abc":
        launcher.submit(python(tmp_path, name, show))
    for _ in range(3):
        launcher.wait()
    assert [(tmp_path / f"{name}.log").read_text() for name in "abc"] == ["4 True\n", "6 True\n", "4 True\n"]


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="launcher 'slurm' is not one of local, ray"):
        make_launcher("slurm", 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="jobs must be at least 1"):
        make_launcher("local", 0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"iter-lightning\[cluster\]"):
        make_launcher("ray", 1)


def test_worker_command() -> None:
    assert worker_command(("fit", "test"), ("--config", "x.yaml"))[1:] == (
        "-m", "iter_lightning.worker", "fit,test", "--config", "x.yaml",
    )  # fmt: skip
