"""The parts of an extraction made by a Ray cluster (extra `cluster`), by Ray Data.

Readers and extractors are processes wherever there is room; each part is put into the folder by whoever made it, so
that the folder must be on a file system all machines share. Chunks are those of a local extraction, and so are parts.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from iter_lightning.errors import ConfigError, IterError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.formats import Reading
from iter_lightning.extraction.parts import Chunk, Parts, chunks, make_part
from iter_lightning.extraction.run import ExtractionConfig, Progress
from iter_lightning.heap import PRODUCTS, return_large_buffers, settle

TRIES = 4
"""Workers that may die over a chunk until it is given up; Ray would go on for ever."""
_READER_CPUS = 0.5
"""Of a core, that a reader takes: most of its time it waits for extractors."""


class RayExecutor:
    """See `run.Executor`.

    Args:
        workers: extractors; None is one a GPU, else one a machine.

    Raises:
        ConfigError: Ray is not installed, or less than one worker.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ConfigError(f"--workers must be at least 1, found {workers}")
        try:
            self._ray: Any = importlib.import_module("ray")
            importlib.import_module("ray.data")
        except ImportError as error:
            raise ConfigError("the launcher ray needs Ray: pip install 'iter-lightning[cluster,extract]'") from error
        self._workers = workers

    def __call__(
        self, config: ExtractionConfig, extractor: Extractor, shards: Sequence[Reading], folder: Path
    ) -> Iterator[Progress]:
        """Read and extract on the cluster `RAY_ADDRESS` names, else on one started here."""
        if any(shard.total is None for shard in shards):
            raise ConfigError("standard input cannot be read by a cluster: give files")
        ray = self._ray
        if not ray.is_initialized():
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
            address = os.environ.get("RAY_ADDRESS") or "local"
            try:
                ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
            except Exception as error:
                raise ConfigError(f"Ray ({address}) does not start: {_first_line(error)}") from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars, context.print_on_execution_start = False, False
        context.target_max_block_size = 1  # each chunk goes to whoever is free
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # failures are told once, by us
        warnings.filterwarnings("ignore", "The minimum number of concurrent actors", UserWarning)
        resources, workers = self._share()
        there = _There(str(Path.cwd()), tuple(shards), config, folder.absolute())
        for path in folder.glob("*.tries"):  # of a run that was interrupted
            path.unlink()
        numbers = ray.data.from_items([{"shard": n} for n in range(len(shards))], override_num_blocks=len(shards))
        read = numbers.map_batches(_read_shards, fn_args=(there,), batch_size=1, num_cpus=_READER_CPUS)
        made = read.map_batches(
            _ExtractChunks, fn_constructor_args=(there,), batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers), runtime_env={"env_vars": PRODUCTS}, **resources,
        )  # fmt: skip
        documents, bad, done = 0, 0, 0
        total = sum(shard.total or 0 for shard in shards)
        for row in made.iter_rows():
            if row["error"]:
                raise pickle.loads(row["error"])  # what a worker of ours has met
            documents, bad, done = documents + row["documents"], bad + row["bad"], done + row["bytes"]
            yield Progress(int(documents), int(bad), int(done), total, row["part"], row["kernels"])

    def _share(self) -> tuple[dict[str, float], int]:
        """What an extractor takes of a machine, and how many there are."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpus = int(sum(node.get("GPU", 0) for node in nodes))
        if gpus:
            return {"num_gpus": 1}, self._workers or gpus
        workers = self._workers or len(nodes)
        cores = [node.get("CPU", 1.0) for node in nodes]
        share = min((sum(cores) - _READER_CPUS * len(nodes)) / workers, max(cores) - _READER_CPUS)
        return {"num_cpus": float(int(share)) if share >= 1 else max(0.1, round(share, 2))}, workers


@dataclass(frozen=True)
class _There:
    """What a worker is told."""

    working_folder: str
    shards: tuple[Reading, ...]
    config: ExtractionConfig
    folder: Path


def _read_shards(batch: dict[str, Any], there: _There) -> Iterator[dict[str, Any]]:
    """The chunks of a shard, one a row; of those that are extracted already only their number of bytes."""
    os.chdir(there.working_folder)
    parts = Parts(there.folder)
    for number in batch["shard"].tolist():
        behind = 0
        try:
            for chunk in chunks(number, there.shards[number]):
                missing = b"" if parts.has(chunk) else pickle.dumps(chunk)
                done = there.shards[number].done
                yield {"part": [chunk.part], "chunk": [missing], "bytes": [done - behind], "error": [b""]}
                behind = done
        except (IterError, OSError) as error:  # as a row: Ray would wrap it until nobody could tell what it was
            yield {"part": [""], "chunk": [b""], "bytes": [0], "error": [pickle.dumps(error)]}


class _ExtractChunks:
    """A worker that holds the model."""

    def __init__(self, there: _There) -> None:
        os.chdir(there.working_folder)
        self._there = there
        return_large_buffers()

    @cached_property
    def _extractor(self) -> Extractor:
        extractor = self._there.config.extractor()
        settle()
        return extractor

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        documents, bad, kernels, error = 0, 0, "", batch["error"][0]
        if pickled := batch["chunk"][0]:
            chunk: Chunk = pickle.loads(pickled)  # what `_read_shards` has made
            try:
                with _tried(chunk, self._there.folder):
                    bad = make_part(self._extractor, chunk, self._there.config.rules(), self._there.folder)
                documents, kernels = len(chunk.records) - bad, self._extractor.kernels
            except (IterError, OSError) as failure:
                error = pickle.dumps(failure)
        counts = {"documents": np.array([documents]), "bad": np.array([bad]), "error": [error]}
        return {"part": batch["part"], "bytes": batch["bytes"], "kernels": np.array([kernels]), **counts}


@contextmanager
def _tried(chunk: Chunk, folder: Path) -> Iterator[None]:
    """Count those who begin with a chunk and do not come to an end with it.

    Raises:
        IterError: there were `TRIES`.
    """
    path = folder / f"{chunk.part}.tries"
    if path.exists() and path.stat().st_size >= TRIES:
        path.unlink()
        names = [record.id for record in chunk.records if isinstance(record, Document)]
        raise IterError(
            f"{TRIES} workers died, one after another, over the documents {names[0]} to {names[-1]}: out of memory? "
            "Ray's logs tell"
        )
    with path.open("ab") as file:
        file.write(b".")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]
