"""A data module for each corpus of the catalogue, for the generated one, and for a user's own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

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
from iter_lightning.corpora.synthetic import SCHEMA as SYNTHETIC_SCHEMA
from iter_lightning.corpora.synthetic import SyntheticConfig, synthetic_splits
from iter_lightning.errors import ConfigError
from iter_lightning.model.config import check_language
from iter_lightning.training.data import CorpusDataModule, Splits
from iter_lightning.types import Schema


class CoNLL04(CorpusDataModule):
    """News, 4 entity and 5 relation types; `paper` trains on train + dev (1,153 sentences)."""

    corpus = "conll04"

    def protocol_splits(self, splits: Splits) -> Splits:
        """Train grows by dev under `paper`; dev then lies inside train, as published."""
        if self.split_protocol == "paper" and "dev" in splits:
            return {**splits, "train": splits["train"] + splits["dev"]}
        return super().protocol_splits(splits)


class ADE(CorpusDataModule):
    """Adverse drug effects, one of ten folds; `paper` selects on the fold's test part.

    Args:
        fold: 0 to 9.
    """

    corpus = "ade"

    def __init__(self, fold: int = 0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= fold <= 9:
            raise ConfigError(f"ADE has the folds 0 to 9, found {fold}")
        self.fold = fold

    def title(self) -> str:
        """With the fold."""
        return f"{super().title()} fold {self.fold}"

    def files(self) -> list[Path]:
        """The fold's two files."""
        return data_files(self.corpus, self.data_dir, fold=self.fold)

    def load(self) -> Splits:
        """The fold's train and test."""
        return load_corpus(self.corpus, self.data_dir, fold=self.fold)


class SciERC(CorpusDataModule):
    """Abstracts of AI papers, 6 entity and 7 relation types, two of them symmetric.

    Args:
        coreference: whole abstracts instead of sentences, and an eighth type, the symmetric `Coreference` between all
            mentions of a cluster; needs the files in DyGIE's layout. Scored as any relation type, pair by pair: not
            by the measures of coreference resolution.

    Raises:
        ConfigError: `coreference` with `mention_swap`, after which mentions of a cluster would name different things.
    """

    corpus = "scierc"

    def __init__(self, coreference: bool = False, **options: Any) -> None:
        super().__init__(**options)
        if coreference and self.mention_swap:
            raise ConfigError(f"mention_swap {self.mention_swap} would replace mentions that corefer: set it to 0")
        self.coreference = coreference

    @property
    def schema(self) -> Schema:
        """With the symmetric type where asked for."""
        return SCIERC_DOCUMENTS.schema if self.coreference else super().schema

    @property
    def unit(self) -> str:
        """Documents with coreference, else sentences."""
        return SCIERC_DOCUMENTS.unit if self.coreference else super().unit

    def title(self) -> str:
        """Says which form it is."""
        return SCIERC_DOCUMENTS.title if self.coreference else super().title()

    def files(self) -> list[Path]:
        """The files of the form that is read."""
        return list(coreference_files(self.data_dir).values()) if self.coreference else super().files()

    def load(self) -> Splits:
        """Sentences, or documents with coreference."""
        return load_coreference(self.data_dir) if self.coreference else super().load()


class GENIA(CorpusDataModule):
    """MEDLINE abstracts with nested entities; `clean` selects on the usual last tenth of train, `paper` on test."""

    corpus = "genia"

    def protocol_splits(self, splits: Splits) -> Splits:
        """The usual dev split, or the published selection on test."""
        if self.split_protocol == "paper" or "dev" in splits:
            return super().protocol_splits(splits)
        train = splits["train"]
        return {**splits, "train": train[:TRAIN], "dev": train[TRAIN:]}


class CoNLL03(CorpusDataModule):
    """News, 4 entity types, whole documents or sentences (licensed: `prepare conll03` tells how to get it).

    Args:
        level: `document`, as the paper, or `sentence`.
    """

    corpus = "conll03"

    def __init__(self, level: str = "document", **options: Any) -> None:
        super().__init__(**options)
        if level not in ("document", "sentence"):
            raise ConfigError(f"level {level!r} is neither document nor sentence")
        self.level = level

    @property
    def unit(self) -> str:
        """Documents or sentences."""
        return f"{self.level}s"

    def load(self) -> Splits:
        """Documents or sentences."""
        return load_corpus(self.corpus, self.data_dir, level=self.level)


class ACE05(CorpusDataModule):
    """News and conversation, 7 entity and 6 relation types (licensed: `prepare ace05` tells how to get it).

    `paper` leaves out sentences with entities but no relation, in test too.
    """

    corpus = "ace05"

    def protocol_splits(self, splits: Splits) -> Splits:
        """All sentences, or those the published numbers used."""
        if self.split_protocol == "paper":
            splits = {k: [e for e in split if e.relations or not e.entities] for k, split in splits.items()}
        return super().protocol_splits(splits)


class NYT(CorpusDataModule):
    """New York Times, 24 relation types labelled by distant supervision."""

    corpus = "nyt"


class Custom(CorpusDataModule):
    """Your own corpus in SpERT JSON: needs no code.

    Args:
        train, dev, test: the files; without `dev` a share of train becomes it, without `test` nothing can be tested.
        types: SpERT's types file, or JSON with entity_types, relation_types, symmetric; None infers the schema.
        symmetric: symmetric relation types, where the schema is inferred.
        nesting: omega; None takes what the training split needs.
        language: spaCy's code for the language of the texts (`de`; `xx` for several), by which the trained model splits
            raw text into words; None leaves it at English.
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
        """Given or inferred; reads the files."""
        return self._loaded[0]

    @property
    def omega(self) -> int:
        """Given, or what train needs; reads the files."""
        return self.nesting or max([omega_needed(example) for example in self._loaded[1]["train"]] + [1])

    @property
    def flat(self) -> bool:
        """Whether no entities of train overlap; reads the files."""
        return is_flat(self._loaded[1]["train"])

    @property
    def language(self) -> str | None:
        """Given, or not known."""
        return self._language

    def title(self) -> str:
        """The training file's name."""
        return Path(self.train_path).stem

    def files(self) -> list[Path]:
        """The files given."""
        return [Path(path) for path in (*self.paths.values(), self.types) if path is not None]

    def load(self) -> Splits:
        """The splits given."""
        return self._loaded[1]


class Synthetic(CorpusDataModule):
    """The generated corpus of nested entities that comes with the package.

    Args:
        sentences: of train; dev and test get a quarter each.
        depth: of nesting, 1 to 4.
        corpus_seed: of the generator.
    """

    def __init__(self, sentences: int = 1200, depth: int = 3, corpus_seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.config = SyntheticConfig(sentences=sentences, depth=depth, seed=corpus_seed)

    @property
    def schema(self) -> Schema:
        """The generator's types."""
        return SYNTHETIC_SCHEMA

    @cached_property
    def omega(self) -> int:
        """What the generated sentences need."""
        return max(omega_needed(example) for split in self.splits().values() for example in split)

    @property
    def flat(self) -> bool:
        """Whether no generated entities overlap."""
        return all(is_flat(split) for split in self.splits().values())

    def title(self) -> str:
        """Synthetic."""
        return "Synthetic"

    def files(self) -> list[Path]:
        """None: the manifest's digest of the splits stands for them."""
        return []

    def load(self) -> Splits:
        """Generated, the same everywhere."""
        return synthetic_splits(self.config)
