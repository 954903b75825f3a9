"""Answers that are no result: a status, a code for programs, a message for people."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

CODES: Mapping[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is no JSON, or not UTF-8, or holds half of a surrogate pair."),
    "not_found": (404, "No such path."),
    "method_not_allowed": (405, "The path is there, the method is not."),
    "body_timeout": (408, "The body did not arrive in time."),
    "body_too_large": (413, "More bytes than the server takes."),
    "too_many_texts": (413, "More texts than a request may hold."),
    "text_too_long": (413, "A text, or a sentence, of more characters than the server takes."),
    "unsupported_media_type": (415, "The body is not declared as application/json in UTF-8 without compression."),
    "invalid_request": (422, "A field is missing, unknown, or holds what it cannot; the message names it."),
    "queue_full": (429, "The server has its hands full; Retry-After says when to come back."),
    "extraction_failed": (500, "The model failed on this request."),
    "internal_error": (500, "A fault of the server."),
    "model_broken": (500, "The model does not work any more; the server must be started anew."),
    "not_ready": (503, "The server is starting or stopping, or the model does not work."),
    "timeout": (504, "The result was not ready in time; work not begun was dropped."),
}
"""Code -> status and meaning."""


class ApiError(Exception):
    """An answer `{"error": {"code", "message"}}` with the status of its code."""

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = CODES[code][0]
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """As it is sent."""
        content = {"error": {"code": self.code, "message": str(self)}}
        return JSONResponse(content, status_code=self.status, headers=self.headers)


def add_handlers(app: FastAPI) -> None:
    """Make every answer that is no result one of those above."""

    async def told(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return error.response()

    async def of_routing(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "internal_error")
        message = f"{request.method} {request.url.path}: {HTTPStatus(error.status_code).phrase.lower()}"
        return ApiError(code, message, error.headers).response()

    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return ApiError("internal_error", "a fault of the server; its log has more").response()

    app.add_exception_handler(ApiError, told)
    app.add_exception_handler(HTTPException, of_routing)
    app.add_exception_handler(Exception, unforeseen)
