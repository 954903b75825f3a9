"""The run folder: configuration, state, and results of a training run.

config.yaml      the resolved configuration
manifest.json    status, versions, commit, data and tokenizer digests, seed, device, evaluation definition
metrics.jsonl    one line per epoch
model/           the best model so far, in Hugging Face layout
checkpoints/     last.ckpt, to continue a killed run; removed when the run is finished
results.json     scores by split and evaluation definition
analysis.json    analysis of the best model on dev, see `summary`
test_sentences.jsonl, predictions.jsonl   see `results`
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.io.atomic import sweep, write_atomically
from iter_lightning.io.locks import locked
from iter_lightning.json_files import ANALYSIS, MANIFEST, NUMBER, RESULTS, check_shape, parse_object, read_object
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.status import FINISHED, UNFINISHED_KEY, check_finished, is_finished

NOT_IDENTITY = ("config", "experiment", "run_dir", "wandb", "ckpt_path", "weights_only", "verbose", "extends",
                "allow_unfinished")  # fmt: skip
NOT_IDENTITY_IN = {
    "trainer": ("enable_progress_bar", "logger"),
    "data.init_args": ("data_dir", "num_workers", "eval_batch_size"),
    "model": ("init_from",),
}
"""Settings that do not change what a run computes; data and weights are identified by digest, not by folder."""
_AWAY = "move the folder away to train this run from the start"


class RunFolder:
    """Paths inside a run folder, and atomic reading and writing of its files.

    Args:
        path: the folder, which may not exist yet.

    Example:
        >>> RunFolder("runs/absent/seed1").finished
        False
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.model = self.path / "model"
        self.last_checkpoint = self.path / "checkpoints" / "last.ckpt"
        self.manifest_file = self.path / "manifest.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.results_file = self.path / "results.json"
        self.analysis_file = self.path / "analysis.json"
        self.sentences_file = self.path / "test_sentences.jsonl"
        self.predictions_file = self.path / "predictions.jsonl"

    @property
    def manifest(self) -> dict[str, Any]:
        """Return the content of manifest.json; empty if there is no file.

        Raises:
            ConfigError: the file is damaged.
        """
        return read_object(self.manifest_file, _AWAY, MANIFEST)

    @property
    def model_config(self) -> dict[str, Any]:
        """Return the exported model's config.json, with its `schema`; empty if there is no file.

        Raises:
            ConfigError: the file is damaged.
        """
        path, remedy = self.model / "config.json", f"move {self.model} away and run `fit` again"
        return read_object(path, remedy, {"schema!": dict, "link_threshold": NUMBER})

    @property
    def analysis(self) -> dict[str, Any]:
        """Return the content of analysis.json; empty if there is no file.

        Raises:
            ConfigError: the file is damaged.
        """
        remedy = f"remove it to go on without an analysis of {self.path}"
        return read_object(self.analysis_file, remedy, ANALYSIS)

    @property
    def is_new(self) -> bool:
        """Return whether the folder contains nothing except the lock of `open`."""
        return not self.path.exists() or {path.name for path in self.path.iterdir()} <= {".lock"}

    def remove(self) -> None:
        """Remove the folder of a run that has not trained anything."""
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def finished(self) -> bool:
        """Return whether the run has finished."""
        return is_finished(self.manifest)

    def check_finished(self, allowed: bool) -> bool:
        """Refuse an unfinished run unless `allowed`; return whether it is unfinished. See `status.check_finished`."""
        return check_finished(self.path, self.manifest, allowed)

    def finish(self, **values: Any) -> None:
        """Mark the run as finished, with further entries of the manifest, and remove its checkpoint.

        Test scores of the unfinished run (`--allow-unfinished`) are removed, because its best model may have changed.

        Args:
            values: entries of the manifest.
        """
        results = self.read_results()
        kept = {
            split: [{key: value for key, value in entry.items() if key != UNFINISHED_KEY} for entry in entries]
            for split, entries in results.items()
            if split == "dev" or not any(UNFINISHED_KEY in entry for entry in entries)
        }
        if kept != results:
            self.write_json(self.results_file, kept)
        self.update_manifest(status=FINISHED, **values)
        shutil.rmtree(self.last_checkpoint.parent, ignore_errors=True)

    def check(self, config: dict[str, Any]) -> None:
        """Check that this folder is new or belongs to a run with this configuration.

        Raises:
            ConfigError: the folder contains a run with another configuration.
        """
        before = self.manifest.get("config")
        changed = [] if before is None else sorted(differences(identity(before), identity(config)))
        if changed:
            raise self._other("configuration", changed)

    def check_origin(self, origin: dict[str, Any]) -> None:
        """Check that the run in this folder used the same data, tokenizer and weights (`origin` in the manifest).

        Raises:
            ConfigError: it used others.
        """
        before = self.manifest.get("origin")
        changed = [] if before is None else sorted(differences(before, origin))
        if changed:
            raise self._other("data, tokenizer or encoder", changed)

    def _other(self, what: str, changed: list[str]) -> ConfigError:
        return ConfigError(
            f"{self.path} holds a run of another {what}; it differs in:\n  "
            + "\n  ".join(changed[:10])
            + "\n  choose another --run_dir, or move that folder away"
        )

    @contextmanager
    def open(self) -> Iterator[None]:
        """Create and lock the folder, so that no other process trains in it.

        Raises:
            ConfigError: the folder cannot be written, or another process trains in it.
        """
        with self._writable():
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        taken = ConfigError(f"another process is training in {self.path}; wait for it, or end it")
        with locked(self.path / ".lock", taken):
            with self._writable():
                self._recover()
            yield

    def _recover(self) -> None:
        """Repair what a killed attempt left behind."""
        old = self.model.with_name(self.model.name + ".old")
        if old.exists() and not self.model.exists():  # killed while the model was replaced by a better one
            old.replace(self.model)
        for path in (self.model, self.last_checkpoint, self.manifest_file, self.metrics_file):
            sweep(path)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(f"the run folder {self.path} cannot be written: {error.strerror or error}") from error

    def write_json(self, path: Path, value: Any) -> None:
        """Write a JSON file atomically."""
        write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def update_manifest(self, **values: Any) -> None:
        """Set entries of manifest.json."""
        self.write_json(self.manifest_file, {**self.manifest, **values})

    def add_results(self, split: str, results: list[dict[str, Any]], unfinished: bool = False) -> None:
        """Set the scores of a split in results.json; scores of an unfinished run are marked."""
        mark = {UNFINISHED_KEY: True} if unfinished else {}
        self.write_json(self.results_file, {**self.read_results(), split: [{**entry, **mark} for entry in results]})

    def read_results(self) -> dict[str, list[dict[str, Any]]]:
        """Return the content of results.json: split -> a list of {definition, scores}; empty if there is no file.

        Raises:
            ConfigError: the file is damaged.
        """
        remedy = "remove it and run `test` again"
        found = read_object(self.results_file, remedy, RESULTS)
        for split, entries in found.items():
            for number, entry in enumerate(entries):
                try:
                    EvaluationDefinition(**entry["definition"])
                    _ = entry["scores"]
                except (KeyError, TypeError, ValueError) as error:
                    reason = f"{split}: entry {number}: {type(error).__name__}: {error}"
                    raise ConfigError(f"{self.results_file} is damaged ({reason}); {remedy}") from error
        return found

    def tested(self, allow_unfinished: bool = False) -> bool:
        """Return whether `test` has scored the finished run or, if allowed, the unfinished one."""
        scores = self.read_results().get("test") or []
        if not scores or not self.sentences_file.exists():
            return False
        return allow_unfinished or not any(entry.get(UNFINISHED_KEY) for entry in scores)

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add an epoch to metrics.jsonl, replacing lines of a killed attempt from this epoch on."""
        lines = [old for old in self.read_metrics() if old["epoch"] < line["epoch"]]
        write_atomically(self.metrics_file, "".join(json.dumps(entry) + "\n" for entry in [*lines, line]))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the epochs so far.

        Raises:
            ConfigError: a line is damaged.
        """
        remedy = "remove the line"
        try:
            lines = self.metrics_file.read_bytes().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise ConfigError(f"{self.metrics_file} cannot be read: {error.strerror or error}") from error
        found = []
        for number, line in enumerate(lines, 1):
            where = f"{self.metrics_file}: line {number}"
            found.append(parse_object(line, where, remedy))
            check_shape(found[-1], {"epoch!": int, "*": NUMBER}, where, remedy)
        return found


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved configuration that determines what a run computes."""
    kept = {key: value for key, value in config.items() if key not in NOT_IDENTITY}
    for path, names in NOT_IDENTITY_IN.items():
        place = kept
        for key in path.split("."):
            place[key] = dict(place.get(key) or {})
            place = place[key]
        for name in names:
            place.pop(name, None)
    return kept


def differences(before: Any, after: Any, path: str = "") -> Iterable[str]:
    """Return one line for each value in which two configurations differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            if key not in before and after[key] in (None, False, 0, "", [], {}):
                continue  # option added after the run was made; its default is a no-op
            yield from differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif before != after:
        yield f"{path}: {before!r} there, {after!r} now"
