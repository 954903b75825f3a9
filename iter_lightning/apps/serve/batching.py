"""Dynamic batching: one thread owns the model, and the sentences of many requests share its calls.

A call takes sentences from the requests in line, one from each in turn, until it holds `max_batch` sentences or about
`max_tokens` subwords. Long requests therefore do not hold up short ones. The requests of a call ask for the same types;
after a call, requests that ask for other types come next.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import replace

from iter_lightning.apps.serve.metrics import Metrics
from iter_lightning.apps.serve.options import ServeOptions
from iter_lightning.cancellation import Cancelled, cancel_when
from iter_lightning.extraction.backends import Backend
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
    """The sentences of one request and the backend that predicts the types it asks for.

    Relations of probability `lowest_link` or less are dropped. Cancelling `result` stops the work on it.
    """

    def __init__(self, examples: Iterable[Example], lowest_link: float, backend: Backend) -> None:
        self.pending, self.lowest_link, self.backend = deque(examples), lowest_link, backend
        self.submitted, self.computing = time.monotonic(), 0.0
        self.result: Future[list[Prediction]] = Future()
        self._missing, self._found = len(self.pending), list[Prediction]()

    def add(self, prediction: Prediction) -> None:
        """Add the prediction for the next sentence; the last one completes the result."""
        kept = [number for number, score in enumerate(prediction.relation_scores) if score > self.lowest_link]
        if len(kept) < len(prediction.relations):  # another request of the same call asked for more
            scores = tuple(prediction.relation_scores[number] for number in kept)
            relations = tuple(prediction.relations[number] for number in kept)
            prediction = replace(prediction, relations=relations, relation_scores=scores)
        self._found.append(prediction)
        if len(self._found) == self._missing:
            with suppress(InvalidStateError):  # it was given up
                self.result.set_result(self._found)

    def fail(self, error: Exception) -> None:
        """Set an error as the result, unless there is one already."""
        with suppress(InvalidStateError):
            self.result.set_exception(error)


Call = list[tuple[Job, Example]]


class Batcher:
    """The requests in line and the thread that calls the model for them.

    It is a daemon thread: a model that hangs does not keep the process alive.

    Args:
        extractor: Its backend reads a sentence to find out whether the model works.
        options: Bounds of a call.
        metrics: Counts the calls.
    """

    def __init__(self, extractor: Extractor, options: ServeOptions, metrics: Metrics) -> None:
        self._backend, self._max_tokens = extractor.backend, extractor.max_tokens
        self._options, self._metrics = options, metrics
        self._line, self._call = deque[Job](), Call()
        self._changed = threading.Condition()
        self._stopped = False
        self._started: Future[None] = Future()
        self.broken: str | None = None
        """The reason why the model has stopped working."""

    @property
    def waiting(self) -> int:
        """The number of requests in line."""
        return len(self._line)

    def start(self) -> None:
        """Start the thread and let the model read a first sentence; raises what the model raises."""
        threading.Thread(target=self._run, name="model", daemon=True).start()
        self._started.result()

    def stop(self) -> None:
        """End the thread after the call it is in."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def submit(self, job: Job) -> None:
        """Put a job in line; its result is one prediction per sentence, `ExtractionError` or `BrokenModelError`."""
        if not job.pending:
            job.result.set_result([])
            return
        with self._changed:
            if self.broken:
                job.fail(BrokenModelError(self.broken))
            else:
                self._line.append(job)
                self._changed.notify()

    def _run(self) -> None:
        try:
            self._probe()
            self._started.set_result(None)
            while not self._stopped:
                self._call = self._next_call()
                self._work()
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
                return
            logger.exception("the model has stopped working")
            with self._changed:
                self.broken = f"{type(error).__name__}: {error}"
                for job in (*(job for job, _ in self._call), *self._line):
                    job.fail(BrokenModelError(self.broken))

    def _next_call(self) -> Call:
        """Wait until a call is full, or the first request has waited `max_wait_ms` for others."""
        with self._changed:
            while not self._stopped:
                self._line = deque(job for job in self._line if not job.result.done())  # without those given up
                left = None
                if self._line:
                    oldest = min(job.submitted for job in self._line)
                    left = oldest + self._options.max_wait_ms / 1000 - time.monotonic()
                    if left <= 0 or self._is_full():
                        return self._take()
                self._changed.wait(left)
        return []

    def _is_full(self) -> bool:
        backend = self._line[0].backend
        pending = [example for job in self._line if job.backend is backend for example in job.pending]
        return len(pending) >= self._options.max_batch or sum(map(subwords_of, pending)) >= self._max_tokens

    def _take(self) -> Call:
        """Take a call of sentences for one backend out of the line. Its requests then stand behind all others."""
        call, subwords, backend = Call(), self._max_tokens, self._line[0].backend
        same = deque(job for job in self._line if job.backend is backend)
        others = [job for job in self._line if job.backend is not backend]
        while same and len(call) < self._options.max_batch:
            job = same[0]
            subwords -= subwords_of(job.pending[0])
            if call and subwords < 0:
                break
            call.append((job, job.pending.popleft()))
            same.popleft()
            if job.pending:
                same.append(job)
        self._line = deque([*others, *same])
        return call

    def _work(self) -> None:
        if not self._call:
            return
        self._metrics.batch_documents.observe(len(self._call))
        self._metrics.batch_words.observe(sum(len(example.words) for _, example in self._call))
        try:
            self._read(self._call)
        except Exception:
            jobs = list(dict.fromkeys(job for job, _ in self._call))
            logger.exception("a call of the model failed; its %d requests are read one by one", len(jobs))
            self._metrics.failed_calls.inc()
            for job in jobs:
                try:
                    self._read([(owner, example) for owner, example in self._call if owner is job])
                except Exception as error:
                    self._probe()  # raises if the model is broken
                    job.fail(ExtractionError(f"{type(error).__name__}: {error}"))
        self._call = []

    def _read(self, call: Call) -> None:
        began, jobs = time.perf_counter(), {job for job, _ in call}
        lowest = min(job.lowest_link for job in jobs)
        with suppress(Cancelled):  # every request of the call was given up
            predictions = self._predict(call[0][0].backend, [example for _, example in call], lowest, jobs)
            for job in jobs:
                job.computing += time.perf_counter() - began
            for (job, _), prediction in zip(call, predictions, strict=True):
                job.add(prediction)

    def _probe(self) -> None:
        self._predict(self._backend, [PROBE], self._backend.link_threshold)

    def _predict(
        self, backend: Backend, examples: Sequence[Example], link_threshold: float, jobs: Collection[Job] = ()
    ) -> list[Prediction]:
        """Predict, until all jobs (if any) are given up: the model looks between portions of its work."""
        with cancel_when(lambda: bool(jobs) and all(job.result.done() for job in jobs)):
            return list(backend.predict(examples, link_threshold, self._max_tokens))


def subwords_of(example: Example) -> int:
    """Estimate the subwords of a sentence: a word is one at least, and four characters are about one."""
    return max(len(example.words), sum(map(len, example.words)) // 4, 1)
