"""From a request to its answer: admitted, read, parsed, split, computed, rendered, each where it blocks nobody."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Response
from starlette.requests import ClientDisconnect

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor, Thresholds
from iter_lightning.extraction.grouping import grouped
from iter_lightning.extraction.serving.batching import Batcher, BrokenModelError, ExtractionError, Job
from iter_lightning.extraction.serving.failures import ApiError
from iter_lightning.extraction.serving.monitoring import Monitoring
from iter_lightning.extraction.serving.options import ModelInfo, ServeOptions
from iter_lightning.extraction.serving.parsing import check_units, parse, read_body
from iter_lightning.types import Example, Prediction

if TYPE_CHECKING:
    from fastapi import Request

T = TypeVar("T")
GONE = 499
"""The status that nginx counts for a client that did not wait."""
_PORTION = 20_000
"""Characters split at a time, so that long texts do not hold up short ones."""
_LONGEST_RETRY = 60


class Service:
    """What `/extract` does.

    Args:
        extractor: its splitter is used by one thread, its backend by another.
        options: limits.
        info: of the model, for answers.
    """

    def __init__(self, extractor: Extractor, options: ServeOptions, info: ModelInfo) -> None:
        self.extractor, self.options, self.info = extractor, options, info
        self.open = 0
        self.stopping = False
        self.monitoring = Monitoring(
            lambda: self.open, lambda: self.batcher.waiting, lambda: self.batcher.working and not self.stopping
        )
        self.batcher = Batcher(
            extractor.backend, options.max_batch, extractor.max_tokens, options.max_wait_ms / 1000,
            self.monitoring.call, self.monitoring.failed_calls.inc,
        )  # fmt: skip
        self._splitting = ThreadPoolExecutor(1, "splitting")
        self._converting = ThreadPoolExecutor(2, "converting")
        self._pace = 0.0
        """Seconds that an answer took of late, over the requests that were open: for Retry-After."""
        self._origin = _json({"name": info.name, "digest": info.digest})

    async def start(self) -> None:
        """Wait until the model has read a first sentence.

        Raises:
            ConfigError: it cannot.
        """
        if not await asyncio.to_thread(self.batcher.start):
            raise ConfigError(f"the model cannot read a sentence: {self.batcher.broken}")

    async def close(self) -> None:
        """End the threads."""
        self.stopping = True
        await asyncio.to_thread(self.batcher.close, self.options.timeout)
        for pool in (self._splitting, self._converting):
            pool.shutdown(wait=False, cancel_futures=True)

    def why_not_ready(self) -> str | None:
        """What keeps the server from taking a request now."""
        if self.stopping:
            return "the server is stopping"
        if self.batcher.broken:
            return f"the model does not work any more: {self.batcher.broken}"
        if not self.batcher.working:
            return "the model is not ready"
        return f"{self.open} requests are open, as many as allowed" if self.open >= self.options.queue else None

    async def answer(self, request: Request) -> Response:
        """The answer of `/extract`.

        Raises:
            ApiError: every other one.
        """
        status = 500
        try:
            with self._admitted():
                payload = await self._in_time(request)
            status = 200
            return Response(payload, media_type="application/json")
        except ApiError as error:
            status = error.status
            raise
        except ClientDisconnect:
            status = GONE
            return Response(status_code=GONE)  # nobody reads it
        finally:
            self.monitoring.requests.labels(str(status)).inc()

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self.batcher.broken:
            raise ApiError("model_broken", f"the model does not work any more: {self.batcher.broken}")
        if self.open >= self.options.queue:
            wait = min(max(math.ceil(self._pace * self.open), 1), _LONGEST_RETRY)
            message = f"{self.open} requests are open, as many as allowed; come back in {wait} s"
            raise ApiError("queue_full", message, {"Retry-After": str(wait)})
        self.open += 1
        began, others = time.monotonic(), self.open
        try:
            yield
            self._pace += 0.1 * ((time.monotonic() - began) / others - self._pace)
        finally:
            self.open -= 1

    async def _in_time(self, request: Request) -> bytes:
        began, body = time.perf_counter(), None
        try:
            async with asyncio.timeout(self.options.timeout):
                body = await read_body(request, self.options.max_body_bytes)
                return await _unless_gone(request, self._extract(body, began))
        except TimeoutError:
            limit = f"{self.options.timeout:g} s"
            if body is None:
                raise ApiError("body_timeout", f"the body did not arrive in {limit}", {"Connection": "close"}) from None
            raise ApiError("timeout", f"no result in {limit}") from None

    async def _extract(self, body: bytes, began: float) -> bytes:
        order = await _in(self._converting, parse, body, self.extractor, self.options)
        documents: list[Document] = []
        examples: list[Example] = []
        owners: list[int] = []
        for portion in grouped(order.documents, lambda document: len(document.text), _PORTION):
            split, found = await _in(self._splitting, self._split, portion)
            owners += [len(documents) + number for number, units in enumerate(found) for _ in units]
            examples += [example for units in found for example in units]
            documents += split
        job = Job(examples, owners, order.rules.lowest_link)
        predictions = await self._computed(job)
        payload = await _in(self._converting, self._rendered, documents, predictions, order.rules)
        self.monitoring.computing.observe(job.computing)
        self.monitoring.waiting.observe(max(time.perf_counter() - began - job.computing, 0.0))
        return payload

    def _split(self, documents: Sequence[Document]) -> tuple[list[Document], list[list[Example]]]:
        splitter = self.extractor.splitter
        split = list(documents) if splitter is None else splitter(documents)
        check_units(split, self.extractor.context, self.options.max_unit_characters)
        return split, [document.examples(self.extractor.context) for document in split]

    async def _computed(self, job: Job) -> list[Prediction]:
        try:
            return await asyncio.wrap_future(self.batcher.submit(job))
        except ExtractionError as error:
            raise ApiError("extraction_failed", f"the model failed on this request: {error}") from error
        except BrokenModelError as error:
            if self.batcher.broken:
                raise ApiError("model_broken", f"the model does not work any more: {error}") from error
            raise ApiError("not_ready", str(error)) from error

    def _rendered(self, documents: Sequence[Document], predictions: Sequence[Prediction], rules: Thresholds) -> bytes:
        context, place = self.extractor.context, 0
        found: list[bytes] = []
        for document in documents:
            units = len(document.units(context))
            filled = rules.apply(document.with_predictions(predictions[place : place + units], context))
            place += units
            found.append(_json(filled.to_dict()))
            self.monitoring.characters.inc(len(filled.text))
            self.monitoring.entities.inc(len(filled.entities))
            self.monitoring.relations.inc(len(filled.relations))
        self.monitoring.documents.inc(len(documents))
        return b'{"documents":[' + b",".join(found) + b'],"model":' + self._origin + b"}"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def _in(pool: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; it is given up when the client goes.

    Raises:
        ClientDisconnect: it went.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
