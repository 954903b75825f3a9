"""The paths of the server, and its description in OpenAPI."""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.serving.failures import CODES, ApiError, add_handlers
from iter_lightning.extraction.serving.monitoring import CONTENT_TYPE
from iter_lightning.extraction.serving.options import ModelInfo, ServeOptions
from iter_lightning.extraction.serving.schemas import (
    REQUEST,
    ErrorResponse,
    ExtractResponse,
    ModelResponse,
    State,
)
from iter_lightning.extraction.serving.service import Service

_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""The page loads nothing from elsewhere."""
_REFERENCE = "#/components/schemas/{model}"
_SHOWN = ("iter-lightning", "torch", "transformers", "onnxruntime", "spacy", "fastapi")


def create_app(extractor: Extractor, options: ServeOptions | None = None, info: ModelInfo | None = None) -> FastAPI:
    """An ASGI application that serves one extractor; its threads live as long as its lifespan.

    Args:
        extractor: is used by the application's threads alone from then on.
        options: limits.
        info: what answers call the model.
    """
    service = Service(extractor, options or ServeOptions(), info or ModelInfo("model"))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="iter_lightning", version=_versions().get("iter-lightning", "0"), lifespan=lifespan,
        summary="Entities and relations from text", docs_url=None, redoc_url=None,  # they load scripts from a CDN
        description="Offsets count characters (Unicode code points) from 0, ends are exclusive. "
        "A text's words and sentences are the server's, unless a document comes with its own.",
    )  # fmt: skip
    app.state.service = service
    add_handlers(app)
    _add_extract(app, service)
    _add_state(app, service)
    _add_page(app, service)
    _describe(app)
    return app


def _add_extract(app: FastAPI, service: Service) -> None:
    body = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model="ExtractRequest")}}},
    }

    @app.post(
        "/extract", response_model=ExtractResponse, operation_id="extract", summary="Entities and relations of texts",
        tags=["extraction"], openapi_extra={"requestBody": body},
        responses=_failures(400, 408, 413, 415, 422, 429, 500, 503, 504),
    )  # fmt: skip
    async def extract(request: Request) -> Response:
        return await service.answer(request)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get(
        "/health", operation_id="health", summary="Whether the server lives", tags=["state"], responses=_failures(503)
    )
    async def health() -> State:
        if service.batcher.broken:
            raise ApiError("not_ready", f"the model does not work any more: {service.batcher.broken}")
        return State(status="live")

    @app.get(
        "/ready",
        operation_id="ready",
        summary="Whether it takes a request now",
        tags=["state"],
        responses=_failures(503),
    )
    async def ready() -> State:
        if reason := service.why_not_ready():
            raise ApiError("not_ready", reason)
        return State(status="ready")

    @app.get("/model", operation_id="model", summary="The model and the limits", tags=["state"])
    async def model() -> ModelResponse:
        return ModelResponse.model_validate(_model(service))

    @app.get(
        "/metrics", operation_id="metrics", summary="For Prometheus", tags=["state"], response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Its text format"}},
    )  # fmt: skip
    async def metrics() -> Response:
        return Response(service.monitoring.text(), media_type=CONTENT_TYPE)


def _model(service: Service) -> dict[str, Any]:
    extractor, options = service.extractor, asdict(service.options)
    link = options.pop("link_threshold")
    return {
        **asdict(service.info), "schema": extractor.backend.schema.to_dict(), "context": extractor.context,
        "link_threshold": extractor.backend.link_threshold if link is None else link,
        "language": extractor.splitter.language if extractor.splitter else None,
        "limits": options, "versions": _versions(),
    }  # fmt: skip


def _add_page(app: FastAPI, service: Service) -> None:
    from iter_lightning.extraction.page import assets

    css, script = assets()
    here = Path(__file__).parent
    files = {
        "picture.css": (css, "text/css"), "picture.js": (script, "text/javascript"),
        **{name: ((here / name).read_text(encoding="utf-8"), f"text/{kind}")
           for name, kind in (("home.css", "css"), ("home.js", "javascript"))},
    }  # fmt: skip
    home = (here / "home.html").read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(home, headers=_SECURITY)

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in files:
            raise ApiError("not_found", f"no asset {name!r}")
        content, kind = files[name]
        return Response(content, media_type=kind, headers={**_SECURITY, "Cache-Control": "no-cache"})


def _failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of answers that are no result, with an example of each code."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        codes = {code: meaning for code, (of, meaning) in CODES.items() if of == status}
        examples = {code: {"value": {"error": {"code": code, "message": text}}} for code, text in codes.items()}
        described[status] = {
            "model": ErrorResponse, "description": " ".join(codes.values()),
            "content": {"application/json": {"examples": examples}},
        }  # fmt: skip
    if 429 in described:
        wait = {"description": "Seconds until another try may do", "schema": {"type": "integer", "minimum": 1}}
        described[429]["headers"] = {"Retry-After": wait}
    return described


def _describe(app: FastAPI) -> None:
    """Add the request's body to what FastAPI finds by itself: it is read here, bounded, and not by FastAPI."""
    own = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = own()
            request = REQUEST.json_schema(ref_template=_REFERENCE)
            described["components"]["schemas"] |= request.pop("$defs") | {"ExtractRequest": request}
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _SHOWN:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
