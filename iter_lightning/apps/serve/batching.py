"""Dynamic batching: one thread owns the model, and the sentences of many requests share its calls.

A call takes sentences from the requests in line, one from each in turn, until it holds `max_batch` sentences or about
`max_tokens` subwords. Long requests therefore do not hold up short ones.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from iter_lightning.apps.serve.metrics import Metrics
from iter_lightning.apps.serve.options import ServeOptions
from iter_lightning.cancellation import Cancelled, cancel_when
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.types import Example, Prediction

logger = logging.getLogger(__name__)
PROBE = Example(words=("Ada", "Lovelace", "was", "born", "in", "London", "."))
"""A sentence that every working model can read."""


class BrokenModelError(Exception):
    """The model fails on every sentence."""


class ExtractionError(Exception):
    """The model fails on one request."""


class Job:
    """The sentences of one request; relations of probability `lowest_link` or less are dropped.

    Cancelling `result` stops the work on it.
    """

    def __init__(self, examples: Iterable[Example], lowest_link: float) -> None:
        self.pending, self.lowest_link = deque(examples), lowest_link
        self.subwords = sum(map(subwords_of, self.pending))
        self.submitted, self.computing = time.monotonic(), 0.0
        self.result: asyncio.Future[list[Prediction]] = asyncio.get_running_loop().create_future()
        self._missing, self._found = len(self.pending), list[Prediction]()

    def take(self) -> Example:
        """Remove the next sentence that no call has read yet."""
        example = self.pending.popleft()
        self.subwords -= subwords_of(example)
        return example

    def add(self, prediction: Prediction) -> None:
        """Add the prediction for the next sentence; the last one completes the result."""
        kept = [number for number, score in enumerate(prediction.relation_scores) if score > self.lowest_link]
        if len(kept) < len(prediction.relations):  # another request of the same call asked for more
            scores = tuple(prediction.relation_scores[number] for number in kept)
            relations = tuple(prediction.relations[number] for number in kept)
            prediction = replace(prediction, relations=relations, relation_scores=scores)
        self._found.append(prediction)
        if len(self._found) == self._missing and not self.result.done():
            self.result.set_result(self._found)

    def fail(self, error: Exception) -> None:
        """Set an error as the result, unless there is one already."""
        if not self.result.done():
            self.result.set_exception(error)


Call = list[tuple[Job, Example]]


class Batcher:
    """The requests in line and the calls of the model. All but the model itself runs in the event loop.

    Args:
        extractor: Its backend is used by one thread only.
        options: Bounds of a call.
        metrics: Counts the calls.
    """

    def __init__(self, extractor: Extractor, options: ServeOptions, metrics: Metrics) -> None:
        self._backend, self._max_tokens = extractor.backend, extractor.max_tokens
        self._options, self._metrics = options, metrics
        self._line, self._call = deque[Job](), Call()
        self._changed = asyncio.Event()
        self._thread = _ModelThread()
        self.broken: str | None = None
        """The reason why the model has stopped working."""

    @property
    def waiting(self) -> int:
        """The number of requests in line."""
        return len(self._line)

    def start(self) -> None:
        """Start the model's thread and let it read a first sentence; raises what the model raises."""
        self._thread.start()
        self._thread.submit(lambda: self._predict([PROBE], self._backend.link_threshold, ())).result()

    def stop(self) -> None:
        """End the model's thread after the call it is in."""
        self._thread.stop()

    async def predict(self, job: Job) -> list[Prediction]:
        """Return one prediction for each sentence of the job.

        Raises:
            ExtractionError: The model fails on this job.
            BrokenModelError: The model has stopped working.
        """
        if not job.pending:
            return []
        if self.broken:
            raise BrokenModelError(self.broken)
        self._line.append(job)
        self._changed.set()
        return await job.result

    async def run(self) -> None:
        """Work the line off until cancelled, or until the model has stopped working."""
        try:
            while True:
                await self._fill()
                self._call = self._take()
                if self._call:
                    await self._work()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.broken = f"{type(error).__name__}: {error}"
            logger.exception("the model has stopped working")
            for job in (*(job for job, _ in self._call), *self._line):
                job.fail(BrokenModelError(self.broken))
            self._line.clear()

    async def _fill(self) -> None:
        """Wait until a call is full, or the first request has waited `max_wait_ms` for others."""
        while True:
            self._line = deque(job for job in self._line if not job.result.done())  # without those that were given up
            full = sum(len(job.pending) for job in self._line) >= self._options.max_batch
            oldest = min((job.submitted for job in self._line), default=None)
            left = None if oldest is None else oldest + self._options.max_wait_ms / 1000 - time.monotonic()
            if full or (left is not None and left <= 0) or sum(j.subwords for j in self._line) >= self._max_tokens:
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    def _take(self) -> Call:
        call, subwords = Call(), self._max_tokens
        while self._line and len(call) < self._options.max_batch:
            job = self._line[0]
            subwords -= subwords_of(job.pending[0])
            if call and subwords < 0:
                break
            call.append((job, job.take()))
            self._line.popleft()
            if job.pending:
                self._line.append(job)
        return call

    async def _work(self) -> None:
        self._metrics.batch_documents.observe(len(self._call))
        self._metrics.batch_words.observe(sum(len(example.words) for _, example in self._call))
        try:
            await self._read(self._call)
        except Cancelled:
            pass  # every request of the call was given up
        except Exception:
            jobs = list(dict.fromkeys(job for job, _ in self._call))
            logger.exception("a call of the model failed; its %d requests are read one by one", len(jobs))
            self._metrics.failed_calls.inc()
            for job in jobs:
                try:
                    await self._read([(owner, example) for owner, example in self._call if owner is job])
                except Cancelled:
                    pass
                except Exception as error:
                    await self._in_thread([PROBE], self._backend.link_threshold)  # raises if the model is broken
                    job.fail(ExtractionError(f"{type(error).__name__}: {error}"))
        self._call = []

    async def _read(self, call: Call) -> None:
        began, jobs = time.perf_counter(), {job for job, _ in call}
        found = await self._in_thread([example for _, example in call], min(job.lowest_link for job in jobs), jobs)
        for job in jobs:
            job.computing += time.perf_counter() - began
        for (job, _), prediction in zip(call, found, strict=True):
            job.add(prediction)

    async def _in_thread(
        self, examples: Sequence[Example], link_threshold: float, jobs: Collection[Job] = ()
    ) -> list[Prediction]:
        return await asyncio.wrap_future(self._thread.submit(lambda: self._predict(examples, link_threshold, jobs)))

    def _predict(self, examples: Sequence[Example], link_threshold: float, jobs: Collection[Job]) -> list[Prediction]:
        """Predict, until all jobs (if any) are given up: the model looks between portions of its work."""
        with cancel_when(lambda: bool(jobs) and all(job.result.done() for job in jobs)):
            return list(self._backend.predict(examples, link_threshold, self._max_tokens))


class _ModelThread(threading.Thread):
    """A daemon thread that runs functions one after another: one that hangs does not keep the process alive."""

    def __init__(self) -> None:
        super().__init__(name="model", daemon=True)
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Run the function after those before it."""
        future: Future[Any] = Future()
        self._calls.put((future, function))
        return future

    def stop(self) -> None:
        """End the thread after the functions so far."""
        self._calls.put(None)

    def run(self) -> None:
        """Run the submitted calls until the thread is stopped; see `threading.Thread`."""
        while item := self._calls.get():
            future, function = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)


def subwords_of(example: Example) -> int:
    """Estimate the subwords of a sentence: a word is one at least, and four characters are about one."""
    return max(len(example.words), sum(map(len, example.words)) // 4, 1)
