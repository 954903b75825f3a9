"""`python -m iter_lightning.worker fit,test ARGUMENTS`: verbs one after another in one process, for launchers.

The process ends when the one that started it has gone, so that nothing trains on unseen after a kill -9.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from iter_lightning.cli import main
from iter_lightning.study.launch import PARENT


def watch_parent(parent: int, seconds: float = 0.05) -> None:
    """End this process at once when it gets another parent; a run folder is whole at any time."""
    while os.getppid() == parent:
        time.sleep(seconds)
    os._exit(1)


def run(verbs: str, arguments: list[str]) -> int:
    """The first status that is not 0, or 0."""
    return next((status for verb in verbs.split(",") if (status := main([verb, *arguments]))), 0)


if __name__ == "__main__":
    threading.Thread(target=watch_parent, args=(int(os.environ[PARENT]),), daemon=True).start()
    os.environ[PARENT] = str(os.getpid())  # the parent of other ranks, which Lightning starts as this module again
    sys.exit(run(sys.argv[1], sys.argv[2:]))
