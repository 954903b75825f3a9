"""The counts of a run's test sentences, as `test` wrote them.

Shapes: S sentences, D evaluation definitions; the last axis holds true positives, false positives, false negatives.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iter_lightning.errors import ConfigError
from iter_lightning.metrics.functional import TASKS, EvaluationDefinition
from iter_lightning.status import UNFINISHED_KEY
from iter_lightning.training.run import RunFolder

COLUMNS = ("tp", "fp", "fn")


@dataclass(frozen=True)
class SentenceCounts:
    """Counts of one run on its test split."""

    folder: Path
    title: str
    """Title of the corpus, with its fold if it has folds."""
    unit: str
    """Unit of the examples: sentences or documents."""
    seed: int | None
    definitions: tuple[EvaluationDefinition, ...]
    link_threshold: float
    ids: tuple[str, ...]
    sha256: tuple[str, ...]
    """Digest of each sentence's words and gold."""
    counts: dict[str, NDArray[np.int64]]
    """Task -> [S, D, 3], in the order of `TASKS`."""
    unfinished: bool = False
    """Whether the run was tested before its training had finished."""

    def of(self, task: str, definition: EvaluationDefinition) -> NDArray[np.int64]:
        """Return a task's counts [S, 3] under a definition, whose split protocol is ignored.

        Raises:
            ConfigError: The run was not scored on this task or under this definition.
        """
        if task not in self.counts:
            raise ConfigError(f"{self.folder} has no counts of {task}; it has those of {', '.join(self.counts)}")
        return self.counts[task][:, self._place(definition)]

    def _place(self, wanted: EvaluationDefinition) -> int:
        for place, found in enumerate(self.definitions):
            if (found.gold, found.match, found.symmetric) == (wanted.gold, wanted.match, wanted.symmetric):
                return place
        known = "\n  ".join(definition.describe() for definition in self.definitions)
        raise ConfigError(
            f"{self.folder} was not scored under gold: {wanted.gold} · match: {wanted.match} · symmetric: "
            f"{wanted.symmetric}; it was under:\n  {known}"
        )


def read_sentences(folder: str | Path, allow_unfinished: bool = False) -> SentenceCounts:
    """Read the counts of a run that was tested.

    Args:
        folder: The run folder.
        allow_unfinished: Whether its training may be unfinished.

    Raises:
        ConfigError: No tested run, one that has not finished, or a damaged file; the message names file and line.
    """
    run = RunFolder(folder)
    if not run.path.is_dir():
        raise ConfigError(f"{run.path} is not a folder; expected a run folder")
    if not run.manifest:
        raise ConfigError(f"{run.path} holds no run: there is no manifest.json in it")
    data, seed = run.manifest.get("data"), run.manifest.get("seed")
    if not isinstance(data, dict) or not isinstance(data.get("title"), str):
        raise ConfigError(f"{run.manifest_file}: expected the corpus's name under data.title, found {data!r:.80}")
    unfinished, results = run.check_finished(allow_unfinished), _test_results(run)
    if results is None or not run.sentences_file.exists():
        raise ConfigError(
            f"{run.path} has no counts of test sentences; run "
            f"`python -m iter_lightning test --config {run.path}/config.yaml --run_dir {run.path}` first"
        )
    if not unfinished and any(entry.get(UNFINISHED_KEY) for entry in results):
        unfinished = True
        if not allow_unfinished:
            raise ConfigError(f"{run.path} was tested before its training had finished; run `test` again")
    definitions = tuple(EvaluationDefinition(**entry["definition"]) for entry in results)
    ids, sha256, counts = _read_lines(run.sentences_file, len(definitions))
    _check_sums(run, results, counts)
    expected = (data.get("splits") or {}).get("test", {}).get("sentences")
    if expected is not None and expected != len(ids):
        raise ConfigError(
            f"{run.sentences_file} has {len(ids)} {data.get('unit', 'sentences')}, the test split {expected}: `test` "
            "saw a part of it; run it again"
        )
    return SentenceCounts(
        folder=run.path, title=data["title"], unit=data.get("unit", "sentences"),
        seed=seed if isinstance(seed, int) else None, definitions=definitions,
        link_threshold=float(results[0]["link_threshold"]), ids=ids, sha256=sha256, counts=counts,
        unfinished=unfinished,
    )  # fmt: skip


