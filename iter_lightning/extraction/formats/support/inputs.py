"""Find the files that the inputs of an extraction name."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.formats.support.base import ReadOptions, Source
from iter_lightning.extraction.formats.support.registry import formats, suffixes
from iter_lightning.io.streams import kind_of_file

STANDARD_INPUT = "-"
STREAM_FORMAT = "lines"
"""The format of standard input."""
_FAULTS = 20
"""Faults shown at most."""


def find_sources(inputs: Sequence[str], options: ReadOptions) -> tuple[tuple[Source, ...], list[str]]:
    """Find the sources of all inputs, in order.

    Files come in the order of the inputs, those of a folder sorted by their path in it. A file in a folder is named by
    that path; if two files have the same name, the folder is put before it.

    Returns:
        The sources, and notes for the user on files that are left out.

    Raises:
        ConfigError: every input that is missing, unreadable or of unknown format; gold in formats without any.
    """
    readable = {name: format for name, format in formats().items() if format.read}
    if options.format is not None and options.format not in readable:
        raise ConfigError(f"format {options.format!r} cannot be read; expected one of {', '.join(readable)}")
    if isinstance(inputs, str):
        raise ConfigError(f"inputs: expected a list of files, folders or '-', found {inputs!r}")
    finder = _Finder(options)
    for given in inputs:
        finder.add(os.fspath(given))
    if not inputs:
        finder.faults.append("no input: expected files, folders or '-' for standard input")
    used = {source.format for source, _ in finder.found}
    without_gold = ", ".join(sorted(name for name in used if not readable[name].reads_gold))
    if options.gold and without_gold:
        if any(readable[name].reads_gold for name in used):
            finder.notes.append(f"gold: {without_gold} cannot hold gold and is read without it")
        else:
            holding = ", ".join(name for name, format in readable.items() if format.reads_gold)
            finder.faults.append(f"gold: {without_gold} cannot hold gold; {holding} can")
    raise_faults(finder.faults)
    return finder.sources(), finder.notes


def raise_faults(faults: Sequence[str]) -> None:
    """Raise one `ConfigError` for all faults, if there are any."""
    if faults:
        more = [f"... and {len(faults) - _FAULTS} more"] if len(faults) > _FAULTS else []
        raise ConfigError("\n".join([*faults[:_FAULTS], *more]))


class _Finder:
    """Collects the sources of inputs, and all faults."""

    def __init__(self, options: ReadOptions) -> None:
        self.found: list[tuple[Source, str]] = []
        """Sources, each with the folder in which it was found; empty for one that was given itself."""
        self.faults: list[str] = []
        self.notes: list[str] = []
        self._format = options.format
        self._formats = formats()
        self._by_suffix = suffixes(write=False)
        self._seen: set[str] = set()

    def add(self, given: str) -> None:
        """Add an input and all files in it."""
        if given == STANDARD_INPUT:
            self._add_standard_input()
            return
        try:
            mode = os.stat(given).st_mode if given else 0  # noqa: PTH116 (names of any bytes)
        except (OSError, ValueError) as error:
            self.faults.append(f"{_name(given)}: {_reason(error)}")
            return
        if not given:
            self.faults.append("an input without a name: expected files, folders or '-' for standard input")
        elif stat.S_ISDIR(mode):
            self._add_folder(given)
        elif not stat.S_ISREG(mode):
            self.faults.append(
                f"{_name(given)} is {kind_of_file(mode)}, expected a file or a folder ('-' reads standard input)"
            )
        elif (kind := self._format or self._by_suffix.get(_suffix(given))) is None:
            suffix = f"the suffix {_suffix(given)!r}" if _suffix(given) else "no suffix"
            names = ", ".join(name for name, format in self._formats.items() if format.read)
            self.faults.append(
                f"{_name(given)}: {suffix}, expected {', '.join(self._by_suffix)}, or a format ({names})"
            )
        elif not self._add_file(given, given, "", kind):
            self.notes.append(f"{_name(given)}: given more than once, read once")

    def sources(self) -> tuple[Source, ...]:
        """Return all sources, with unique names."""
        names = Counter(source.name for source, _ in self.found)
        return tuple(
            replace(source, name=_name(source.path or "")) if folder and names[source.name] > 1 else source
            for source, folder in self.found
        )

    def _add_folder(self, folder: str) -> None:
        asked = self._formats.get(self._format or "")
        wanted = (*asked.suffixes, *asked.other_suffixes) if asked else tuple(self._by_suffix)
        left_out: Counter[str] = Counter()
        count = twice = 0
        for relative in sorted(self._walk(folder), key=lambda name: Path(name).parts):
            suffix = _suffix(relative)
            kind = self._format or self._by_suffix.get(suffix, "")
            if suffix not in wanted or (relative.lower().endswith(".gz") and not self._formats[kind].gzip):
                left_out[suffix or "no suffix"] += 1
                continue
            count += 1
            twice += not self._add_file(os.path.join(folder, relative), relative, folder, kind)  # noqa: PTH118
        others = ", ".join(f"{suffix} {number}" for suffix, number in left_out.most_common(10))
        if left_out:
            self.notes.append(f"{_name(folder)}: {_files(left_out.total())} left out by suffix ({others})")
        if twice:
            self.notes.append(f"{_name(folder)}: {_files(twice)} given more than once, read once")
        if not count:
            only = f", only {others}" if others else ""
            self.faults.append(f"{_name(folder)}: no file of {', '.join(wanted)} in it{only}")

    def _walk(self, folder: str) -> Iterator[str]:
        """Yield the paths, from the folder on, of files that are not hidden."""
        linked = 0
        for parent, folders, files in os.walk(
            folder, onerror=lambda error: self.faults.append(f"{_name(str(error.filename))}: {_reason(error)}")
        ):
            folders[:] = [name for name in folders if not name.startswith(".")]
            linked += sum(os.path.islink(os.path.join(parent, name)) for name in folders)  # noqa: PTH114, PTH118
            at = os.path.relpath(parent, folder)
            for name in files:
                if not name.startswith("."):
                    yield name if at == os.curdir else os.path.join(at, name)  # noqa: PTH118
        if linked:
            self.notes.append(f"{_name(folder)}: {linked:,} linked folder{'s' * (linked != 1)} not followed")

    def _add_file(self, path: str, name: str, folder: str, kind: str) -> bool:
        """Add a file, or return False if it is among the inputs already."""
        absolute = os.path.abspath(path)  # noqa: PTH100 (a path through a link is another)
        if absolute in self._seen:
            return False
        self._seen.add(absolute)
        try:
            status = os.stat(path)  # noqa: PTH116
            readable = os.access(path, os.R_OK)
        except OSError as error:
            self.faults.append(f"{_name(path)}: {_reason(error)}")
            return True
        if path.lower().endswith(".gz") and not self._formats[kind].gzip:
            self.faults.append(f"{_name(path)}: {kind} cannot be read gzipped, unpack it")
        elif not stat.S_ISREG(status.st_mode):
            self.faults.append(f"{_name(path)} is {kind_of_file(status.st_mode)}, expected a file")
        elif not readable:
            self.faults.append(f"{_name(path)}: Permission denied")
        self.found.append((Source(_name(name), path, kind, status.st_size, status.st_mtime_ns), folder))
        return True

    def _add_standard_input(self) -> None:
        kind = self._format or STREAM_FORMAT
        if sys.stdin is None:
            self.faults.append(f"{STANDARD_INPUT}: standard input is closed")
        elif STANDARD_INPUT in self._seen:
            self.faults.append(f"{STANDARD_INPUT}: given more than once, and can be read once")
        elif not self._formats[kind].gzip:
            self.faults.append(f"{STANDARD_INPUT}: {kind} cannot be read from a stream: give a file")
        self._seen.add(STANDARD_INPUT)
        self.found.append((Source(STANDARD_INPUT, None, kind, None), ""))


def _suffix(path: str) -> str:
    """Return the suffix in lower case, without that of gzip."""
    return os.path.splitext(path.lower().removesuffix(".gz"))[1]  # noqa: PTH122


def _name(path: str) -> str:
    """Return the path in characters that UTF-8 can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    return getattr(error, "strerror", None) or str(error)


def _files(count: int) -> str:
    return f"{count:,} file{'s' * (count != 1)}"
