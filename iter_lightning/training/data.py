"""The base class of all data modules; `datamodules` has one for each corpus.

`setup` reads the corpus and makes the three splits. `connect` gives it the model's alignment and padding.
`split_protocol` decides what is trained on and which split selects the model:

* `clean`: the test split is never used for selection. If a corpus has no dev split, a share of train becomes dev.
* `paper`: what the published numbers used, for comparison only: train + dev for the final training of some corpora,
  selection on the test split for ADE and GENIA, some sentences left out. Not implemented: clipping CoNLL03's documents
  at 800 tokens, and ACE05's limits on context and its truecasing.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import lightning
import torch
from torch.utils.data import DataLoader, Dataset

from iter_lightning.corpora import Corpus, data_folder
from iter_lightning.corpora.checks import has_self_links
from iter_lightning.corpora.corpus import SplitProtocol, Splits
from iter_lightning.corpora.labeled import read_labels, types_file
from iter_lightning.errors import ConfigError, CorpusError
from iter_lightning.features import Aligner, Batch, EncodedExample, LengthBatchSampler, swap_mentions
from iter_lightning.processes import end_with
from iter_lightning.types import Example, Schema

Windows = list[tuple[EncodedExample, int]]


class CorpusDataModule(lightning.LightningDataModule):
    """Splits, encoding, and batches of a corpus.

    Args:
        data_dir: folder that `prepare` wrote to; null is the environment variable ITER_DATA, or `data` if it is unset.
        batch_size: maximum number of training windows per batch; null: only `max_tokens` limits a batch.
        eval_batch_size: number of examples per batch in evaluation.
        max_tokens: maximum number of subwords per training batch, padding included; null: no limit.
        bucket_batches: number of batches per bucket: training windows are shuffled into buckets and sorted by length
            inside them, which reduces padding. 1 draws each batch at random.
        mention_swap: probability that a training mention is replaced by another one of the same type, drawn again in
            each epoch.
        split_protocol: `clean` never uses the test split for selection; `paper` reproduces the published splits.
        dev_fraction: share of train that becomes dev if a corpus has no dev split.
        split_seed: seed of that choice. It differs from the training seed, so that all seeds select on the same
            sentences.
        num_workers: number of processes that load data.

    Raises:
        ConfigError: a value is outside its range.

    Example:
        >>> from iter_lightning.training.datamodules import CoNLL04
        >>> CoNLL04(batch_size=16).schema.entity_types
        ('Loc', 'Org', 'Other', 'Peop')
    """

    corpus: Corpus | None = None
    """Description of the corpus; a data module without one overrides what is read from it."""
    fold: int = 0
    """Fold of a corpus for cross-validation."""

    def __init__(
        self,
        data_dir: str | None = None,
        batch_size: int | None = 8,
        eval_batch_size: int = 32,
        max_tokens: int | None = None,
        bucket_batches: int = 1,
        mention_swap: float = 0.0,
        split_protocol: SplitProtocol = "clean",
        dev_fraction: float = 0.1,
        split_seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if split_protocol not in get_args(SplitProtocol):
            expected = ", ".join(get_args(SplitProtocol))
            raise ConfigError(f"split_protocol: expected one of {expected}, found {split_protocol!r}")
        if (batch_size is not None and batch_size < 1) or eval_batch_size < 1:
            raise ConfigError(f"batch sizes must be at least 1, found {batch_size} and {eval_batch_size}")
        if max_tokens is not None and max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, found {max_tokens}")
        if batch_size is None and max_tokens is None:
            raise ConfigError("a batch has no limit: set batch_size or max_tokens")
        if bucket_batches < 1:
            raise ConfigError(f"bucket_batches must be at least 1, found {bucket_batches}")
        if num_workers < 0:
            raise ConfigError(f"num_workers must be at least 0, found {num_workers}")
        if not 0 <= mention_swap <= 1:
            raise ConfigError(f"mention_swap must lie between 0 and 1, found {mention_swap}")
        if not 0 < dev_fraction < 1:
            raise ConfigError(f"dev_fraction must lie between 0 and 1, found {dev_fraction}")
        self.data_dir = data_folder(data_dir)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.max_tokens = max_tokens
        self.bucket_batches = bucket_batches
        self.mention_swap = mention_swap
        self.split_protocol = split_protocol
        self.dev_fraction = dev_fraction
        self.split_seed = split_seed
        self.num_workers = num_workers
        self._splits: Splits | None = None
        self._aligner: Aligner | None = None
        self._collate: Callable[[Windows], Batch] | None = None
        self._encoded: dict[str, list[EncodedExample]] = {}
        self._resumed_epoch = 0

    @property
    def _described(self) -> Corpus:
        if self.corpus is None:
            raise NotImplementedError(f"{type(self).__name__} has no `corpus` and does not override what it is asked")
        return self.corpus

    @property
    def schema(self) -> Schema:
        """The corpus's types."""
        return self._described.schema

    @property
    def omega(self) -> int:
        """The corpus's nesting (Table 1)."""
        return self._described.omega

    @property
    def flat(self) -> bool:
        """Whether its entities never overlap (Table 1)."""
        return self._described.flat

    @property
    def self_links(self) -> bool:
        """Whether relations of the training split link an entity to itself; reads the files.

        False if the corpus cannot be read: nothing can be trained then, and `setup` reports the reason.
        """
        if not self.schema.relation_types:
            return False
        try:
            return has_self_links(self.splits()["train"])
        except CorpusError:
            return False

    @property
    def language(self) -> str | None:
        """The spaCy code of the language of the texts, or None if unknown."""
        return self.corpus.language if self.corpus else "en"

    @property
    def label_texts(self) -> dict[str, str]:
        """The names of the types in plain words, which an open model reads: from the types file, if there is one."""
        files = self.files()
        labels = read_labels(self.schema, types_file(files[0].parent) if files else None)
        return {key: label.name for key, label in labels.items()}

    def title(self) -> str:
        """Return the name of the data in reports."""
        return self._described.title

    @property
    def unit(self) -> str:
        """What an example is, in the plural: sentences or documents."""
        return self.corpus.unit if self.corpus else "sentences"

    def files(self) -> list[Path]:
        """Return the files that are read, for the manifest."""
        return self._described.paths(self.data_dir, self.fold)

    def load(self) -> Splits:
        """Read the splits of the corpus."""
        return self._described.load(self.data_dir, self.fold)

    def protocol_splits(self, splits: Splits) -> Splits:
        """Turn the splits of the corpus into train, dev and test under `split_protocol`."""
        if self.corpus is not None:
            splits = self.corpus.protocol(splits, self.split_protocol)
        if "dev" in splits:
            return splits
        if self.split_protocol == "paper":
            return {**splits, "dev": splits["test"]}
        train, dev = carve(splits["train"], self.dev_fraction, self.split_seed)
        return {**splits, "train": train, "dev": dev}

    def setup(self, stage: str | None = None) -> None:
        """Read the corpus once."""
        self.splits()
        if (
            self.mention_swap or self.max_tokens
        ) and self.trainer:  # each epoch has other sentences, or another number of batches
            self.trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]

    def splits(self) -> Splits:
        """Return train, dev and test; reads the corpus at the first call."""
        if self._splits is None:
            self._splits = self.protocol_splits(self.load())
        return self._splits

    def connect(self, aligner: Aligner, collate: Callable[[Windows], Batch]) -> None:
        """Set how examples are encoded and batched; called by `IterModule` before a loader is built."""
        if self._collate == collate:  # the same model: keep what is encoded
            return
        self._aligner, self._collate, self._encoded = aligner, collate, {}

    def encoded(self, split: str) -> list[EncodedExample]:
        """Return a split encoded for the connected model; encodes it at the first call."""
        if self._aligner is None:
            raise RuntimeError("call connect(aligner, collate) first")
        if split not in self.splits():
            raise ConfigError(f"{self.title()} has no {split} split")
        if split not in self._encoded:
            self._encoded[split] = self._aligner.encode(self.splits()[split])
        return self._encoded[split]

    def check_shares(self) -> None:
        """Check that train and dev have at least one window or example per process.

        Raises:
            ConfigError: a split has fewer windows or examples than there are processes.
        """
        self._check_share("train", sum(len(encoded.windows) for encoded in self.encoded("train")))
        self._check_share("dev", len(self.encoded("dev")))

    def _check_share(self, split: str, count: int) -> None:
        processes = self.trainer.world_size if self.trainer else 1
        if count < processes:
            raise ConfigError(
                f"{count} {self.unit} of {split} cannot be shared by {processes} "
                f"process{'es' if processes > 1 else ''}: use fewer devices, or more data"
            )

    def train_dataloader(self) -> DataLoader[Windows]:
        """Return the loader of training windows, in seeded random order (see `bucket_batches`)."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        items = [[(encoded, n)] for encoded in self._encoded_for_training(seed) for n in range(len(encoded.windows))]
        lengths = [len(encoded.windows[n]) for ((encoded, n),) in items]
        return self._loader("train", items, lengths, self.batch_size, shuffle=True, seed=seed)

    def _encoded_for_training(self, seed: int) -> list[EncodedExample]:
        if not self.mention_swap:
            return self.encoded("train")
        if self._aligner is None:
            raise RuntimeError("call connect(aligner, collate) first")
        swapped = swap_mentions(self.splits()["train"], self.mention_swap, f"{seed}/{self._epoch()}")
        return self._aligner.encode(swapped)

    def _epoch(self) -> int:
        """Return the epoch that is trained next.

        Lightning builds the loader of a resumed run before it restores `trainer.current_epoch`, and loader processes
        fetch their first batches then.
        """
        return max(self._resumed_epoch, self.trainer.current_epoch) if self.trainer else 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state to store in last.ckpt: the epoch at which a resumed run starts."""
        if not self.trainer:
            return {}
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        return {"epoch": progress.processed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._resumed_epoch = int(state_dict["epoch"])

    def val_dataloader(self) -> DataLoader[Windows]:
        """Return the loader of the dev split."""
        return self._eval_loader("dev")

    def test_dataloader(self) -> DataLoader[Windows]:
        """Return the loader of the test split."""
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader[Windows]:
        """Return the loader of the test split."""
        return self._eval_loader("test")

    def _eval_loader(self, split: str) -> DataLoader[Windows]:
        items = [[(encoded, n) for n in range(len(encoded.windows))] for encoded in self.encoded(split)]
        lengths = [max(len(encoded.windows[n]) for encoded, n in item) for item in items]
        return self._loader(split, items, lengths, self.eval_batch_size, shuffle=False, seed=0)

    def _loader(
        self, split: str, items: list[Windows], lengths: Sequence[int], size: int | None, shuffle: bool, seed: int
    ) -> DataLoader[Windows]:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        self._check_share(split, len(items))
        if not shuffle and size is not None:
            size = max(1, min(size, len(items) // world_size))  # at least one batch per rank
        sampler = LengthBatchSampler(
            lengths, size, max_tokens=self.max_tokens if shuffle else None, shuffle=shuffle, seed=seed,
            bucket_batches=self.bucket_batches, rank=rank, world_size=world_size,
        )  # fmt: skip
        sampler.set_epoch(self._epoch() if shuffle else 0)
        return DataLoader(
            cast("Dataset[Windows]", items),
            batch_sampler=sampler,
            collate_fn=Flatten(self._collate),
            num_workers=self.num_workers,
            worker_init_fn=partial(end_with, os.getpid()),
            pin_memory=bool(self.trainer and self.trainer.strategy.root_device.type == "cuda"),
            persistent_workers=self.num_workers > 0,
            generator=torch.Generator().manual_seed(seed),  # by default a loader would draw from the global generator
        )


class Flatten:
    """Collates items of several windows each. A class, so that worker processes can unpickle it."""

    def __init__(self, collate: Callable[[Windows], Batch] | None) -> None:
        self.collate = collate

    def __call__(self, items: Sequence[Windows]) -> Batch:
        """Collate the windows of all items into one batch."""
        assert self.collate is not None  # encoded() raises if connect() was not called
        return self.collate([window for item in items for window in item])


def carve(examples: Sequence[Example], fraction: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Split train into (train, dev) at random by seed; both keep the order of the corpus."""
    if len(examples) < 2:
        raise ConfigError(f"no dev split can be taken from {len(examples)} training sentences; give one")
    count = min(max(1, round(len(examples) * fraction)), len(examples) - 1)
    chosen = set(random.Random(f"dev/{seed}").sample(range(len(examples)), count))
    return (
        [example for i, example in enumerate(examples) if i not in chosen],
        [example for i, example in enumerate(examples) if i in chosen],
    )
