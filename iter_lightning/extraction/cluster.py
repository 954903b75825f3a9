"""Make the parts of an extraction on a Ray cluster with Ray Data (extra `cluster`).

Readers and extractors are processes on any machine. Each extractor writes its parts directly, so the folder of parts
must be on a shared file system. Chunks and parts are the same as in a local extraction.
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
from iter_lightning.heap import ONEDNN_CACHE, freeze_heap, return_large_buffers

TRIES = 4
"""Number of workers that may die on a chunk before the extraction fails. Ray would retry forever."""
_READER_CPUS = 0.5
"""Cores reserved for a reader, which waits for extractors most of the time."""


class RayExecutor:
    """Make missing parts on a Ray cluster; implements `run.Executor`.

    Args:
        workers: Number of extractors. None means one per GPU, or one per machine if there are no GPUs.

    Raises:
        ConfigError: If Ray is not installed, or if `workers` is less than 1.
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
        """Read and extract on the cluster at `RAY_ADDRESS`, or on a new local one."""
        if any(shard.total is None for shard in shards):
            raise ConfigError("a cluster cannot read standard input; use files")
        ray = self._ray
        if not ray.is_initialized():
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
            address = os.environ.get("RAY_ADDRESS") or "local"
            try:
                ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
            except Exception as error:
                raise ConfigError(f"Ray ({address}) cannot be started: {_first_line(error)}") from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars, context.print_on_execution_start = False, False
        context.target_max_block_size = 1  # each chunk goes to the next free worker
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # failures are reported once, by this function
        warnings.filterwarnings("ignore", "The minimum number of concurrent actors", UserWarning)
        resources, workers = self._share()
        setup = _WorkerSetup(str(Path.cwd()), tuple(shards), config, folder.absolute())
        for path in folder.glob("*.tries"):  # left by an interrupted run
            path.unlink()
        numbers = ray.data.from_items([{"shard": n} for n in range(len(shards))], override_num_blocks=len(shards))
        read = numbers.map_batches(_read_shards, fn_args=(setup,), batch_size=1, num_cpus=_READER_CPUS)
        made = read.map_batches(
            _ExtractChunks, fn_constructor_args=(setup,), batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers), runtime_env={"env_vars": ONEDNN_CACHE}, **resources,
        )  # fmt: skip
        documents, bad, done = 0, 0, 0
        total = sum(shard.total or 0 for shard in shards)
        for row in made.iter_rows():
            if row["error"]:
                raise pickle.loads(row["error"])  # an exception pickled by a worker of this program
            documents, bad, done = documents + row["documents"], bad + row["bad"], done + row["bytes"]
            yield Progress(int(documents), int(bad), int(done), total, row["part"], row["kernels"])

    def _share(self) -> tuple[dict[str, float], int]:
        """Return the resources of an extractor, and the number of extractors."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpus = int(sum(node.get("GPU", 0) for node in nodes))
        if gpus:
            return {"num_gpus": 1}, self._workers or gpus
        workers = self._workers or len(nodes)
        cores = [node.get("CPU", 1.0) for node in nodes]
        share = min((sum(cores) - _READER_CPUS * len(nodes)) / workers, max(cores) - _READER_CPUS)
        return {"num_cpus": float(int(share)) if share >= 1 else max(0.1, round(share, 2))}, workers


@dataclass(frozen=True)
class _WorkerSetup:
    """Hold the settings of a worker."""

    working_folder: str
    shards: tuple[Reading, ...]
    config: ExtractionConfig
    folder: Path


def _read_shards(batch: dict[str, Any], setup: _WorkerSetup) -> Iterator[dict[str, Any]]:
    """Yield one row per chunk of a shard. Rows of extracted chunks only have the number of bytes."""
    os.chdir(setup.working_folder)
    parts = Parts(setup.folder)
    for number in batch["shard"].tolist():
        behind = 0
        try:
            for chunk in chunks(number, setup.shards[number]):
                missing = b"" if parts.has(chunk) else pickle.dumps(chunk)
                done = setup.shards[number].done
                yield {"part": [chunk.part], "chunk": [missing], "bytes": [done - behind], "error": [b""]}
                behind = done
        except (IterError, OSError) as error:  # as a row, because Ray would wrap the exception several times
            yield {"part": [""], "chunk": [b""], "bytes": [0], "error": [pickle.dumps(error)]}


class _ExtractChunks:
    """Extract from chunks in a worker process that keeps the model."""

    def __init__(self, setup: _WorkerSetup) -> None:
        os.chdir(setup.working_folder)
        self._setup = setup
        return_large_buffers()

    @cached_property
    def _extractor(self) -> Extractor:
        extractor = self._setup.config.extractor()
        freeze_heap()
        return extractor

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        documents, bad, kernels, error = 0, 0, "", batch["error"][0]
        if pickled := batch["chunk"][0]:
            chunk: Chunk = pickle.loads(pickled)  # pickled by `_read_shards`
            try:
                with _counted_attempt(chunk, self._setup.folder):
                    bad = make_part(self._extractor, chunk, self._setup.config.rules(), self._setup.folder)
                documents, kernels = len(chunk.records) - bad, self._extractor.kernels
            except (IterError, OSError) as failure:
                error = pickle.dumps(failure)
        counts = {"documents": np.array([documents]), "bad": np.array([bad]), "error": [error]}
        return {"part": batch["part"], "bytes": batch["bytes"], "kernels": np.array([kernels]), **counts}


@contextmanager
def _counted_attempt(chunk: Chunk, folder: Path) -> Iterator[None]:
    """Count the workers that start a chunk and die before its end.

    Raises:
        IterError: If `TRIES` workers have died.
    """
    path = folder / f"{chunk.part}.tries"
    if path.exists() and path.stat().st_size >= TRIES:
        path.unlink()
        names = [record.id for record in chunk.records if isinstance(record, Document)]
        raise IterError(
            f"{TRIES} workers died, one after another, on the documents {names[0]} to {names[-1]}, possibly "
            "because memory ran out; see Ray's logs"
        )
    with path.open("ab") as file:
        file.write(b".")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]
