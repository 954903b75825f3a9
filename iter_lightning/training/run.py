"""The run folder: what a training was, and what came of it.

config.yaml      the resolved configuration
manifest.json    status, versions, commit, data and tokenizer digests, seed, device, evaluation definition
metrics.jsonl    a line an epoch
model/           the best model so far, in Hugging Face layout
checkpoints/     last.ckpt, to continue a killed run; removed when the run is finished
results.json     scores by split and evaluation definition
analysis.json    what the best model does on dev, see `summary`
test_sentences.jsonl, predictions.jsonl   see `results`
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.files import locked, sweep, write_atomically
from iter_lightning.json_files import ANALYSIS, MANIFEST, NUMBER, RESULTS, check_shape, parse_object, read_object
from iter_lightning.metrics import EvaluationDefinition
from iter_lightning.status import FINISHED, UNFINISHED_KEY, check_finished, is_finished
from iter_lightning.types import Example

NOT_IDENTITY = ("config", "experiment", "run_dir", "wandb", "ckpt_path", "weights_only", "verbose", "extends",
                "allow_unfinished")  # fmt: skip
NOT_IDENTITY_IN = {
    "trainer": ("enable_progress_bar", "logger"),
    "data.init_args": ("data_dir", "num_workers", "eval_batch_size"),
    "model": ("init_from",),
}
"""Settings that do not change what a run computes; data and weights are known by their digest, not by their folder."""
_AWAY = "move the folder away to train this run from the start"
PACKAGES = ("torch", "lightning", "transformers", "tokenizers", "torchmetrics", "numpy", "omegaconf", "jsonargparse")


class RunFolder:
    """Paths and atomic writes inside one run's folder."""

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
        """What manifest.json holds; empty if there is none.

        Raises:
            ConfigError: the file is damaged.
        """
        return read_object(self.manifest_file, _AWAY, MANIFEST)

    @property
    def model_config(self) -> dict[str, Any]:
        """What the exported model's config.json holds, with its `schema`; empty if there is none.

        Raises:
            ConfigError: the file is damaged.
        """
        path, remedy = self.model / "config.json", f"move {self.model} away and run `fit` again"
        return read_object(path, remedy, {"schema!": dict, "link_threshold": NUMBER})

    @property
    def analysis(self) -> dict[str, Any]:
        """What analysis.json holds; empty if there is none.

        Raises:
            ConfigError: the file is damaged.
        """
        remedy = f"remove it to go on without an analysis of {self.path}"
        return read_object(self.analysis_file, remedy, ANALYSIS)

    @property
    def is_new(self) -> bool:
        """Whether nothing is in the folder but the lock that `open` holds."""
        return not self.path.exists() or {path.name for path in self.path.iterdir()} <= {".lock"}

    def remove(self) -> None:
        """Remove the folder of a run in which nothing was trained."""
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def finished(self) -> bool:
        """Whether a training ran here to its end."""
        return is_finished(self.manifest)

    def check_finished(self, allowed: bool) -> bool:
        """Refuse an unfinished run unless `allowed`; returns whether it is unfinished. See `status.check_finished`."""
        return check_finished(self.path, self.manifest, allowed)

    def finish(self, **values: Any) -> None:
        """Mark the run as finished, with more entries of the manifest, and remove its checkpoint.

        Test scores made while it was unfinished (`--allow-unfinished`) are dropped: its best model may be another now.
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
        """Whether a run with this configuration, new or continued, belongs here.

        Raises:
            ConfigError: the folder holds a run of another configuration.
        """
        before = self.manifest.get("config")
        changed = [] if before is None else sorted(differences(identity(before), identity(config)))
        if changed:
            raise self._other("configuration", changed)

    def check_origin(self, origin: dict[str, Any]) -> None:
        """Whether the run here was made of the same data, tokenizer and weights (`origin` of a manifest).

        Raises:
            ConfigError: it was made of others.
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
        """Make the folder and hold it: no other process may train in it meanwhile.

        Raises:
            ConfigError: it cannot be written, or another process trains in it.
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
        """Put in order what a killed attempt left."""
        old = self.model.with_name(self.model.name + ".old")
        if old.exists() and not self.model.exists():  # killed while a better model was put in its place
            old.replace(self.model)
        for path in (self.last_checkpoint, self.manifest_file, self.metrics_file):
            sweep(path)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(f"the run folder {self.path} cannot be written: {error.strerror or error}") from error

    def write_json(self, path: Path, value: Any) -> None:
        """Replace a JSON file as a whole."""
        write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def update_manifest(self, **values: Any) -> None:
        """Set entries of manifest.json."""
        self.write_json(self.manifest_file, {**self.manifest, **values})

    def add_results(self, split: str, results: list[dict[str, Any]], unfinished: bool = False) -> None:
        """Set one split's scores in results.json; those of an unfinished run say so."""
        mark = {UNFINISHED_KEY: True} if unfinished else {}
        self.write_json(self.results_file, {**self.read_results(), split: [{**entry, **mark} for entry in results]})

    def read_results(self) -> dict[str, list[dict[str, Any]]]:
        """What results.json holds: split -> a list of {definition, scores}; empty if there is no file.

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
        """Whether `test` has scored the run: the finished one, or the unfinished one too where that is allowed."""
        scores = self.read_results().get("test") or []
        if not scores or not self.sentences_file.exists():
            return False
        return allow_unfinished or not any(entry.get(UNFINISHED_KEY) for entry in scores)

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add an epoch to metrics.jsonl, in place of what a killed attempt may have written of it."""
        lines = [old for old in self.read_metrics() if old["epoch"] < line["epoch"]]
        write_atomically(self.metrics_file, "".join(json.dumps(entry) + "\n" for entry in [*lines, line]))

    def read_metrics(self) -> list[dict[str, Any]]:
        """The epochs so far.

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
    """What of a resolved configuration decides what a run computes."""
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
    """One line for each leaf in which two configurations differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            if key not in before and after[key] in (None, False, 0, "", [], {}):
                continue  # an option that came after that run, at the value that changes nothing
            yield from differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif before != after:
        yield f"{path}: {before!r} there, {after!r} now"


