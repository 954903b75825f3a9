"""What was freed goes back to the system, also from below a buffer that is still in use."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

HOLES = """
import sys, torch
from iter_lightning.heap import return_large_buffers

if sys.argv[1] == "returned":
    return_large_buffers()


def resident_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


del (first := [torch.ones(2**20)])[:]  # glibc now keeps buffers of 4 MiB in its heap
before = resident_mb()
buffers = [torch.ones(2**20) for _ in range(32)]
del buffers[:-1]
print(resident_mb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_return_large_buffers_frees_their_memory() -> None:
    grown = {}
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "LD_PRELOAD"))}
    for mode in ("kept", "returned"):
        command = [sys.executable, "-c", HOLES, mode]
        grown[mode] = float(subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout)
    assert grown["returned"] < 16 < 100 < grown["kept"]


def test_limit_onednn_cache_before_torch_sets_only_missing_variables() -> None:
    script = """
import os, sys
from iter_lightning.extraction import cli
from iter_lightning.apps.serve import cli
from iter_lightning.heap import limit_onednn_cache
assert "torch" not in sys.modules
limit_onednn_cache()
print(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"], os.environ["LRU_CACHE_CAPACITY"])
"""
    environment = {**os.environ, "LRU_CACHE_CAPACITY": "7"}
    environment.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "16 7\n"
