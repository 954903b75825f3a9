"""What is known of a model: its configuration, and what the run folder it comes from has recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iter_lightning.corpora import CATALOG
from iter_lightning.corpora.catalog import Corpus
from iter_lightning.errors import ConfigError
from iter_lightning.json_files import MANIFEST, NUMBER, read_object
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.model.config import IterConfig
from iter_lightning.status import UNFINISHED_KEY

if TYPE_CHECKING:
    from iter_lightning.model.iter import IterModel

_FILES = ("train", "dev", "test", "types", "data_dir", "init_from")
"""Settings that are places on the machine of the training."""
_REMEDY = "move it away to go on without it"
_TRAINER = (
    "max_epochs", "max_steps", "precision", "gradient_clip_val", "accumulate_grad_batches", "devices", "num_nodes",
    "strategy", "callbacks",
)  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """An entry of results.json: scores, and what they mean."""

    split: str
    definition: EvaluationDefinition
    link_threshold: float | None
    """Lambda of these scores; None where it was not recorded."""
    scores: Mapping[str, Any]
    """Task -> micro, macro, per_type; see `metrics.functional.report`."""
    unfinished: bool = False
    """Whether the training had not finished when they were made."""

    def describe(self) -> str:
        """All that a number needs beside it."""
        link = "not recorded" if self.link_threshold is None else f"{self.link_threshold:g}"
        training = " · before the training had finished" if self.unfinished else ""
        return f"split: {self.split} · {self.definition.describe()} · λ: {link}{training}"


@dataclass(frozen=True)
class ModelFacts:
    """A model's configuration and its run's records; what a run did not record is missing here, never guessed."""

    config: IterConfig
    parameters: int
    max_subwords: int
    """Longest window the model reads."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """manifest.json; empty for a model without a run."""
    results: tuple[Scored, ...] = ()
    """results.json, dev before test."""

    @classmethod
    def read(cls, model: IterModel, run: Path | None) -> ModelFacts:
        """The facts of a loaded model and of the folder of its run, if there is one.

        Raises:
            ConfigError: a file of the run that is damaged.
        """
        manifest = read_manifest(run) if run else {}
        results = tuple(_results(run / "results.json")) if run else ()
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return cls(model.config, parameters, model.max_subwords, manifest, results)

    @property
    def data_class(self) -> str:
        """The data module's name: a corpus's, Custom or Synthetic; empty where it is not recorded."""
        return str(self._settings("data").get("class_path", "")).rpartition(".")[2]

    @property
    def corpus(self) -> Corpus | None:
        """What the catalogue says of the corpus, if it is one of it."""
        return CATALOG.get(self.data_class.lower())

    @property
    def context(self) -> str:
        """What it was trained to read at once, as far as the run recorded it: see `documents.CONTEXTS`."""
        options = self._settings("data").get("init_args") or {}
        return "document" if options.get("coreference") or options.get("level") == "document" else "sentence"

    @property
    def encoder(self) -> str | None:
        """The pretrained encoder's name, as the run recorded it; a folder's by its last part."""
        name = self.manifest.get("encoder")
        return None if name is None else public_name(str(name))

    @property
    def main(self) -> tuple[Scored, ...]:
        """The first definition of each split: the run's own."""
        return tuple(next(s for s in self.results if s.split == split) for split in dict.fromkeys(
            scored.split for scored in self.results
        ))  # fmt: skip

    @property
    def others(self) -> tuple[Scored, ...]:
        """The same predictions under other definitions."""
        return tuple(scored for scored in self.results if scored not in self.main)

    def hyperparameters(self) -> dict[str, Any]:
        """Settings of the training, flat; of files and folders the names alone."""
        trainer = self._settings("trainer")
        groups = {
            "model": self._settings("model"),
            "data": self._settings("data").get("init_args") or {},
            "trainer": {name: trainer[name] for name in _TRAINER if trainer.get(name) not in (None, [], -1)},
        }
        found = dict(_flat(groups))
        return {name: value for name, value in found.items() if value is not None}

    def _settings(self, group: str) -> Mapping[str, Any]:
        config = self.manifest.get("config")
        found = config.get(group) if isinstance(config, Mapping) else None
        return found if isinstance(found, Mapping) else {}


def read_manifest(run: Path) -> dict[str, Any]:
    """Return what the manifest.json of a run holds; empty for a model without one.

    Raises:
        ConfigError: the file is damaged.
    """
    return read_object(run / "manifest.json", _REMEDY, MANIFEST)


def public_name(name: str) -> str:
    """A hub id or `package:NAME` as it is; of a folder the last part, since the rest tells of a machine alone."""
    if name.startswith((".", "~", "/")) or name.count("/") > 1 or Path(name).exists():
        return Path(name).name
    return name


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif name == "encoder" or (name in _FILES and isinstance(value, str)):
            yield prefix + name, Path(value).name if name in _FILES else public_name(str(value))
        elif name == "callbacks" and isinstance(value, list):
            yield prefix + name, ", ".join(_callback(item) for item in value)
        else:
            yield prefix + name, value


def _callback(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    options = ", ".join(f"{name}={value}" for name, value in _flat(item.get("init_args") or {}))
    return f"{str(item.get('class_path', '')).rpartition('.')[2]}({options})"


def _results(path: Path) -> Iterator[Scored]:
    values = read_object(path, _REMEDY, {"*": list, "*.*": dict, "*.*.link_threshold": NUMBER})
    for split in (*(name for name in ("dev", "test") if name in values), *sorted(set(values) - {"dev", "test"})):
        for number, entry in enumerate(values[split]):
            try:
                definition, scores = EvaluationDefinition(**entry["definition"]), entry["scores"]
                _ = [values["f1"] for task in scores.values() for values in (task["micro"], *task["per_type"].values())]
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ConfigError(
                    f"{path}: {split}: entry {number}: expected what `test` writes: {type(error).__name__}: {error}"
                ) from error
            yield Scored(split, definition, entry.get("link_threshold"), scores, bool(entry.get(UNFINISHED_KEY)))
