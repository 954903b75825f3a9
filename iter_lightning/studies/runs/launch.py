"""Run several processes at a time, on this machine or on a Ray cluster.

A launcher starts `Task`s, each its own process with its own log, and returns `Outcome`s as they end. The results are
the files that the processes leave in their folders.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from iter_lightning.errors import ConfigError

Kind = Literal["local", "ray"]
PARENT = "ITER_LAUNCHER_PID"
"""Environment variable of a task: the id of the process that started it, which `worker` watches."""
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 30.0
"""Time between asking a process to end and killing it."""


@dataclass(frozen=True)
class Task:
    """A command that runs as its own process."""

    name: str
    """Unique among the tasks that run."""
    command: tuple[str, ...]
    """The executable and its arguments."""
    log: Path
    """Output and errors are appended to it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables added to the environment of this process."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended."""

    task: Task
    status: int
    """Exit status; negative: the signal that ended it."""
    seconds: float

    @property
    def stopped(self) -> bool:
        """Whether SIGINT or SIGTERM stopped the process, which can then be resumed."""
        signals = (signal.SIGINT, signal.SIGTERM)
        return self.status in [*(128 + number for number in signals), *(-number for number in signals)]


class Launcher(Protocol):
    """Start tasks, at most `slots` at a time, and report each end."""

    slots: int

    def submit(self, task: Task) -> None:
        """Start a task; only while fewer than `slots` run."""

    def wait(self) -> Outcome:
        """Wait until a task ends."""

    def stop(self) -> None:
        """End all tasks and wait until they have ended."""


def make_launcher(kind: Kind, jobs: int) -> Launcher:
    """Return a launcher of `jobs` slots: `local` processes, or `ray` (extra `cluster`); each task has a GPU, if any.

    Raises:
        ConfigError: Unknown launcher, no slot, or Ray is not installed.
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"launcher {kind!r} is not one of {', '.join(get_args(Kind))}")
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, found {jobs}")
    return LocalLauncher(jobs) if kind == "local" else RayLauncher(jobs)


def worker_command(verbs: Sequence[str], arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the command of a process that runs LightningCLI verbs one after another (see `worker`)."""
    return (sys.executable, "-m", "iter_lightning.worker", ",".join(verbs), *arguments)


class LocalLauncher:
    """Run processes of this machine, which share its cores; GPUs go to the slots in turn."""

    def __init__(self, jobs: int) -> None:
        self.slots = jobs
        self._running: dict[int, tuple[Task, subprocess.Popen[bytes], float]] = {}
        """By slot."""

    def submit(self, task: Task) -> None:
        """Start a process."""
        slot = next(i for i in range(self.slots) if i not in self._running)
        environment = {**os.environ, **self._share(slot), **task.environment}
        self._running[slot] = (task, start(task, environment), time.monotonic())

    def wait(self) -> Outcome:
        """Wait until a process ends."""
        while True:
            for slot, (task, process, started) in self._running.items():
                if (status := process.poll()) is not None:
                    del self._running[slot]
                    return Outcome(task, status, time.monotonic() - started)
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Send SIGTERM, on which a training ends and can be resumed, then SIGKILL to those that still run."""
        end([process for _, process, _ in self._running.values()])
        self._running.clear()

    def _share(self, slot: int) -> dict[str, str]:
        """Return environment variables that give each process its share of the cores, and a GPU."""
        if self.slots == 1:
            return {}
        share: dict[str, str] = {}
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            if name not in os.environ:
                share[name] = str(max(1, cores // self.slots))
        if gpus := visible_gpus():
            share["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        return share


class RayLauncher:
    """Run tasks of the Ray cluster that `RAY_ADDRESS` names, else of one started here.

    Run folders must be on a file system that all machines of the cluster share.
    """

    def __init__(self, jobs: int) -> None:
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise ConfigError("the launcher ray needs Ray: pip install 'iter-lightning[cluster]'") from error
        self.slots = jobs
        self._ray = ray
        if not ray.is_initialized():
            # "local", because None would join a cluster that another user started on this machine
            ray.init(address=os.environ.get("RAY_ADDRESS") or "local", log_to_driver=False, include_dashboard=False,
                     logging_level="ERROR")  # fmt: skip
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpu = {"num_gpus": 1} if any(node.get("GPU") for node in nodes) else {}
        cores = [int(node.get("CPU", 0)) for node in nodes]
        cpus = 1 if gpu else max(1, min(sum(cores) // jobs, max(cores)))  # a task is on one machine
        self._run: Any = ray.remote(num_cpus=cpus, max_retries=0, **gpu)(_run_there)
        self._threads = cpus
        self._running: dict[Any, tuple[Task, float]] = {}

    def submit(self, task: Task) -> None:
        """Submit a task to the cluster, which starts it on a machine with free resources."""
        threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(self._threads)}
        self._running[self._run.remote(task, str(Path.cwd()), threads)] = (task, time.monotonic())

    def wait(self) -> Outcome:
        """Wait until a task ends; a task of a lost machine ends with status -9."""
        (done,), _ = self._ray.wait(list(self._running), num_returns=1)
        task, started = self._running.pop(done)
        try:
            status = int(self._ray.get(done))
        except self._ray.exceptions.RayError:
            status = -9
        return Outcome(task, status, time.monotonic() - started)

    def stop(self) -> None:
        """Cancel all tasks; their processes end when they notice that their parent is gone."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()


def start(task: Task, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a task's process, without a terminal and in a session of its own."""
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
        return subprocess.Popen(
            task.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**environment, PARENT: str(os.getpid())}, start_new_session=True,
        )  # fmt: skip


def end(processes: Sequence[subprocess.Popen[bytes]], grace: float = _GRACE_SECONDS) -> None:
    """Send SIGTERM to processes, and SIGKILL to those that still run after `grace` seconds."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + grace
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def visible_gpus() -> list[str]:
    """List the GPUs this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(i) for i, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]


def _run_there(task: Task, folder: str, environment: Mapping[str, str]) -> int:
    """Run a task's process on a machine of the cluster, in the folder in which the launcher was started."""
    os.chdir(folder)
    process = start(task, {**os.environ, **environment, **task.environment})
    try:
        return process.wait()
    finally:
        end([process] if process.poll() is None else [])