def _test_results(run: RunFolder) -> list[dict[str, Any]] | None:
    """The entries of results.json under `test`; None if the run was not tested, or by an earlier version."""
    try:
        results = run.read_results()
        entries = results.get("test")
        if not entries or not all("link_threshold" in entry for entry in entries):
            return None
        for entry in entries:
            EvaluationDefinition(**entry["definition"])
            float(entry["link_threshold"])
            dict(entry["scores"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{run.results_file} is damaged ({error}); expected under `test` a list of definition, link_threshold, "
            "scores; run `test` again"
        ) from error
    return entries


def _read_lines(path: Path, definitions: int) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """Ids, digests, and task -> [S, D, 3]."""
    ids: list[str] = []
    digests: list[str] = []
    rows: dict[str, list[Any]] = {}
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                line = _parse(text)
                _check_line(line, list(rows), definitions)
            except ValueError as error:
                raise ConfigError(f"{path}: line {number}: {error}; run `test` again") from error
            ids.append(line["id"])
            digests.append(line["sha256"])
            for task, counts in line["counts"].items():
                rows.setdefault(task, []).append(counts)
    if not ids:
        raise ConfigError(f"{path} is empty, expected a line a test sentence; run `test` again")
    return tuple(ids), tuple(digests), {task: np.array(rows[task], dtype=np.int64) for task in TASKS if task in rows}


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:  # whose own message would name a line of the line
        raise ValueError(f"found {text[:40]!r}, which is not JSON ({error.msg}, column {error.colno})") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _check_line(line: Any, tasks: Sequence[str], definitions: int) -> None:
    """Check the layout of a line; `tasks` are those of the lines before, empty for the first."""
    if not isinstance(line, dict) or not {"id", "sha256", "counts"} <= set(line):
        keys = f"the keys {sorted(line)}" if isinstance(line, dict) else type(line).__name__
        raise ValueError(f"found {keys}, expected an object with id, sha256 and counts")
    for name in ("id", "sha256"):
        if not isinstance(line[name], str):
            raise ValueError(f"{name}: found {line[name]!r}, expected text")
    counts, allowed = line["counts"], [list(tasks)] if tasks else [["NER"], list(TASKS)]
    if not isinstance(counts, dict) or sorted(counts) not in [sorted(names) for names in allowed]:
        names = list(counts) if isinstance(counts, dict) else type(counts).__name__
        raise ValueError(f"counts: found {names}, expected {' or '.join(map(str, allowed))}")
    for task, entries in counts.items():
        if not isinstance(entries, list) or len(entries) != definitions:
            number = len(entries) if isinstance(entries, list) else type(entries).__name__
            raise ValueError(f"counts of {task}: found {number}, expected {definitions} entries, one a definition")
        for entry in entries:
            if not _is_triple(entry):
                raise ValueError(f"counts of {task}: found {entry!r}, expected [tp, fp, fn], numbers of at least 0")


def _is_triple(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 3 and all(type(x) is int and x >= 0 for x in entry)


def _check_sums(run: RunFolder, results: Sequence[dict[str, Any]], counts: dict[str, NDArray[np.int64]]) -> None:
    """Compare the counts with results.json, which finds a file that was cut short or is from another test."""
    for task, counts_SD3 in counts.items():
        for place, found in enumerate(counts_SD3.sum(axis=0).tolist()):
            scores = results[place].get("scores", {}).get(task, {}).get("micro")
            if scores is not None and found != (expected := [scores[name] for name in COLUMNS]):
                raise ConfigError(
                    f"{run.sentences_file}: tp, fp, fn of {task} sum to {found} under definition {place}, "
                    f"{run.results_file.name} has {expected}; run `test` again"
                )
