"""The facts on a model card: the model's configuration and the records of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iter_lightning.corpora import CATALOG
from iter_lightning.corpora.catalog import Corpus
from iter_lightning.errors import ConfigError
from iter_lightning.json_files import MANIFEST, NUMBER, RESULTS, Shape, read_object
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.status import UNFINISHED_KEY

if TYPE_CHECKING:
    from iter_lightning.model.config import IterConfig
    from iter_lightning.model.iter import IterModel

_REMEDY = "move it away to go on without it"
_PATHS = ("train", "dev", "test", "types", "data_dir", "init_from")
"""Settings that are paths on the machine of the training."""
_TRAINER = (
    "max_epochs", "max_steps", "precision", "gradient_clip_val", "accumulate_grad_batches", "devices", "num_nodes",
    "strategy", "callbacks",
)  # fmt: skip
_SCORES: Shape = {
    **RESULTS,
    **{f"*.*.scores.*.micro.{name}!": NUMBER for name in ("precision", "recall", "f1", "tp", "fp", "fn")},
    "*.*.scores.*.macro!": dict, "*.*.scores.*.macro.f1!": NUMBER, "*.*.scores.*.per_type!": dict,
    **{f"*.*.scores.*.per_type.*.{name}!": NUMBER for name in ("precision", "recall", "f1", "support")},
}  # fmt: skip
"""The values of results.json that the card shows."""


@dataclass(frozen=True)
class Scored:
    """An entry of results.json: scores and their definition."""

    split: str
    definition: EvaluationDefinition
    link_threshold: float | None
    """Lambda of these scores; None if it was not recorded."""
    scores: Mapping[str, Any]
    """Task -> micro, macro, per_type; see `metrics.functional.report`."""
    unfinished: bool = False
    """Whether the training had not finished when the scores were made."""

    def describe(self) -> str:
        """Return everything that must be printed with the scores, in one line."""
        link = "not recorded" if self.link_threshold is None else f"{self.link_threshold:g}"
        training = " · before the training had finished" if self.unfinished else ""
        return f"split: {self.split} · {self.definition.describe()} · λ: {link}{training}"


@dataclass(frozen=True)
class ModelFacts:
    """A model's configuration and the records of its run. Values that were not recorded are missing, never guessed."""

    config: IterConfig
    parameters: int
    max_subwords: int
    """Longest window that the model reads."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """manifest.json; empty for a model without a run."""
    results: tuple[Scored, ...] = ()
    """results.json, dev before test."""

    @classmethod
    def read(cls, model: IterModel, run: Path | None) -> ModelFacts:
        """Collect the facts of a loaded model and of the folder of its run, if it has one.

        Raises:
            ConfigError: a file of the run is damaged.
        """
        parameters = sum(parameter.numel() for parameter in model.parameters())
        manifest, results = (read_manifest(run), read_results(run / "results.json")) if run else ({}, ())
        return cls(model.config, parameters, model.max_subwords, manifest, results)

    @property
    def data_class(self) -> str:
        """The name of the data module: of a corpus, `Custom` or `Synthetic`; empty if it was not recorded."""
        return str(self._settings("data").get("class_path", "")).rpartition(".")[2]

    @property
    def corpus(self) -> Corpus | None:
        """The catalog's entry for the corpus, if it has one."""
        return CATALOG.get(self.data_class.lower())

    @property
    def context(self) -> str:
        """The unit of text in training, `sentence` or `document`; see `documents.CONTEXTS`."""
        options = self._settings("data").get("init_args") or {}
        return "document" if options.get("coreference") or options.get("level") == "document" else "sentence"

    @property
    def encoder(self) -> str | None:
        """The name of the pretrained encoder; of a folder the last part."""
        name = self.manifest.get("encoder")
        return None if name is None else public_name(str(name))

    @property
    def main(self) -> tuple[Scored, ...]:
        """The first entry of each split, which has the run's own definition."""
        splits = dict.fromkeys(scored.split for scored in self.results)
        return tuple(next(scored for scored in self.results if scored.split == split) for split in splits)

    @property
    def others(self) -> tuple[Scored, ...]:
        """The same predictions under other definitions."""
        return tuple(scored for scored in self.results if scored not in self.main)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Settings of the training under dotted names; of files and folders the last part alone."""
        trainer = self._settings("trainer")
        groups = {
            "model": self._settings("model"),
            "data": self._settings("data").get("init_args") or {},
            "trainer": {name: trainer[name] for name in _TRAINER if trainer.get(name) not in (None, [], -1)},
        }
        return {name: value for name, value in _flat(groups) if value is not None}

    def _settings(self, group: str) -> Mapping[str, Any]:
        return (self.manifest.get("config") or {}).get(group) or {}


def read_manifest(run: Path) -> dict[str, Any]:
    """Read the manifest.json of a run; empty for a model without one.

    Raises:
        ConfigError: the file is damaged.
    """
    return read_object(run / "manifest.json", _REMEDY, MANIFEST)


def read_results(path: Path) -> tuple[Scored, ...]:
    """Read a results.json, dev before test; empty if there is none.

    Raises:
        ConfigError: the file is damaged.
    """
    values = read_object(path, _REMEDY, _SCORES)
    found = []
    for split in sorted(values, key=lambda name: (name not in ("dev", "test"), name)):
        for number, entry in enumerate(values[split]):
            try:
                definition = EvaluationDefinition(**entry["definition"])
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{path} is damaged ({split}: entry {number}: {error}); {_REMEDY}") from error
            unfinished = bool(entry.get(UNFINISHED_KEY))
            found.append(Scored(split, definition, entry.get("link_threshold"), entry.get("scores") or {}, unfinished))
    return tuple(found)


def public_name(name: str) -> str:
    """Return a hub id or `package:NAME` unchanged, and the last part of a folder: the rest describes a machine."""
    if name.startswith((".", "~", "/")) or name.count("/") > 1 or Path(name).exists():
        return Path(name).name
    return name


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif name == "encoder":
            yield prefix + name, public_name(str(value))
        elif name in _PATHS and isinstance(value, str):
            yield prefix + name, Path(value).name
        elif name == "callbacks" and isinstance(value, list):
            yield prefix + name, ", ".join(map(_callback, value))
        else:
            yield prefix + name, value


def _callback(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    options = ", ".join(f"{name}={value}" for name, value in _flat(item.get("init_args") or {}))
    return f"{str(item.get('class_path', '')).rpartition('.')[2]}({options})"
