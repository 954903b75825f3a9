"""A mixture of corpora with different types, to train open models: each batch comes from one corpus and asks labels."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from iter_lightning.corpora.corpus import Splits
from iter_lightning.corpora.labeled import LabeledCorpus, is_labeled, read_labeled, read_roles
from iter_lightning.errors import ConfigError, CorpusError
from iter_lightning.features import Aligner, Batch, EncodedExample
from iter_lightning.features.restriction import restrict
from iter_lightning.processes import end_with
from iter_lightning.training.data import CorpusDataModule, Windows
from iter_lightning.training.label_sampling import LabelSampler, SamplingConfig
from iter_lightning.types import Schema

DEFAULT_SCHEMA = Schema(
    ("person", "organization", "location", "date", "event", "product", "creative work", "money", "nationality",
     "disease", "drug", "gene or protein"),
    ("works for", "located in", "founded by", "subsidiary of", "place of birth", "country of citizenship", "spouse",
     "member of", "author", "director", "causes"),
    ("spouse",),
)  # fmt: skip
"""Types of an open model that is not asked for any."""


class Mixture(CorpusDataModule):
    """Folders with a types file each, for `--model.heads open`; see `corpora.labeled` for the files.

    Args:
        corpora: folders below the data folder; null is every folder with `types.json` and `train.json`.
        dev: folders whose `dev.json` is evaluated with the names of its types, zero-shot if they are not in `corpora`.
        roles: folders whose entities get types from their Wikidata relations; a folder may also be in `corpora`.
        withheld: keys of relation types to leave out of training.
        temperature: a corpus of n sentences is drawn with probability proportional to n ** temperature.
        weights: factors on the probabilities of some folders.
        steps_per_epoch: number of batches in an epoch.
        dev_sentences: number of sentences of each dev split that are evaluated.
        sampling: which labels are asked, in which words.
        nesting: omega.
        options: see `CorpusDataModule`.

    Raises:
        ConfigError: a value is outside its range, or a folder is not in `corpora`.
    """

    def __init__(
        self, corpora: list[str] | None = None, dev: list[str] | None = None, roles: list[str] | None = None,
        withheld: list[str] | None = None, temperature: float = 0.5, weights: dict[str, float] | None = None,
        steps_per_epoch: int = 500, dev_sentences: int = 150, sampling: SamplingConfig | None = None,
        nesting: int = 3, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        if steps_per_epoch < 1 or not 0 <= temperature <= 1:
            raise ConfigError(
                f"steps_per_epoch must be at least 1 and temperature in [0, 1], found {steps_per_epoch}, {temperature}"
            )
        self.corpora, self.dev, self.roles = corpora, dev or [], roles or []
        self.withheld, self.temperature, self.weights = withheld or [], temperature, weights or {}
        self.steps_per_epoch, self.dev_sentences, self.nesting = steps_per_epoch, dev_sentences, nesting
        self.sampling = sampling or SamplingConfig()
        self._encoded_corpora: list[list[EncodedExample]] = []

    @property
    def schema(self) -> Schema:
        """Return the types that the trained model has before it is asked for others."""
        return DEFAULT_SCHEMA

    @property
    def omega(self) -> int:
        """Return the given omega."""
        return self.nesting

    @property
    def flat(self) -> bool:
        """Return true: without labels of your own, only the most probable of overlapping entities is kept."""
        return True

    @property
    def self_links(self) -> bool:
        """Return false: no relation links an entity to itself."""
        return False

    def title(self) -> str:
        """Return the title."""
        return "Mixture"

    def _folders(self) -> list[str]:
        if self.corpora is not None:
            return self.corpora
        root = Path(self.data_dir)
        return sorted(str(path.relative_to(root)) for path in root.glob("**/") if is_labeled(path))

    @cached_property
    def trained(self) -> list[LabeledCorpus]:
        """Read the corpora to train on, with the names of their types."""
        folders = self._folders()
        unknown = sorted(set(self.weights) - {*folders, *self.roles})
        if unknown:
            raise ConfigError(f"weights: {', '.join(unknown)} not among corpora and roles")
        plain = [(name, read_labeled(self._folder(name), ["train"]), False) for name in folders]
        typed = [(name, read_labeled(self._folder(name), ["train"]), True) for name in self.roles]
        found = []
        for name, corpus, with_roles in plain + typed:
            kept = corpus.without_relations(self.withheld)
            found.append((name, (kept.with_roles(read_roles()) if with_roles else kept).named()))
        sizes = [len(corpus.splits.get("train", ())) for _, corpus in found]
        if not sum(sizes):
            raise CorpusError([f"{self.data_dir}: no folder with types.json and train.json has a training sentence"])
        self._probabilities = [
            self.weights.get(name, 1.0) * size**self.temperature if size else 0.0
            for (name, _), size in zip(found, sizes, strict=True)
        ]
        return [corpus for _, corpus in found]

    @cached_property
    def evaluated(self) -> list[LabeledCorpus]:
        """Read the dev splits to evaluate, with the names of their types."""
        found = [read_labeled(self._folder(name), ["dev"]).named() for name in self.dev]
        for name, corpus in zip(self.dev, found, strict=True):
            if "dev" not in corpus.splits:
                raise CorpusError([f"{self._folder(name)}: no dev.json to evaluate"])
            corpus.splits["dev"][self.dev_sentences :] = []
        return found

    def _folder(self, name: str) -> Path:
        return Path(self.data_dir) / name

    def files(self) -> list[Path]:
        """Return all JSON files of the folders."""
        folders = {self._folder(name) for name in (*self._folders(), *self.roles, *self.dev)}
        return sorted(path for folder in folders for path in folder.glob("*.json*"))

    def load(self) -> Splits:
        """Read all corpora."""
        return {
            "train": [example for corpus in self.trained for example in corpus.splits["train"]],
            "dev": [example for corpus in self.evaluated for example in corpus.splits["dev"]],
        }

    def setup(self, stage: str | None = None) -> None:
        """Read the corpora once; each epoch draws other batches."""
        self.splits()
        if self.trainer:
            self.trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]

    def connect(self, aligner: Aligner, collate: Callable[[Windows], Batch]) -> None:
        """Set how examples are encoded and batched."""
        if self._collate != collate:
            self._encoded_corpora = []
        super().connect(aligner, collate)

    def encoded(self, split: str) -> list[EncodedExample]:
        """Return a split encoded for the connected model, each corpus with its own types."""
        if self._aligner is None:
            raise RuntimeError("call connect(aligner, collate) first")
        if split not in self._encoded:
            corpora = self.trained if split == "train" else self.evaluated
            each = [self._aligner.for_schema(c.schema).encode(c.splits[split]) for c in corpora]
            self._encoded[split] = [encoded for examples in each for encoded in examples]
            if split == "train":
                self._encoded_corpora = each
        return self._encoded[split]

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of an epoch's batches."""
        self.encoded("train")
        assert self._collate is not None  # set together with the aligner
        seed, rank = os.environ.get("PL_GLOBAL_SEED", "0"), self.trainer.global_rank if self.trainer else 0
        batches = MixtureBatches(
            self._encoded_corpora, self._probabilities, LabelSampler(self.trained, self.sampling), self._collate,
            self.batch_size or 16, self.max_tokens, self.steps_per_epoch, f"{seed}/{self._epoch()}/{rank}",
        )  # fmt: skip
        return DataLoader(
            batches, batch_size=None, num_workers=self.num_workers, worker_init_fn=partial(end_with, os.getpid())
        )

    def val_dataloader(self) -> list[DataLoader[Windows]]:  # type: ignore[override]
        """Return a loader for each dev corpus."""
        encoded, loaders, start = self.encoded("dev"), [], 0
        for corpus in self.evaluated:
            part = encoded[start : start + len(corpus.splits["dev"])]
            items = [[(each, n) for n in range(len(each.windows))] for each in part]
            lengths = [max(len(window) for window in each.windows) for each in part]
            loaders.append(self._loader("dev", items, lengths, self.eval_batch_size, shuffle=False, seed=0))
            start += len(part)
        return loaders


