"""One request of `/extract`, from its bytes to its answer; whatever takes long runs outside the event loop."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from iter_lightning.apps.serve.batching import Batcher, BrokenModelError, ExtractionError, Job
from iter_lightning.apps.serve.metrics import Metrics
from iter_lightning.apps.serve.options import ModelInfo, ServeOptions
from iter_lightning.apps.serve.parsing import check_units, parse, read_body
from iter_lightning.apps.serve.schemas import ApiError
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.grouping import grouped
from iter_lightning.extraction.thresholds import Thresholds
from iter_lightning.types import Example, Prediction

T = TypeVar("T")
GONE = 499
"""The status that nginx counts for a client that left."""
_SPLIT_AT_ONCE = 20_000
"""Characters split at a time, so that long texts do not hold up short ones."""
_LONGEST_RETRY = 60


class Service:
    """The extractor behind `/extract`.

    Args:
        extractor: Its splitter is used by one thread, its backend by another.
        options: Limits.
        info: The model, for answers.

    Raises:
        ConfigError: The model cannot read a sentence.
    """

    def __init__(self, extractor: Extractor, options: ServeOptions, info: ModelInfo) -> None:
        self.extractor, self.options, self.info = extractor, options, info
        self.open = 0
        self.metrics = Metrics({
            "iter_open_requests": ("Requests being read, waiting or computed", lambda: self.open),
            "iter_queue_length": ("Requests in line for the model", lambda: self.batcher.waiting),
            "iter_model_working": ("1 while the model works", lambda: not self.batcher.broken),
        })  # fmt: skip
        self.batcher = Batcher(extractor, options, self.metrics)
        self._splitting = ThreadPoolExecutor(1, "splitting")
        self._converting = ThreadPoolExecutor(2, "converting")
        self._pace = 0.0
        """Recent seconds of an answer for each open request, for Retry-After."""
        self._origin = _json({"name": info.name, "digest": info.digest})
        try:
            self.batcher.start()
        except Exception as error:
            raise ConfigError(f"the model cannot read a sentence: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """End the threads, without waiting for what they do."""
        self.batcher.stop()
        for pool in (self._splitting, self._converting):
            pool.shutdown(wait=False, cancel_futures=True)

    def check_working(self) -> None:
        """Raise `ApiError` if the model has stopped working."""
        if self.batcher.broken:
            raise ApiError("not_ready", f"the model has stopped working: {self.batcher.broken}")

    def check_ready(self) -> None:
        """Raise `ApiError` if the server does not accept a request now."""
        self.check_working()
        if self.open >= self.options.queue:
            raise ApiError("not_ready", f"{self.open} requests are open, as many as allowed")

    async def answer(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            ApiError: There is no result.
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
            return Response(status_code=GONE)
        finally:
            self.metrics.requests.labels(str(status)).inc()

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self.batcher.broken:
            raise ApiError("model_broken", f"the model has stopped working: {self.batcher.broken}")
        if self.open >= self.options.queue:
            wait = min(max(math.ceil(self._pace * self.open), 1), _LONGEST_RETRY)
            message = f"{self.open} requests are open, as many as allowed; retry in {wait} s"
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
        given, rules = await _in(self._converting, parse, body, self.extractor, self.options)
        documents, examples = list[Document](), list[Example]()
        for portion in grouped(given, lambda document: len(document.text), _SPLIT_AT_ONCE):
            split, found = await _in(self._splitting, self._split, portion)
            documents += split
            examples += found
        job = Job(examples, rules.lowest_link)
        try:
            predictions = await self.batcher.predict(job)
        except ExtractionError as error:
            raise ApiError("extraction_failed", f"the model failed on this request: {error}") from error
        except BrokenModelError as error:
            raise ApiError("model_broken", f"the model has stopped working: {error}") from error
        payload = await _in(self._converting, self._render, documents, predictions, rules)
        self.metrics.computing.observe(job.computing)
        self.metrics.waiting.observe(max(time.perf_counter() - began - job.computing, 0.0))
        return payload

    def _split(self, documents: Sequence[Document]) -> tuple[Sequence[Document], list[Example]]:
        split = self.extractor.splitter(documents) if self.extractor.splitter else documents
        for document in split:
            check_units(document, self.extractor.context, self.options.max_unit_characters)
        return split, [example for document in split for example in document.examples(self.extractor.context)]

    def _render(self, documents: Sequence[Document], predictions: Sequence[Prediction], rules: Thresholds) -> bytes:
        context, place = self.extractor.context, 0
        rendered: list[bytes] = []
        for document in documents:
            units = len(document.units(context))
            filled = rules.apply(document.with_predictions(predictions[place : place + units], context))
            place += units
            rendered.append(_json(filled.to_dict()))
            self.metrics.characters.inc(len(filled.text))
            self.metrics.entities.inc(len(filled.entities))
            self.metrics.relations.inc(len(filled.relations))
        self.metrics.documents.inc(len(documents))
        return b'{"documents":[' + b",".join(rendered) + b'],"model":' + self._origin + b"}"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def _in(pool: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the work's result, or cancel it when the client leaves.

    Raises:
        ClientDisconnect: The client left.
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
