"""A request's bytes into documents and thresholds, or an answer that names the field at fault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor, Thresholds
from iter_lightning.extraction.serving.failures import ApiError
from iter_lightning.extraction.serving.options import ServeOptions
from iter_lightning.extraction.serving.schemas import (
    REQUEST,
    TAGS,
    DocumentsRequest,
    TextDocument,
    TextRequest,
    TextsRequest,
    WordsDocument,
)

if TYPE_CHECKING:
    from fastapi import Request

SHOWN = 3
"""Faults told of one request."""
MOST_FAULTS = 1000
"""With their places: each of them takes a kilobyte, and a body of a megabyte can hold half a million."""
_LONGEST = 2000
"""Characters of a message: names that a request holds may be as long as its body."""


@dataclass(frozen=True)
class Order:
    """What a request asks for."""

    documents: list[Document]
    rules: Thresholds


async def read_body(request: Request, limit: int) -> bytes:
    """The body, which is never held past `limit` bytes.

    Raises:
        ApiError: a body that is larger, whatever it declares, or declared as something else than plain JSON.
        ClientDisconnect: the client went away.
    """
    _check_type(request)
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else 0
    body = bytearray()
    if size <= limit:
        async for chunk in request.stream():
            size = len(body) + len(chunk)
            if size > limit:
                break
            body += chunk
    if size > limit:
        # the server drops the rest as it comes: closing now would take this answer from a client that still sends
        raise ApiError("body_too_large", f"the body is larger than {limit} bytes")
    return bytes(body)


def _check_type(request: Request) -> None:
    declared = Message()
    declared["content-type"] = request.headers.get("content-type", "none/none")
    charset = declared.get_content_charset("utf-8")
    if declared.get_content_type() != "application/json" or charset not in ("utf-8", "utf8", "us-ascii"):
        found = request.headers.get("content-type")
        raise ApiError("unsupported_media_type", f"content-type: expected application/json, found {found!r}")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise ApiError("unsupported_media_type", f"content-encoding: expected none, found {encoding!r}")


def parse(body: bytes, extractor: Extractor, options: ServeOptions) -> Order:
    """What the body asks for; its documents are not split yet.

    Raises:
        ApiError: a body that is no JSON or not of the schema, or past a limit.
    """
    try:
        request = REQUEST.validate_json(body)
    except ValidationError as error:
        raise _told(error) from None
    link = options.link_threshold if request.link_threshold is None else request.link_threshold
    try:
        rules = Thresholds.of(extractor.backend, link, request.thresholds)
    except ConfigError as error:
        raise _invalid(str(error)) from None
    _check_least(request, rules, options.least_link_threshold)
    return Order(_documents(request, extractor, options), rules)


def _check_least(request: TextRequest | TextsRequest | DocumentsRequest, rules: Thresholds, least: float) -> None:
    named = {f"thresholds.{kind}": p for kind, p in (request.thresholds or {}).items() if kind in rules.relation}
    if request.link_threshold is not None and rules.relation:
        named["link_threshold"] = request.link_threshold
    for name, value in named.items():
        if value < least:
            message = f"{name}: {value:g} is below {least:g}, the lowest this server takes for a relation"
            raise _invalid(message)


def check_units(documents: Iterable[Document], context: str, most: int) -> None:
    """Refuse what would keep the model from all others for long.

    Raises:
        ApiError: a sentence, or a document where that is the context, of more than `most` characters.
    """
    for document in documents:
        for first, last in document.units(context):
            start, end = document.words[first][0], document.words[last - 1][1]
            if end - start > most:
                what = f"a {context} of {end - start} characters from character {start} on"
                name = f"document {document.id!r}: " if document.id else ""
                raise ApiError("text_too_long", f"{name}{what}, the model reads {most} at once")


def _documents(
    request: TextRequest | TextsRequest | DocumentsRequest, extractor: Extractor, options: ServeOptions
) -> list[Document]:
    field, items = _items(request)
    if len(items) > options.max_texts:
        message = f"{field}: {len(items)} texts, a request may hold {options.max_texts}"
        raise ApiError("too_many_texts", message)
    documents = []
    for number, item in enumerate(items):
        where = field if isinstance(request, TextRequest) else f"{field}[{number}]"
        length = _characters(item)
        if length > options.max_characters:
            message = f"{where}: {length} characters, a text may have {options.max_characters}"
            raise ApiError("text_too_long", message)
        if isinstance(item, WordsDocument):
            documents.append(Document.from_words(item.words, item.id))
            continue
        if extractor.splitter is None and item.text.strip():
            raise ApiError("invalid_request", f"{where}: this server takes documents with words alone, not text")
        documents.append(Document(item.text, id=item.id))
    return documents


def _items(request: TextRequest | TextsRequest | DocumentsRequest) -> tuple[str, list[TextDocument | WordsDocument]]:
    if isinstance(request, DocumentsRequest):
        return "documents", request.documents
    texts = [request.text] if isinstance(request, TextRequest) else request.texts
    field = "text" if isinstance(request, TextRequest) else "texts"
    return field, [TextDocument.model_construct(text=text) for text in texts]


def _characters(item: TextDocument | WordsDocument) -> int:
    if isinstance(item, TextDocument):
        return len(item.text)
    return sum(len(word) + 1 for sentence in item.words for word in sentence)


def _invalid(message: str) -> ApiError:
    return ApiError("invalid_request", message if len(message) <= _LONGEST else f"{message[:_LONGEST]}...")


def _told(error: ValidationError) -> ApiError:
    if error.error_count() > MOST_FAULTS:
        return _invalid(f"body: {error.error_count():,} faults, their places are told of {MOST_FAULTS:,} at most")
    faults = error.errors(include_url=False, include_context=False)
    if faults[0]["type"] == "json_invalid":
        return ApiError("malformed_json", f"body: {faults[0]['msg'][:1].lower()}{faults[0]['msg'][1:]}")
    lines = [_fault(fault["loc"], fault["type"], fault["msg"], fault["input"]) for fault in faults[:SHOWN]]
    if len(faults) > SHOWN:
        lines.append(f"and {len(faults) - SHOWN} more")
    return _invalid("; ".join(lines))


def _fault(place: Iterable[str | int], kind: str, message: str, found: Any) -> str:
    where = _path(place)
    if kind == "extra_forbidden":
        return f"{where}: unknown field"
    if kind == "missing":
        return f"{where}: missing"
    return f"{where}: {message[:1].lower()}{message[1:]}, found {_shown(found)}"


def _path(place: Iterable[str | int]) -> str:
    """`documents[2].words[0]`, as one would write it."""
    path = ""
    for step in place:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step not in TAGS:
            path += f".{step}" if path else step
    return path or "body"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(map(repr, list(value)[:5]))}" if value else "an empty object"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
