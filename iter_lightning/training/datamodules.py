"""Data modules: one per corpus of the catalog, one for the generated corpus, and one for custom corpora."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from iter_lightning.corpora import (
    SCIERC_DOCUMENTS,
    coreference_files,
    data_files,
    load_coreference,
    load_corpus,
    load_custom,
)
from iter_lightning.corpora.checks import is_flat, omega_needed
from iter_lightning.corpora.genia import TRAIN
from iter_lightning.corpora.labeled import read_labels
from iter_lightning.corpora.synthetic import SCHEMA as SYNTHETIC_SCHEMA
from iter_lightning.corpora.synthetic import SyntheticConfig, synthetic_splits
from iter_lightning.errors import ConfigError
from iter_lightning.model.config import check_language
from iter_lightning.training.data import CorpusDataModule, Splits
from iter_lightning.types import Schema

Level = Literal["document", "sentence"]


class CoNLL04(CorpusDataModule):
    """News, 4 entity and 5 relation types; `paper` trains on train + dev (1,153 sentences)."""

    corpus = "conll04"

    def protocol_splits(self, splits: Splits) -> Splits:
        """Under `paper`, add dev to train, as published; dev is then part of train."""
        if self.split_protocol == "paper" and "dev" in splits:
            return {**splits, "train": splits["train"] + splits["dev"]}
        return super().protocol_splits(splits)


class ADE(CorpusDataModule):
    """Adverse drug effects, one of ten folds; `paper` selects on the fold's test part.

    Args:
        fold: 0 to 9.
        options: see `CorpusDataModule`.

    Raises:
        ConfigError: `fold` is outside its range.
    """

    corpus = "ade"

    def __init__(self, fold: int = 0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= fold <= 9:
            raise ConfigError(f"ADE has the folds 0 to 9, found {fold}")
        self.fold = fold

    def title(self) -> str:
        """Return the title with the fold."""
        return f"{super().title()} fold {self.fold}"

    def files(self) -> list[Path]:
        """Return the two files of the fold."""
        return data_files(self.corpus, self.data_dir, fold=self.fold)

    def load(self) -> Splits:
        """Load train and test of the fold."""
        return load_corpus(self.corpus, self.data_dir, fold=self.fold)


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

    corpus = "scierc"

    def __init__(self, coreference: bool = False, **options: Any) -> None:
        super().__init__(**options)
        if coreference and self.mention_swap:
            raise ConfigError(f"mention_swap {self.mention_swap} would replace coreferent mentions; set it to 0")
        self.coreference = coreference

    @property
    def schema(self) -> Schema:
        """Return the schema, with `Coreference` if enabled."""
        return SCIERC_DOCUMENTS.schema if self.coreference else super().schema

    @property
    def unit(self) -> str:
        """Return `documents` with coreference, else `sentences`."""
        return SCIERC_DOCUMENTS.unit if self.coreference else super().unit

    def title(self) -> str:
        """Return the title, which names the unit."""
        return SCIERC_DOCUMENTS.title if self.coreference else super().title()

    def files(self) -> list[Path]:
        """Return the files of the chosen unit."""
        return list(coreference_files(self.data_dir).values()) if self.coreference else super().files()

    def load(self) -> Splits:
        """Load sentences, or documents with coreference."""
        return load_coreference(self.data_dir) if self.coreference else super().load()


class GENIA(CorpusDataModule):
    """MEDLINE abstracts with nested entities; `clean` selects on the usual last tenth of train, `paper` on test."""

    corpus = "genia"

    def protocol_splits(self, splits: Splits) -> Splits:
        """Split dev off train as usual or, under `paper`, select on test."""
        if self.split_protocol == "paper" or "dev" in splits:
            return super().protocol_splits(splits)
        train = splits["train"]
        return {**splits, "train": train[:TRAIN], "dev": train[TRAIN:]}


class CoNLL03(CorpusDataModule):
    """News, 4 entity types, documents or sentences (licensed; `prepare conll03` explains how to get it).

    Args:
        level: `document`, as in the paper, or `sentence`.
        options: see `CorpusDataModule`.

    Raises:
        ConfigError: `level` has another value.
    """

    corpus = "conll03"

    def __init__(self, level: Level = "document", **options: Any) -> None:
        super().__init__(**options)
        if level not in get_args(Level):
            raise ConfigError(f"level: expected one of {', '.join(get_args(Level))}, found {level!r}")
        self.level = level

    @property
    def unit(self) -> str:
        """Return `documents` or `sentences`."""
        return f"{self.level}s"

    def load(self) -> Splits:
        """Load documents or sentences."""
        return load_corpus(self.corpus, self.data_dir, level=self.level)


class ACE05(CorpusDataModule):
    """News and conversation, 7 entity and 6 relation types (licensed; `prepare ace05` explains how to get it).

    `paper` leaves out sentences with entities but no relation, also in test.
    """

    corpus = "ace05"

    def protocol_splits(self, splits: Splits) -> Splits:
        """Return all sentences or, under `paper`, those that the published numbers used."""
        if self.split_protocol == "paper":
            splits = {k: [e for e in split if e.relations or not e.entities] for k, split in splits.items()}
        return super().protocol_splits(splits)


class NYT(CorpusDataModule):
    """New York Times, 24 relation types labeled by distant supervision."""

    corpus = "nyt"


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
