"""Data modules by name: one per corpus of the catalog, one for the generated corpus, and one for custom corpora.

The class of a corpus follows from its description (see `docs/add-a-corpus.md`): `--data CoNLL04` and
`from iter_lightning.training.datamodules import CoNLL04` find it by `Corpus.class_name`. Only corpora with options of
their own have a class below.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from iter_lightning.corpora import CATALOG, SCIERC_DOCUMENTS, Corpus, load_custom
from iter_lightning.corpora.catalog import CONLL03, CONLL03_SENTENCES, SCIERC
from iter_lightning.corpora.checks import is_flat, omega_needed
from iter_lightning.corpora.corpus import Splits
from iter_lightning.corpora.labeled import read_labels
from iter_lightning.corpora.synthetic import SCHEMA as SYNTHETIC_SCHEMA
from iter_lightning.corpora.synthetic import SyntheticConfig, synthetic_splits
from iter_lightning.errors import ConfigError
from iter_lightning.model.config import check_language
from iter_lightning.training.data import CorpusDataModule
from iter_lightning.types import Schema

Level = Literal["document", "sentence"]


class FoldDataModule(CorpusDataModule):
    """One fold of a corpus for cross-validation.

    Args:
        fold: number of the fold, from 0.
        options: see `CorpusDataModule`.

    Raises:
        ConfigError: `fold` is outside its range.
    """

    def __init__(self, fold: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self._described.check_fold(fold)
        self.fold = fold

    def title(self) -> str:
        """Return the title with the fold."""
        return f"{super().title()} fold {self.fold}"


class SciERC(CorpusDataModule):
    """Abstracts of AI papers, 6 entity and 7 relation types, two of them symmetric.

    Args:
        coreference: read whole abstracts instead of sentences, and add an eighth type, the symmetric `Coreference`
            between all mentions of a cluster. Needs files in DyGIE's layout. It is scored like any relation type, pair
            by pair, not by measures of coreference resolution.
        options: see `CorpusDataModule`.

    Raises:
        ConfigError: `coreference` is combined with `mention_swap`, which would replace mentions of a cluster.
    """

    corpus = SCIERC

    def __init__(self, coreference: bool = False, **options: Any) -> None:
        super().__init__(**options)
        if coreference and self.mention_swap:
            raise ConfigError(f"mention_swap {self.mention_swap} would replace coreferent mentions; set it to 0")
        self.corpus = SCIERC_DOCUMENTS if coreference else SCIERC


class CoNLL03(CorpusDataModule):
    """News, 4 entity types, documents or sentences (licensed; `prepare conll03` explains how to get it).

    Args:
        level: `document`, as in the paper, or `sentence`.
        options: see `CorpusDataModule`.

    Raises:
        ConfigError: `level` has another value.
    """

    corpus = CONLL03

    def __init__(self, level: Level = "document", **options: Any) -> None:
        super().__init__(**options)
        if level not in get_args(Level):
            raise ConfigError(f"level: expected one of {', '.join(get_args(Level))}, found {level!r}")
        self.corpus = CONLL03 if level == "document" else CONLL03_SENTENCES


class Custom(CorpusDataModule):
    """Your own corpus in SpERT's JSON, without writing code.

    Args:
        train: file of the training split.
        dev: file of the dev split; null uses a share of train.
        test: file of the test split; null disables testing.
        types: SpERT's types file, or JSON with entity_types, relation_types and symmetric; null infers the schema.
        symmetric: symmetric relation types, if the schema is inferred.
        nesting: omega; null uses the smallest that represents the training split.
        language: spaCy code of the language (`de`; `xx` for several), whose rules split raw text into words; null is
            English.
        options: see `CorpusDataModule`.

    Raises:
        ConfigError: `language` is not a code.
    """

    def __init__(
        self, train: str, dev: str | None = None, test: str | None = None, types: str | None = None,
        symmetric: list[str] | None = None, nesting: int | None = None, language: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self._language = check_language(language)
        self.train_path = train
        self.paths = {"train": train, "dev": dev, "test": test}
        self.types, self.symmetric, self.nesting = types, tuple(symmetric or ()), nesting

    @cached_property
    def _loaded(self) -> tuple[Schema, Splits]:
        return load_custom(self.train_path, self.paths["dev"], self.paths["test"], self.types, self.symmetric)

    @property
    def schema(self) -> Schema:
        """Return the given or inferred schema; reads the files."""
        return self._loaded[0]

    @property
    def omega(self) -> int:
        """Return the given omega, or the smallest that represents train; reads the files."""
        return self.nesting or max([omega_needed(example) for example in self._loaded[1]["train"]] + [1])

    @property
    def flat(self) -> bool:
        """Return whether no entities of train overlap; reads the files."""
        return is_flat(self._loaded[1]["train"])

    @property
    def language(self) -> str | None:
        """Return the given language, or None."""
        return self._language

    @property
    def label_texts(self) -> dict[str, str]:
        """Return the names of the types in plain words: from the types file, else their own words."""
        labels = read_labels(self.schema, None if self.types is None else Path(self.types))
        return {key: label.name for key, label in labels.items()}

    def title(self) -> str:
        """Return the name of the training file."""
        return Path(self.train_path).stem

    def files(self) -> list[Path]:
        """Return the given files."""
        return [Path(path) for path in (*self.paths.values(), self.types) if path is not None]

    def load(self) -> Splits:
        """Load the given splits."""
        return self._loaded[1]


class Synthetic(CorpusDataModule):
    """A generated corpus of nested entities, which needs no files.

    Args:
        sentences: number of training sentences; dev and test each have a quarter of it.
        depth: depth of nesting, 1 to 4.
        corpus_seed: seed of the generator.
        options: see `CorpusDataModule`.
    """

    def __init__(self, sentences: int = 1200, depth: int = 3, corpus_seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.config = SyntheticConfig(sentences=sentences, depth=depth, seed=corpus_seed)

    @property
    def schema(self) -> Schema:
        """Return the generator's schema."""
        return SYNTHETIC_SCHEMA

    @cached_property
    def omega(self) -> int:
        """Return the smallest omega that represents the generated sentences."""
        return max(omega_needed(example) for split in self.splits().values() for example in split)

    @property
    def flat(self) -> bool:
        """Return whether no generated entities overlap."""
        return all(is_flat(split) for split in self.splits().values())

    def title(self) -> str:
        """Return the title."""
        return "Synthetic"

    def files(self) -> list[Path]:
        """Return no files; the manifest contains the digest of the splits."""
        return []

    def load(self) -> Splits:
        """Generate the splits, identically on every machine."""
        return synthetic_splits(self.config)


