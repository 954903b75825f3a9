"""`python -m iter_lightning.worker fit,test ARGUMENTS`: verbs one after another in one process, for launchers.

The process ends when the one that started it has gone, so that nothing trains on unseen after a kill -9.
"""

from __future__ import annotations

import os
import sys

from iter_lightning.cli import main
from iter_lightning.processes import end_with
from iter_lightning.studies.runs.launch import PARENT


def run(verbs: str, arguments: list[str]) -> int:
    """Run verbs until one ends with a status other than 0, also of a stopped one (130, 143); returns that status."""
    return next((status for verb in verbs.split(",") if (status := main([verb, *arguments]))), 0)


if __name__ == "__main__":
    end_with(int(os.environ[PARENT]))
    os.environ[PARENT] = str(os.getpid())  # the parent of other ranks, which Lightning starts as this module again
    sys.exit(run(sys.argv[1], sys.argv[2:]))
