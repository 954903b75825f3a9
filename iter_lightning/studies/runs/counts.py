"""The counts of a run's test sentences, as `test` wrote them.

Shapes: S sentences, D evaluation definitions; the last axis holds true positives, false positives, false negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from iter_lightning.errors import ConfigError
from iter_lightning.metrics.functional import TASKS, EvaluationDefinition
from iter_lightning.status import UNFINISHED_KEY
from iter_lightning.training.run import RunFolder

COLUMNS = ("tp", "fp", "fn")
_Count = Annotated[int, Field(ge=0, lt=2**53)]


class _Line(BaseModel):
    """A line of test_sentences.jsonl."""

    id: str
    sha256: str
    counts: Annotated[dict[Literal["NER", "RE", "RE+"], list[tuple[_Count, _Count, _Count]]], Field(min_length=1)]


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
    entries = run.read_results().get("test")
    return entries if entries and all("link_threshold" in entry for entry in entries) else None


def _read_lines(path: Path, definitions: int) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """Ids, digests, and task -> [S, D, 3]."""
    ids: list[str] = []
    digests: list[str] = []
    rows: dict[str, list[Any]] = {}
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                line = _Line.model_validate_json(text, strict=True)
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]
                place = "".join(f"{part}: " for part in fault["loc"])
                said = "expected JSON" if fault["type"] == "json_invalid" else fault["msg"]
                reason = f"{place}{said}, found {fault['input']!r:.60}"
                raise ConfigError(f"{path}: line {number}: {reason}; run `test` again") from error
            found = {task: len(entries) for task, entries in line.counts.items()}
            if (number > 1 and set(found) != set(rows)) or {*found.values()} != {definitions}:
                raise ConfigError(
                    f"{path}: line {number}: counts: expected {definitions} entries, one a definition, for each task "
                    f"of the first line, found {found}; run `test` again"
                )
            ids.append(line.id)
            digests.append(line.sha256)
            for task, counts in line.counts.items():
                rows.setdefault(task, []).append(counts)
    if not ids:
        raise ConfigError(f"{path} is empty, expected a line a test sentence; run `test` again")
    return tuple(ids), tuple(digests), {task: np.array(rows[task], dtype=np.int64) for task in TASKS if task in rows}


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