def data_modules() -> Mapping[str, type[CorpusDataModule]]:
    """Return all data modules by name, and make those of corpora that were registered since the last call.

    Returns:
        a map from the name for `--data` to the class.

    Example:
        >>> data_modules()["GENIA"]().omega
        4
    """
    names = [corpus.class_name for corpus in CATALOG.values()]
    for name, corpus in zip(names, CATALOG.values(), strict=True):
        if name not in globals():
            globals()[name] = _module_of(corpus)
    bases = (CorpusDataModule, FoldDataModule)
    others = [name for name, value in globals().items() if isinstance(value, type) and issubclass(value, bases)]
    return {name: globals()[name] for name in [*names, *others] if globals()[name] not in bases}


def _module_of(corpus: Corpus) -> type[CorpusDataModule]:
    """Make the data module of a corpus, whose options are those of all corpora and, if it has folds, `fold`."""
    base = FoldDataModule if corpus.folds else CorpusDataModule
    doc = f"{corpus.summary or corpus.title}\n{(base.__doc__ or '').partition(chr(10))[2]}"
    return type(corpus.class_name, (base,), {"__doc__": doc, "__module__": __name__, "corpus": corpus})


def __getattr__(name: str) -> Any:
    """Return the data module of a corpus by its class name."""
    if not name.startswith("_") and name in (found := data_modules()):
        return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


data_modules()  # jsonargparse lists the classes that exist
