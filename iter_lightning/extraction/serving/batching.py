"""One thread owns the model; what many requests ask for shares its calls.

A call takes sentences from the requests in line until it holds `max_batch` documents or about `max_tokens` subwords.
A request that is not through then goes to the end of the line: short ones are not held up by long ones.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from iter_lightning.extraction.extractor import Backend
from iter_lightning.types import Example, Prediction

logger = logging.getLogger(__name__)
PROBE = Example(words=("Ada", "Lovelace", "was", "born", "in", "London", "."))
"""What a model that works can read."""
_CHARACTERS = 4
"""Of a subword, about."""


class BrokenModelError(Exception):
    """The model fails on everything, or its thread has ended."""


class ExtractionError(Exception):
    """The model fails on one request."""


@dataclass(eq=False)
class Job:
    """One request's sentences.

    Args:
        examples: in order.
        owners: the number of each one's document.
        lowest_link: links at or below it are of no use to the request.
    """

    examples: Sequence[Example]
    owners: Sequence[int]
    lowest_link: float
    future: Future[list[Prediction]] = field(default_factory=Future)
    """Gets one prediction an example; cancelling it drops what has not begun."""
    computing: float = 0.0
    """Seconds inside the model's calls."""
    submitted: float = 0.0
    _prices: list[int] = field(init=False)
    _found: list[Prediction] = field(default_factory=list)
    _next: int = 0

    def __post_init__(self) -> None:
        self._prices = [price_of(example) for example in self.examples]

    @property
    def left(self) -> tuple[int, int]:
        """Documents and subwords that have not been taken."""
        return len(set(self.owners[self._next :])), sum(self._prices[self._next :])

    @property
    def complete(self) -> bool:
        """Whether everything has been taken."""
        return self._next == len(self.examples)

    def take(self, documents: int, cost: int, whole: bool) -> Part:
        """The next sentences, of at most so many documents and subwords; one at least where `whole`."""
        first, owners = self._next, set[int]()
        for number in range(first, len(self.examples)):
            price = self._prices[number]
            if len(owners | {self.owners[number]}) > documents or (price > cost and not (whole and not owners)):
                break
            owners.add(self.owners[number])
            cost -= price
            self._next += 1
        return Part(self, self.examples[first : self._next], len(owners), sum(self._prices[first : self._next]))

    def add(self, predictions: Sequence[Prediction], seconds: float) -> None:
        """What was found in the sentences taken before; settles the future once it is all."""
        self.computing += seconds
        self._found += [_above(prediction, self.lowest_link) for prediction in predictions]
        if len(self._found) == len(self.examples) and self.future.set_running_or_notify_cancel():
            self.future.set_result(self._found)

    def fail(self, error: Exception) -> None:
        """Settle the future so, unless it is settled."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


@dataclass(frozen=True)
class Part:
    """Sentences of one job that are read in one call."""

    job: Job
    examples: Sequence[Example]
    documents: int
    price: int


class Batcher:
    """The line of jobs, and the thread that works it off.

    Args:
        backend: used by that thread alone.
        max_batch: documents a call.
        max_tokens: subwords a batch of the model's, about as many a call.
        max_wait: seconds to wait for company.
        observe: told the documents and words of each call.
        observe_failure: called where a call fails.
    """

    def __init__(
        self, backend: Backend, max_batch: int, max_tokens: int, max_wait: float,
        observe: Callable[[int, int], None], observe_failure: Callable[[], None],
    ) -> None:  # fmt: skip
        self._backend = backend
        self._max_batch, self._max_tokens, self._max_wait = max_batch, max_tokens, max_wait
        self._observe, self._observe_failure = observe, observe_failure
        self._line: deque[Job] = deque()
        self._reading: list[Part] = []
        self._changed = threading.Condition()
        self._closed = False
        self._ready = threading.Event()
        self._ended = threading.Event()
        self.broken: str | None = None
        """Why the model does not work any more."""
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self, timeout: float | None = None) -> bool:
        """Start the thread and wait until the model has read a first sentence; whether it could."""
        self._thread.start()
        self._ready.wait(timeout)
        return self.working

    def close(self, timeout: float | None = None) -> None:
        """End the thread after the call it is in; jobs in line fail."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    @property
    def working(self) -> bool:
        """Whether the model has read its first sentence and has not failed for good since."""
        return self._ready.is_set() and not self._ended.is_set()

    @property
    def waiting(self) -> int:
        """Jobs in line."""
        return len(self._line)

    def submit(self, job: Job) -> Future[list[Prediction]]:
        """Put a job in line.

        Raises:
            BrokenModelError: there is nobody to work on it.
        """
        job.submitted = time.monotonic()
        if not job.examples:
            job.add([], 0.0)
            return job.future
        with self._changed:
            if self._closed or self._ended.is_set():
                raise BrokenModelError(self.broken or "the server is stopping")
            self._line.append(job)
            self._changed.notify_all()
        return job.future

    def _run(self) -> None:
        error: Exception = BrokenModelError("the server is stopping")
        try:
            self._predict([PROBE], self._backend.link_threshold)
            self._ready.set()
            while parts := self._next_parts():
                self._work(parts)
        except BaseException as fault:  # whatever ends the thread, nobody may wait for it any more
            self.broken = f"{type(fault).__name__}: {fault}"
            logger.exception("the model does not work any more")
            error = BrokenModelError(self.broken)
        finally:
            with self._changed:
                self._ended.set()
                left = [*(part.job for part in self._reading), *self._line]
                self._line.clear()
            for job in left:
                job.fail(error)
            self._ready.set()

    def _next_parts(self) -> list[Part]:
        """What the next call reads; nothing once closed."""
        with self._changed:
            while True:
                self._line = deque(job for job in self._line if not job.future.cancelled())
                if self._closed:
                    return []
                if not self._line:
                    self._changed.wait()
                    continue
                left = min(job.submitted for job in self._line) + self._max_wait - time.monotonic()
                if left <= 0 or self._full():
                    return self._take()
                self._changed.wait(left)

    def _full(self) -> bool:
        documents, cost = 0, 0
        for job in self._line:
            more = job.left
            documents, cost = documents + more[0], cost + more[1]
            if documents >= self._max_batch or cost >= self._max_tokens:
                return True
        return False

    def _take(self) -> list[Part]:
        parts: list[Part] = []
        documents, cost = self._max_batch, self._max_tokens
        unfinished: list[Job] = []
        while self._line and documents > 0 and cost > 0:
            part = self._line[0].take(documents, cost, whole=not parts)
            if not part.examples:
                break
            job = self._line.popleft()
            parts.append(part)
            documents -= part.documents
            cost -= part.price
            if not job.complete:
                unfinished.append(job)
        self._line.extend(unfinished)
        return parts

    def _work(self, parts: list[Part]) -> None:
        self._reading = parts
        self._observe(sum(p.documents for p in parts), sum(len(e.words) for p in parts for e in p.examples))
        began = time.perf_counter()
        try:
            found = self._predict(
                [example for part in parts for example in part.examples], min(p.job.lowest_link for p in parts)
            )
        except Exception:
            logger.exception("a call of the model failed; its %d requests are read one by one", len(parts))
            self._observe_failure()
            self._work_one_by_one(parts)
        else:
            seconds = time.perf_counter() - began
            place = 0
            for part in parts:
                part.job.add(found[place : place + len(part.examples)], seconds)
                place += len(part.examples)
        self._reading = []

    def _work_one_by_one(self, parts: list[Part]) -> None:
        """Find out whose fault it is.

        Raises:
            Exception: the model's, for the probe: it is nobody's.
        """
        for part in parts:
            began = time.perf_counter()
            try:
                found = self._predict(part.examples, part.job.lowest_link)
            except Exception as error:
                self._predict([PROBE], self._backend.link_threshold)
                with self._changed:
                    self._line = deque(job for job in self._line if job is not part.job)
                part.job.fail(ExtractionError(f"{type(error).__name__}: {error}"))
            else:
                part.job.add(found, time.perf_counter() - began)

    def _predict(self, examples: Sequence[Example], link_threshold: float) -> list[Prediction]:
        found = list(self._backend.predict(examples, link_threshold, self._max_tokens))
        if len(found) != len(examples):
            raise RuntimeError(f"{len(found)} predictions of {len(examples)} sentences")
        return found


def price_of(example: Example) -> int:
    """Subwords of a sentence, about."""
    return max(len(example.words), sum(map(len, example.words)) // _CHARACTERS, 1)


def _above(prediction: Prediction, lowest_link: float) -> Prediction:
    """Without the links that another request of the same call has asked for."""
    kept = [number for number, score in enumerate(prediction.relation_scores) if score > lowest_link]
    if len(kept) == len(prediction.relations):
        return prediction
    return replace(
        prediction, relations=tuple(prediction.relations[number] for number in kept),
        relation_scores=tuple(prediction.relation_scores[number] for number in kept),
    )  # fmt: skip
