"""The body of a request, from its bytes to documents, or an error that names the field."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from email.message import Message

from fastapi import Request
from pydantic import ValidationError

from iter_lightning.apps.serve.options import ServeOptions
from iter_lightning.apps.serve.schemas import ApiError, ExtractRequest
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.thresholds import Thresholds

_SHOWN_ERRORS = 3
_MOST_ERRORS = 1000
"""Errors whose places are collected: each takes a kilobyte, and a body of a megabyte can hold half a million."""
_LONGEST_MESSAGE = 2000


async def read_body(request: Request, limit: int) -> bytes:
    """Read the body, and never more than `limit` bytes of it.

    Raises:
        ApiError: The body is larger, or not declared as plain JSON.
        ClientDisconnect: The client left.
    """
    declared = Message()
    declared["content-type"] = request.headers.get("content-type", "none/none")
    charset = declared.get_content_charset("utf-8")
    if declared.get_content_type() != "application/json" or charset not in ("utf-8", "utf8", "us-ascii"):
        found = request.headers.get("content-type")
        raise ApiError("unsupported_media_type", f"content-type: expected application/json, found {found!r}")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise ApiError("unsupported_media_type", f"content-encoding: expected none, found {encoding!r}")
    length = request.headers.get("content-length", "")
    too_large = ApiError("body_too_large", f"the body is larger than {limit} bytes")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limit:
            raise too_large
        body += chunk
    return bytes(body)


def parse(body: bytes, extractor: Extractor, options: ServeOptions) -> tuple[list[Document], Thresholds]:
    """Return the documents of a request, which are not split yet, and its thresholds.

    Raises:
        ApiError: The body is not JSON, does not match the schema, or is over a limit.
    """
    try:
        request = ExtractRequest.model_validate_json(body)
        link = options.link_threshold if request.link_threshold is None else request.link_threshold
        rules = Thresholds.of(extractor.backend, link, request.thresholds)
    except ValidationError as error:
        raise _described(error) from None
    except ConfigError as error:
        raise _invalid(str(error)) from None
    default = extractor.backend.link_threshold if options.link_threshold is None else options.link_threshold
    if rules.lowest_link < min(options.least_link_threshold, default):
        least = f"{options.least_link_threshold:g}, the lowest that this server accepts for a relation"
        raise _invalid(f"link_threshold, thresholds: {rules.lowest_link:g} is below {least}")
    inputs = request.inputs()
    if len(inputs) > options.max_texts:
        raise ApiError("too_many_texts", f"the request holds {len(inputs)} texts, the limit is {options.max_texts}")
    documents = []
    for where, item in inputs:
        length = sum(len(word) + 1 for sentence in item.words or () for word in sentence) + len(item.text or "")
        if length > options.max_characters:
            message = f"{where}: {length} characters, the limit is {options.max_characters}"
            raise ApiError("text_too_long", message)
        if extractor.splitter is None and (item.text or "").strip():
            raise _invalid(f"{where}: this server accepts documents with words only, not text")
        documents.append(Document(item.text or "", id=item.id) if item.words is None
                         else Document.from_words(item.words, item.id))  # fmt: skip
    return documents, rules


def check_units(document: Document, context: str, limit: int) -> None:
    """Refuse a sentence, or a document in that context, that would occupy the model for long.

    Raises:
        ApiError: It has more than `limit` characters.
    """
    for first, last in document.units(context):
        start, end = document.words[first][0], document.words[last - 1][1]
        if end - start > limit:
            name = f"document {document.id!r}: " if document.id else ""
            found = f"a {context} of {end - start} characters from character {start} on"
            raise ApiError("text_too_long", f"{name}{found}, the limit is {limit}")


def _invalid(message: str) -> ApiError:
    short = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."
    return ApiError("invalid_request", short)


def _described(error: ValidationError) -> ApiError:
    """Name the first errors of a body, each with its place and the value found."""
    if error.error_count() > _MOST_ERRORS:
        return _invalid(f"body: {error.error_count():,} errors")
    errors = error.errors(include_url=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return ApiError("malformed_json", f"body: {errors[0]['msg']}")
    lines = [f"{_path(e['loc'])}: {e['msg']}, found {reprlib.repr(e['input'])}" for e in errors[:_SHOWN_ERRORS]]
    if len(errors) > _SHOWN_ERRORS:
        lines.append(f"and {len(errors) - _SHOWN_ERRORS} more")
    return _invalid("; ".join(lines))


def _path(place: Iterable[str | int]) -> str:
    """Write a place as `documents[2].words[0]`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return "".join(steps).removeprefix(".") or "body"