def describe(device: str) -> dict[str, Any]:
    """What a manifest says of the code and the machine."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("iter-lightning", *PACKAGES)},
        **_commit(),
    }


def describe_data(
    title: str, files: Iterable[Path], splits: dict[str, list[Example]], unit: str = "sentences"
) -> dict[str, Any]:
    """Sizes and digests of what was read (files) and of what was used (splits, after the split protocol).

    The key `sentences` of a split counts its examples, whatever their `unit` is.
    """
    return {
        "title": title,
        "unit": unit,
        "files": _file_digests(list(files)),
        "splits": {
            name: {
                "sentences": len(split),
                "entities": sum(len(e.entities) for e in split),
                "relations": sum(len(e.relations) for e in split),
                "sha256": digest(split),
            }
            for name, split in splits.items()
        },
    }


def _file_digests(files: list[Path]) -> dict[str, str]:
    """By name; by path where two files share a name."""
    names = [path.name for path in files]
    return {
        path.name if names.count(path.name) == 1 else str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def digest(examples: Iterable[Example]) -> str:
    """SHA-256 over the words and annotation of examples, in order."""
    sha = hashlib.sha256()
    for e in examples:
        entities = [(x.start, x.end, x.type) for x in e.entities]
        relations = [(r.head.span, r.head.type, r.tail.span, r.tail.type, r.type) for r in e.relations]
        sha.update(json.dumps([e.left_context, e.words, e.right_context, entities, relations]).encode())
    return sha.hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> dict[str, Any]:
    """The commit of the package's own source, where it is run from a checkout."""
    root = Path(__file__).parents[2]
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=10)
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=root, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return {"commit": None, "commit_clean": None}
    if head.returncode or not (root / "pyproject.toml").exists():
        return {"commit": None, "commit_clean": None}
    return {"commit": head.stdout.strip(), "commit_clean": not status.stdout.strip()}
