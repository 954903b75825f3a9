"""Run several commands in one process, for launchers: `python -m iter_lightning.worker fit,test ARGUMENTS`.

The process exits when its parent dies, so that no orphaned training keeps running.
"""

from __future__ import annotations

import os
import sys

from iter_lightning.cli import main
from iter_lightning.processes import end_with
from iter_lightning.studies.runs.launch import PARENT


def run(verbs: str, arguments: list[str]) -> int:
    """Run comma-separated commands until one fails or is stopped, and return the last exit status."""
    return next((status for verb in verbs.split(",") if (status := main([verb, *arguments]))), 0)


if __name__ == "__main__":
    end_with(int(os.environ[PARENT]))
    os.environ[PARENT] = str(os.getpid())  # other ranks, which Lightning starts as this module, watch this process
    sys.exit(run(sys.argv[1], sys.argv[2:]))
