"""Files that appear whole or not at all, files that are held by one process, and files that are safe to read."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iter_lightning.errors import IterError

_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip


def regular_file(path: str | Path) -> Path:
    """Return the path if it is a regular file, or a link to one: reading it neither blocks nor runs forever.

    Raises:
        IterError: a folder, FIFO, socket or device.
        OSError: there is no such file.
    """
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode):
        raise IterError(f"{path} is {kind_of_file(mode)}, expected a regular file")
    return Path(path)


def kind_of_file(mode: int) -> str:
    """What a file is that is not a regular one, by its `st_mode`."""
    return next((name for test, name in _KINDS if test(mode)), "not a file")


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is there whole or as before, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, taken: Exception, wait: float = 0.0) -> Iterator[None]:
    """Hold a lock file; the system lets go of it when the process ends, however it ends.

    Args:
        path: made where it is missing; its folder must be there.
        taken: raised where another process holds it.
        wait: seconds until then.
    """
    deadline = time.monotonic() + wait
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise taken from None
                time.sleep(0.1)
        yield