class MixtureBatches(Dataset[Batch]):
    """The batches of an epoch; batch number i is the same for the same seed.

    Args:
        corpora: the encoded examples of each corpus.
        probabilities: weight of each corpus.
        sampler: draws the labels.
        collate: makes a batch of windows.
        batch_size: number of windows.
        max_tokens: largest number of padded subwords of a batch, or None.
        steps: number of batches.
        seed: seed of the epoch.
    """

    def __init__(
        self, corpora: Sequence[list[EncodedExample]], probabilities: Sequence[float], sampler: LabelSampler,
        collate: Callable[[Windows], Batch], batch_size: int, max_tokens: int | None, steps: int, seed: str,
    ) -> None:  # fmt: skip
        # windows in order of length, so that neighbors need little padding
        self.windows = [
            sorted(((e, n) for e in encoded for n in range(len(e.windows))), key=lambda w: len(w[0].windows[w[1]]))
            for encoded in corpora
        ]
        self.cumulative = list(accumulate(probabilities))
        self.sampler, self.collate, self.seed = sampler, collate, seed
        self.batch_size, self.max_tokens, self.steps = batch_size, max_tokens, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, number: int) -> Batch:
        if not 0 <= number < self.steps:
            raise IndexError(number)
        rng = random.Random(f"{self.seed}/{number}")
        corpus = rng.choices(range(len(self.windows)), cum_weights=self.cumulative)[0]
        windows = self._drawn(self.windows[corpus], rng)
        question = self.sampler.sample(corpus, [encoded.example for encoded, _ in windows], rng)
        return restrict(self.collate(windows), question.entity_types, question.relation_types, question.labels)

    def _drawn(self, ordered: Windows, rng: random.Random) -> Windows:
        """Draw windows of similar length: a random sample of the neighbors of a random window."""
        width = 8 * self.batch_size
        start = rng.randrange(max(1, len(ordered) - width // 2))
        near = ordered[start : start + width]
        drawn = rng.sample(near, min(self.batch_size, len(near)))
        if self.max_tokens is not None:
            longest = max(len(encoded.windows[n]) for encoded, n in drawn)
            drawn = drawn[: max(1, self.max_tokens // longest)]
        return drawn
