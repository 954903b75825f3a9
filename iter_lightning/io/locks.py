"""Lock files between processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


@contextmanager
def locked(path: Path, taken: Exception, wait: float = 0.0) -> Iterator[None]:
    """Lock a file. The operating system releases the lock when this process ends for any reason.

    A forked child never keeps the lock. A file system without locks raises `OSError`: a lock that is a file alone
    would survive a killed process.

    Args:
        path: The lock file. It is created if it is missing, and stays when the lock is released.
        taken: Exception to raise if another process has locked the file.
        wait: Seconds to wait for the lock.
    """
    lock = filelock.FileLock(path, timeout=wait, poll_interval=0.1, fallback_to_soft=False)
    try:
        held = lock.acquire()
    except filelock.Timeout:
        raise taken from None
    with held:
        yield
