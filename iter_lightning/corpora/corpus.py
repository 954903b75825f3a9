"""Describe a corpus: its files and how they are read, its counts, schema, nesting, license and citation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from iter_lightning.errors import ConfigError, CorpusError
from iter_lightning.types import Example, Schema

Splits = dict[str, list[Example]]
"""Map from split (`train`, `dev`, `test`) to its examples."""
Reader = Callable[[Path], list[Example]]
"""Read the examples of a file. All faults are reported at once, as a `CorpusError`."""
SplitProtocol = Literal["clean", "paper"]
"""`clean` never uses test for selection; `paper` is what the published numbers used."""
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class CorpusFile:
    """Describe one file as its owners distribute it.

    Example:
        >>> CorpusFile("conll04_dev.json", "dev").split
        'dev'
    """

    name: str
    """File name in the folder of the corpus."""
    split: str = ""
    """`train`, `dev`, or `test`; another name for a file that only `prepare` counts; empty for archives."""
    url: str | None = None
    sha256: str | None = None
    fold: int | None = None
    """The fold that the file belongs to, of a corpus for cross-validation."""


@dataclass(frozen=True)
class Counts:
    """Hold the expected counts of a split. None means not measured.

    Example:
        >>> Counts(231).relations is None
        True
    """

    sentences: int
    entities: int | None = None
    relations: int | None = None


@dataclass(frozen=True)
class Layout:
    """Describe a form in which the files of a corpus may be in its folder.

    Example:
        >>> from iter_lightning.corpora.dygie import read_dygie
        >>> Layout({"train": "train.json", "test": "test.json"}, read_dygie).files["test"]
        'test.json'
    """

    files: Mapping[str, str]
    """Split -> name of its file."""
    read: Reader
    parts: Mapping[str, slice] = field(default_factory=dict)
    """Split -> its part of the file, for files that contain several splits."""


def same_splits(splits: Splits, protocol: SplitProtocol) -> Splits:
    """Return the splits unchanged: the corpus has no rule of its own."""
    return splits


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Describe one corpus.

    Raises:
        ConfigError: If the name is not an identifier in lowercase letters.

    Example:
        >>> from iter_lightning.corpora import CATALOG
        >>> corpus = CATALOG["conll04"]
        >>> corpus.title, corpus.omega, corpus.flat
        ('CoNLL04', 1, True)
    """

    name: str
    """Key in the catalog, and name of the folder of the corpus."""
    title: str
    summary: str = ""
    """What is in it, for the help page."""
    schema: Schema
    omega: int
    """Value of the paper's Table 1."""
    files: tuple[CorpusFile, ...]
    read: Reader
    """Reader of `files`."""
    layouts: tuple[Layout, ...] = ()
    """Other forms of the files, in the order in which they are looked for."""
    folders: tuple[str, ...] = ()
    """Folders that may contain the files; by default the one named like the corpus."""
    folds: int = 0
    """Number of folds of a corpus for cross-validation."""
    convert: Callable[[Path], None] | None = None
    """Function that writes one of `layouts` from `files` into a folder, for `prepare`."""
    protocol: Callable[[Splits, SplitProtocol], Splits] = same_splits
    """Rule of this corpus for its splits, before a missing dev split is made."""
    counts: Mapping[str, Counts] = field(default_factory=dict)
    """Expected counts of each split, or of each split and fold (`train0`)."""
    license: str = "not stated"
    citation: str = "not stated"
    obtain: str | None = None
    """Instructions to obtain the files, for corpora that may not be downloaded."""
    unit: Literal["sentences", "documents"] = "sentences"
    """Kind of the examples."""
    language: str = "en"
    """The spaCy code of the language of the texts."""
    flat: bool = True
    """Whether entities never overlap."""
    overlapping: str = "0"
    """Share of overlapping entities as Table 1 prints it."""

    def __post_init__(self) -> None:
        """Check the name, which becomes the name of a folder and of a class."""
        if not re.fullmatch("[a-z][a-z0-9_]*", self.name):
            raise ConfigError(f"corpus {self.name!r}: expected a name in lowercase letters, digits and _")

    @property
    def class_name(self) -> str:
        """Name of the data module: the title if it differs from the name only in its capitals, else the name."""
        return self.title if self.title.lower() == self.name else self.name.capitalize()

    def check_fold(self, fold: int) -> None:
        """Raise `ConfigError` if the corpus has folds, but not this one."""
        if self.folds and not 0 <= fold < self.folds:
            raise ConfigError(f"{self.title} has the folds 0 to {self.folds - 1}, found {fold}")

    def paths(self, data_dir: str | Path, fold: int = 0) -> list[Path]:
        """List the files that `load` reads.

        Args:
            data_dir: Data folder, which contains the folder of the corpus.
            fold: Fold of a corpus that has folds.

        Returns:
            Paths of existing files.

        Raises:
            ConfigError: If the corpus has folds, but not this one.
            CorpusError: If files are missing, with instructions to obtain them.
        """
        return list(dict.fromkeys(self._find(data_dir, fold)[1].values()))

    def load(self, data_dir: str | Path, fold: int = 0) -> Splits:
        """Load the official splits.

        Args:
            data_dir: Data folder, which contains the folder of the corpus.
            fold: Fold of a corpus that has folds.

        Returns:
            The examples of `train`, `test`, and, if the corpus has one, `dev`.

        Raises:
            ConfigError: If the corpus has folds, but not this one.
            CorpusError: If files are missing (with instructions to obtain them), or if one has faults. The message
                lists all faults of the first such file.
        """
        layout, paths = self._find(data_dir, fold)
        examples = {path: layout.read(path) for path in dict.fromkeys(paths.values())}
        splits = {split: examples[path][layout.parts.get(split, slice(None))] for split, path in paths.items()}
        faults = [fault for split, found in splits.items() for fault in type_faults(found, self.schema, split)]
        if faults:
            raise CorpusError([f"{self.title}: {fault}" for fault in faults])
        return splits

    def _find(self, data_dir: str | Path, fold: int) -> tuple[Layout, dict[str, Path]]:
        """Return the first layout whose files are all in a folder of the corpus, and their paths by split."""
        self.check_fold(fold)
        own = {f.split: f.name for f in self.files if f.split in SPLITS and f.fold in (None, fold)}
        layouts = [*([Layout(own, self.read)] if own else []), *self.layouts]
        folders = [Path(data_dir) / name for name in self.folders or (self.name,)]
        for folder in folders:
            for layout in layouts:
                paths = {split: folder / name for split, name in layout.files.items()}
                if all(path.is_file() for path in paths.values()):
                    return layout, paths
        names = [name for name in layouts[0].files.values() if not (folders[0] / name).is_file()]
        raise CorpusError(
            [f"{self.title} is not in {' or '.join(map(str, folders))}: {' and '.join(names)} missing. "
             + (self.obtain or f"Get it with: python -m iter_lightning prepare {self.name}")]
        )  # fmt: skip


def type_faults(examples: Sequence[Example], schema: Schema, where: str = "") -> Iterable[str]:
    """Yield one line for each example with a type that is not in the schema."""
    known = {"entity": set(schema.entity_types), "relation": set(schema.relation_types)}
    for number, example in enumerate(examples):
        found = {"entity": [e.type for e in example.entities], "relation": [r.type for r in example.relations]}
        for what, kinds in found.items():
            if unknown := sorted(set(kinds) - known[what]):
                expected = ", ".join(sorted(known[what])) or "none"
                place = f"{where}{': ' if where else ''}record {number}"
                yield f"{place}: unknown {what} type {', '.join(map(repr, unknown))}, expected one of {expected}"
