"""What the inputs of an extraction name: files, folders, standard input."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.readers.formats import BY_SUFFIX, FORMATS, STREAM_FORMAT
from iter_lightning.extraction.readers.items import ReadOptions, Source
from iter_lightning.files import kind_of_file

STANDARD_INPUT = "-"
_FAULTS = 20
"""Shown of those there are."""


def find_sources(inputs: Sequence[str], options: ReadOptions) -> tuple[tuple[Source, ...], list[str]]:
    """What there is to read, in order, and what should be told of it.

    Files come in the order of the inputs, those of a folder sorted by their path in it. A file in a folder is named by
    its path in that; where two would have one name, the folder is put before it.

    Raises:
        ConfigError: every input that is missing, unreadable or of no known format; gold that none of them can have.
    """
    if options.format is not None and options.format not in FORMATS:
        raise ConfigError(f"format {options.format!r} is none of {', '.join(FORMATS)}")
    if isinstance(inputs, str):
        raise ConfigError(f"inputs: expected a list of files, folders or '-', found {inputs!r}")
    finder = _Finder(options)
    for given in inputs:
        finder.add(os.fspath(given))
    if not inputs:
        finder.faults.append("no input: expected files, folders or '-' for standard input")
    without_gold = sorted({found.source.format for found in finder.found if not FORMATS[found.source.format].gold})
    if options.gold and without_gold:
        holding = [name for name, reader in FORMATS.items() if reader.gold]
        if all(not FORMATS[found.source.format].gold for found in finder.found):
            finder.faults.append(f"gold: {', '.join(without_gold)} cannot hold any; {', '.join(holding)} can")
        else:
            finder.notes.append(f"gold: {', '.join(without_gold)} cannot hold any, and are read without")
    raise_faults(finder.faults)
    return finder.sources(), finder.notes


def raise_faults(faults: Sequence[str]) -> None:
    """One `ConfigError` for all of them, if there are any."""
    if faults:
        more = [f"... and {len(faults) - _FAULTS} more"] if len(faults) > _FAULTS else []
        raise ConfigError("\n".join([*faults[:_FAULTS], *more]))


@dataclass(frozen=True, slots=True)
class _Found:
    source: Source
    folder: str
    """The input it was found in; empty for one that was given itself."""


class _Finder:
    """Goes through the inputs."""

    def __init__(self, options: ReadOptions) -> None:
        self.found: list[_Found] = []
        self.faults: list[str] = []
        self.notes: list[str] = []
        self._format = options.format
        self._seen: set[str] = set()

    def add(self, given: str) -> None:
        """One input, and all there is in it."""
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
        elif (kind := self._format or BY_SUFFIX.get(_suffix(given))) is None:
            suffix = f"the suffix {_suffix(given)!r}" if _suffix(given) else "no suffix"
            self.faults.append(
                f"{_name(given)}: {suffix}, expected {_listed(BY_SUFFIX)}, or a format ({_listed(FORMATS)})"
            )
        elif not self._add_file(given, given, "", kind):
            self.notes.append(f"{_name(given)}: given more than once, read once")

    def sources(self) -> tuple[Source, ...]:
        """All of them, no two of one name."""
        names = Counter(found.source.name for found in self.found)
        return tuple(
            replace(found.source, name=_name(found.source.path or ""))
            if found.folder and names[found.source.name] > 1
            else found.source
            for found in self.found
        )

    def _add_folder(self, folder: str) -> None:
        reader = FORMATS.get(self._format or "")
        suffixes = BY_SUFFIX if reader is None else (*reader.suffixes, *reader.also)
        left_out: Counter[str] = Counter()
        count = twice = 0
        for relative in sorted(self._walk(folder), key=lambda name: Path(name).parts):
            suffix = _suffix(relative)
            kind = self._format or BY_SUFFIX.get(suffix, "")
            if suffix not in suffixes or (FORMATS[kind].seeks and relative.lower().endswith(".gz")):
                left_out[suffix or "no suffix"] += 1
                continue
            count += 1
            twice += not self._add_file(os.path.join(folder, relative), relative, folder, kind)  # noqa: PTH118
        told = ", ".join(f"{suffix} {number}" for suffix, number in left_out.most_common(10))
        if left_out:
            self.notes.append(f"{_name(folder)}: {_files(left_out.total())} left out by suffix ({told})")
        if twice:
            self.notes.append(f"{_name(folder)}: {_files(twice)} given more than once, read once")
        if not count:
            self.faults.append(
                f"{_name(folder)}: no file of {_listed(suffixes)} in it" + (f", only {told}" * bool(told))
            )

    def _walk(self, folder: str) -> Iterator[str]:
        """Paths, from the folder on, of files that are not hidden."""
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
            self.notes.append(
                f"{_name(folder)}: {linked:,} linked {'folder' if linked == 1 else 'folders'} not followed"
            )

    def _add_file(self, path: str, name: str, folder: str, kind: str) -> bool:
        """A file; False where it is among the inputs already."""
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
        if FORMATS[kind].seeks and path.lower().endswith(".gz"):
            self.faults.append(f"{_name(path)}: {kind} cannot be read gzipped, unpack it")
        elif not stat.S_ISREG(status.st_mode):
            self.faults.append(f"{_name(path)} is {kind_of_file(status.st_mode)}, expected a file")
        elif not readable:
            self.faults.append(f"{_name(path)}: Permission denied")
        source = Source(_name(name), path, kind, status.st_size, status.st_mtime_ns)
        self.found.append(_Found(source, folder))
        return True

    def _add_standard_input(self) -> None:
        kind = self._format or STREAM_FORMAT
        if sys.stdin is None:
            self.faults.append(f"{STANDARD_INPUT}: standard input is closed")
        elif STANDARD_INPUT in self._seen:
            self.faults.append(f"{STANDARD_INPUT}: given more than once, and can be read once")
        elif FORMATS[kind].seeks:
            self.faults.append(f"{STANDARD_INPUT}: {kind} cannot be read from a stream: give a file")
        self._seen.add(STANDARD_INPUT)
        self.found.append(_Found(Source(STANDARD_INPUT, None, kind, None), ""))


def _suffix(path: str) -> str:
    """In lower case, that of gzip left away."""
    return os.path.splitext(path.lower().removesuffix(".gz"))[1]  # noqa: PTH122


def _name(path: str) -> str:
    """The path in characters that UTF-8 can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    return getattr(error, "strerror", None) or str(error)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
