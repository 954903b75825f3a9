"""One request of `/extract`: its limits, and its way from documents to an answer."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from iter_lightning.apps.serve.asked import bound
from iter_lightning.apps.serve.batching import Batcher, BrokenModelError, ExtractionError, Job
from iter_lightning.apps.serve.metrics import Metrics
from iter_lightning.apps.serve.options import ServeOptions
from iter_lightning.apps.serve.schemas import ApiError, ExtractRequest, ModelInfo, invalid_request
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.backends import Backend
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
_JSON = re.compile(r'application/json(\s*;\s*charset="?(utf-?8|us-ascii)"?)?', re.IGNORECASE)


class Service:
    """The extractor behind `/extract`. One thread calls the model, another one does all other work that takes long.

    Args:
        extractor: The service's own from then on.
        options: Limits.
        info: The model, for answers.

    Raises:
        ConfigError: The model cannot read a sentence.
    """

    def __init__(self, extractor: Extractor, options: ServeOptions, info: ModelInfo) -> None:
        self.extractor, self.options, self.info = extractor, options, info
        self.open = 0
        self.metrics = Metrics()
        self.batcher = Batcher(extractor, options, self.metrics)
        self.metrics.open_requests.set_function(lambda: self.open)
        self.metrics.queue_length.set_function(lambda: self.batcher.waiting)
        self.metrics.model_working.set_function(lambda: not self.batcher.broken)
        self._worker = ThreadPoolExecutor(1, "texts")
        default = extractor.backend.link_threshold if options.link_threshold is None else options.link_threshold
        self.link_threshold = default
        self._least_link_threshold = min(options.least_link_threshold, default)
        try:
            self.batcher.start()
        except Exception as error:
            raise ConfigError(f"the model cannot read a sentence: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """End the threads, without waiting for what they do."""
        self.batcher.stop()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def check(self, ready: bool) -> None:
        """Raise `ApiError` if the model has stopped working, or (`ready`) no request is accepted now."""
        if self.batcher.broken:
            raise ApiError("not_ready", f"the model has stopped working: {self.batcher.broken}")
        if ready and self.open >= self.options.queue:
            raise ApiError("not_ready", f"{self.open} requests are open, as many as allowed")

    async def answer(self, request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
        """Answer a request by its handler, within the limits of the number, size and time of requests.

        Raises:
            ApiError: There is no result.
        """
        status = 500
        try:
            with self._admitted():
                response = await self._in_time(request, handler)
            status = response.status_code
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            self.metrics.requests.labels(str(status)).inc()
        return response

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self.batcher.broken:
            raise ApiError("model_broken", f"the model has stopped working: {self.batcher.broken}")
        if self.open >= self.options.queue:
            message = f"{self.open} requests are open, as many as allowed; retry in 1 s"
            raise ApiError("queue_full", message, {"Retry-After": "1"})
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    async def _in_time(self, request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
        request = Request(request.scope, limited(request.receive, self.options.max_body_bytes))
        arrived, limit = False, f"{self.options.timeout:g} s"
        try:
            async with asyncio.timeout(self.options.timeout):
                check_headers(request)
                await request.body()  # starlette keeps it for the handler
                arrived = True
                return await unless_gone(request, handler(request))
        except ClientDisconnect:
            return Response(status_code=GONE)
        except RequestValidationError as error:
            raise invalid_request(error.errors()) from None
        except TimeoutError:
            if arrived:
                raise ApiError("timeout", f"no result in {limit}") from None
            raise ApiError("body_timeout", f"the body did not arrive in {limit}", {"Connection": "close"}) from None

    async def extract(self, request: ExtractRequest) -> bytes:
        """Return the JSON of an `ExtractResponse`.

        Raises:
            ApiError: The request is over a limit, or the model fails.
        """
        began = time.perf_counter()
        given, rules, backend = await self._in_thread(self.parse, request)
        documents, examples = list[Document](), list[Example]()
        for portion in grouped(given, lambda document: len(document.text), _SPLIT_AT_ONCE):
            split, found = await self._in_thread(self._split, portion)
            documents += split
            examples += found
        job = Job(examples, rules.lowest_link, backend)
        self.batcher.submit(job)
        try:
            predictions = await asyncio.wrap_future(job.result)
        except ExtractionError as error:
            raise ApiError("extraction_failed", f"the model failed on this request: {error}") from error
        except BrokenModelError as error:
            raise ApiError("model_broken", f"the model has stopped working: {error}") from error
        payload = await self._in_thread(self._render, documents, predictions, rules)
        self.metrics.computing.observe(job.computing)
        self.metrics.waiting.observe(max(time.perf_counter() - began - job.computing, 0.0))
        return payload

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)

    def parse(self, request: ExtractRequest) -> tuple[list[Document], Thresholds, Backend]:
        """Return the documents of a request, which are not split yet, its thresholds, and the backend for its labels.

        Raises:
            ApiError: The request is over a limit, or does not fit the model.
        """
        backend = bound(self.extractor, self.options, request.labels, request.relations).backend
        link = self.link_threshold if request.link_threshold is None else request.link_threshold
        try:
            rules = Thresholds.of(backend, link, request.thresholds)
        except ConfigError as error:
            raise ApiError("invalid_request", str(error)) from None
        if rules.lowest_link < self._least_link_threshold:
            least = f"{self._least_link_threshold:g}, the lowest that this server accepts for a relation"
            raise ApiError("invalid_request", f"link_threshold, thresholds: {rules.lowest_link:g} is below {least}")
        inputs, options = request.inputs(), self.options
        if len(inputs) > options.max_texts:
            raise ApiError("too_many_texts", f"the request holds {len(inputs)} texts, the limit is {options.max_texts}")
        documents = []
        for where, item in inputs:
            length = sum(len(word) + 1 for sentence in item.words or () for word in sentence) + len(item.text or "")
            if length > options.max_characters:
                message = f"{where}: {length} characters, the limit is {options.max_characters}"
                raise ApiError("text_too_long", message)
            if self.extractor.splitter is None and (item.text or "").strip():
                raise ApiError("invalid_request", f"{where}: this server accepts documents with words only, not text")
            try:
                documents.append(Document.from_words(item.words, item.id) if item.words is not None
                                 else Document(item.text or "", id=item.id))  # fmt: skip
            except ValueError as error:
                raise ApiError("invalid_request", f"{where}: {error}") from None
        return documents, rules, backend

    def _split(self, documents: Sequence[Document]) -> tuple[Sequence[Document], list[Example]]:
        split = self.extractor.splitter(documents) if self.extractor.splitter else documents
        context, limit = self.extractor.context, self.options.max_unit_characters
        for document in split:
            for first, last in document.units(context):
                start, end = document.words[first][0], document.words[last - 1][1]
                if end - start > limit:
                    name = f"document {document.id!r}: " if document.id else ""
                    found = f"a {context} of {end - start} characters from character {start} on"
                    raise ApiError("text_too_long", f"{name}{found}, the limit is {limit}")
        return split, [example for document in split for example in document.examples(context)]

    def _render(self, documents: Sequence[Document], predictions: Sequence[Prediction], rules: Thresholds) -> bytes:
        context, rest = self.extractor.context, iter(predictions)
        rendered: list[dict[str, Any]] = []
        for document in documents:
            own = [next(rest) for _ in document.units(context)]
            filled = rules.apply(document.with_predictions(own, context))
            rendered.append(filled.to_dict())
            self.metrics.characters.inc(len(filled.text))
            self.metrics.entities.inc(len(filled.entities))
            self.metrics.relations.inc(len(filled.relations))
        self.metrics.documents.inc(len(documents))
        answer = {"documents": rendered, "model": {"name": self.info.name, "digest": self.info.digest}}
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()


def check_headers(request: Request) -> None:
    """Raise `ApiError` if the body is not declared as plain JSON in UTF-8."""
    kind, encoding = request.headers.get("content-type"), request.headers.get("content-encoding", "identity")
    if not _JSON.fullmatch(kind or ""):
        raise ApiError("unsupported_media_type", f"content-type: expected application/json, found {kind!r}")
    if encoding.lower() != "identity":
        raise ApiError("unsupported_media_type", f"content-encoding: expected none, found {encoding!r}")


def limited(receive: Receive, limit: int) -> Receive:
    """Return an ASGI `receive` that raises `ApiError` when a body is larger than `limit` bytes."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise ApiError("body_too_large", f"the body is larger than {limit} bytes")
        return message

    return counted


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Return the work's result, or cancel it when the client leaves.

    Raises:
        ClientDisconnect: The client left.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    gone.add_done_callback(lambda _: task.cancel())
    try:
        return await task
    except asyncio.CancelledError:
        if gone.done():
            raise ClientDisconnect from None
        raise
    finally:
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
