"""Commands in forked processes: what they import is loaded once, so that many can be started and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reliability.campaign import process_environment

_SERVER = r"""
import gc, io, json, os, resource, signal, sys

import torch

torch.set_num_threads(1)
import iter_lightning.training.cli  # noqa: F401
from iter_lightning.cli import main


def cut_writes(number):
    "End this process as kill -9 does in the middle of writing checkpoint `number`, however it is written."
    save, sendfile, calls = torch.save, os.sendfile, {"save": 0, "copy": 0}

    def half(value, file, *arguments, **options):
        if isinstance(file, io.BytesIO):  # Lightning's own way: to memory, to TMPDIR, then a copy to another disk
            return save(value, file, *arguments, **options)
        calls["save"] += 1
        if calls["save"] < number:
            return save(value, file, *arguments, **options)
        whole = io.BytesIO()
        save(value, whole)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    def part(target, source, offset, count):
        calls["copy"] += offset == 0
        if calls["copy"] < number:
            return sendfile(target, source, offset, count)
        sendfile(target, source, offset, 12_288)
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save, os.sendfile = half, part


def child(job):
    os.setsid()
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if job["umask"] is not None:
        os.umask(job["umask"])
    if job["largest"]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"], job["largest"]))
    if job["cut"]:
        cut_writes(job["cut"])
    status = 1
    try:
        status = main(job["arguments"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    if "wait" in job:
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1])), flush=True)
    elif (pid := os.fork()) == 0:
        child(job)
    else:
        print(json.dumps(pid), flush=True)
"""


@dataclass
class Fork:
    """A command that runs."""

    server: Forks
    pid: int
    log: Path

    @property
    def output(self) -> str:
        """What it has printed so far, standard error included."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait(self) -> int:
        """Wait until it ends; returns its status, or minus the signal that ended it."""
        return int(self.server.ask({"wait": self.pid}))

    def send(self, number: int) -> None:
        """Send a signal; it may have ended already."""
        os.kill(self.pid, number)  # not yet waited for, so that the id is still its own

    def members(self) -> list[int]:
        """The processes it has started and left behind, and itself: all of its session that still run."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:  # it has ended meanwhile
                    continue
                if int(fields[3]) == self.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return found


class Forks:
    """Starts commands by forking one process that has imported torch, Lightning and this package.

    Args:
        folder: for logs.
        tmpdir: TMPDIR of the commands.
    """

    def __init__(self, folder: Path, tmpdir: Path) -> None:
        self.folder = folder
        self._number = 0
        environment = {**process_environment(), "TMPDIR": str(tmpdir), "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def ask(self, job: dict[str, Any]) -> Any:
        """One line to the server, and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, arguments: list[str], *, cut: int = 0, largest: int = 0, umask: int | None = None) -> Fork:
        """Start a command.

        Args:
            arguments: verb and options.
            cut: number of the checkpoint in whose writing it is killed; 0: it is not.
            largest: bytes that a file may have, as on a full disk; 0: no limit.
            umask: of the command; None: this process's.
        """
        self._number += 1
        log = self.folder / f"{self._number}.log"
        job = {"arguments": arguments, "log": str(log), "cut": cut, "largest": largest, "umask": umask}
        return Fork(self, int(self.ask(job)), log)

    def run(self, arguments: list[str], **options: Any) -> tuple[int, str]:
        """Run a command to its end; returns status and output."""
        fork = self.start(arguments, **options)
        return fork.wait(), fork.output

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


STOPS = {signal.SIGINT: (130, "interrupted; "), signal.SIGTERM: (143, "terminated; ")}
"""Signal -> status and the beginning of the message of a command that it stops."""
