"""Check the machine that a command runs on: standard streams, folders, and memory limits."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path

from iter_lightning.errors import ConfigError

LEAST_ADDRESS_SPACE = 900 << 20
"""Bytes of address space that importing torch and transformers takes. With less, native code aborts the process."""
_OUT_OF_MEMORY = re.compile(
    r"(can't|cannot|unable to|failed to) (allocate|map|mmap)|out of memory|bad_alloc|can't start new thread",
    re.IGNORECASE,
)  # fmt: skip
_closed: set[str] = set()
"""The standard streams that were closed when the process started."""


def open_standard_streams() -> None:
    """Open the null device in place of closed standard streams, so that no other file takes their descriptors."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        _closed.add(name)
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if name != "stdin":  # with stdin None, `-` as an input is rejected
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def require_standard_output() -> None:
    """Raise `ConfigError` if standard output, where a command writes its results, is closed."""
    if "stdout" in _closed:
        raise ConfigError("standard output is closed, so the result cannot be written: open it, or name an output file")


def print_result(text: str) -> None:
    """Print the result of a command. A pipe that its reader has closed is not an error.

    Raises:
        ConfigError: If standard output is closed.
        OSError: If standard output cannot be written.
    """
    require_standard_output()
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _discard_standard_output()


def flush_standard_output() -> str | None:
    """Flush standard output and return an error message, if any. A closed pipe is not an error."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard_standard_output()
        return None if isinstance(error, BrokenPipeError) else f"standard output: {error.strerror}"
    return None


def _discard_standard_output() -> None:
    """Redirect standard output to the null device, because the interpreter flushes it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_machine(heavy: bool) -> None:
    """Check the requirements of all commands.

    Args:
        heavy: Whether the command imports torch.

    Raises:
        ConfigError: If the working directory or TMPDIR does not exist, or if the memory limit is too low.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigError("the working directory no longer exists: change to one that does") from error
    temporary = os.environ.get("TMPDIR")
    if temporary and not Path(temporary).is_dir():
        raise ConfigError(f"TMPDIR is {temporary!r}, which is not a folder: create it, or unset TMPDIR")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if heavy and resource.RLIM_INFINITY != limit < LEAST_ADDRESS_SPACE:
        raise ConfigError(
            f"memory is limited to {limit >> 20:,} MiB (ulimit -v), expected at least {LEAST_ADDRESS_SPACE >> 20:,} "
            "MiB: raise the limit"
        )


def machine_fault(error: BaseException) -> str | None:
    """Return a one-line message for an error caused by the machine, or None for any other error."""
    text = str(error)
    if isinstance(error, BrokenPipeError):
        return "standard output: its reader has closed the pipe"
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text) or _is_failed_import(error):
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        limited = "" if limit == resource.RLIM_INFINITY else f" (limited to {limit >> 20:,} MiB, ulimit -v)"
        return f"out of memory{limited}: give the process more, or less at once (smaller batches, a smaller model)"
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed: install it, or iter-lightning with the extra that needs it"
    if isinstance(error, ImportError):
        return f"{error.name or 'a package'} cannot be imported: {(text.strip() or 'no reason given').splitlines()[0]}"
    if type(error).__module__.startswith(
        "wandb"
    ):  # its service could not start: too little memory, or too many open files
        reason = (text.strip() or type(error).__name__).splitlines()[0]
        return f"Weights & Biases: {reason}; --wandb.mode=disabled turns it off"
    if isinstance(error, OSError):
        return f"{error.filename or 'the file system'}: {error.strerror or error}"
    return None


def _is_failed_import(error: BaseException) -> bool:
    """Return whether an import failed without an exception object, as happens when memory is exhausted."""
    return isinstance(error, SystemError) and resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
