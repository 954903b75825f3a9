"""The paths of the server."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from iter_lightning.apps.serve import schemas
from iter_lightning.apps.serve.connections import quiet_loop
from iter_lightning.apps.serve.options import ServeOptions
from iter_lightning.apps.serve.schemas import ERRORS, ApiError, ModelInfo
from iter_lightning.apps.serve.service import Service
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.page import assets

_SECURITY = {  # the page loads nothing from elsewhere
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_CODE_OF_STATUS = {400: "malformed_json", 404: "not_found", 405: "method_not_allowed"}
"""Codes of the errors that FastAPI raises itself."""
_DISTRIBUTIONS = ("iter-lightning", "torch", "transformers", "onnxruntime", "spacy", "fastapi")


def create_app(extractor: Extractor, options: ServeOptions | None = None, info: ModelInfo | None = None) -> FastAPI:
    """Return an ASGI application that serves one extractor. Its threads end with its lifespan.

    Args:
        extractor: The application's own from then on.
        options: Limits.
        info: The model, as answers describe it.

    Raises:
        ConfigError: The model cannot read a sentence.
    """
    service = Service(extractor, options or ServeOptions(), info or ModelInfo(name="model"))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        quiet_loop(asyncio.get_running_loop())
        yield
        service.close()

    app = FastAPI(
        title="iter_lightning", version=_versions().get("iter-lightning", "0"), lifespan=lifespan,
        summary="Entities and relations from text", docs_url=None, redoc_url=None,  # they load scripts from a CDN
        description="Offsets count characters (Unicode code points) from 0, ends are exclusive.",
        exception_handlers={HTTPException: _http_error, Exception: _internal_error},
    )  # fmt: skip
    app.state.service = service
    _add_extract(app, service)
    _add_state(app, service)
    _add_page(app)
    return app


async def _http_error(request: Request, error: Any) -> JSONResponse:
    if not isinstance(error, ApiError):
        message = f"{request.method} {request.url.path}: {HTTPStatus(error.status_code).phrase.lower()}"
        if error.status_code == HTTPStatus.BAD_REQUEST:
            message = f"body: {error.detail}"
        error = ApiError(_CODE_OF_STATUS.get(error.status_code, "internal_error"), message, error.headers)
    content = {"error": {"code": error.code, "message": error.detail}}
    return JSONResponse(content, status_code=error.status_code, headers=error.headers)


async def _internal_error(request: Request, error: Exception) -> JSONResponse:
    return await _http_error(request, ApiError("internal_error", "the server failed; its log has more"))


def _add_extract(app: FastAPI, service: Service) -> None:
    class LimitedRoute(APIRoute):
        """A route that FastAPI answers within the limits of the service."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def answer(request: Request) -> Response:
                return await service.answer(request, handler)

            return answer

    router = APIRouter(route_class=LimitedRoute)

    @router.post(
        "/extract", operation_id="extract", summary="Entities and relations of texts",
        response_model=schemas.ExtractResponse, responses=_errors(400, 408, 413, 415, 422, 429, 500, 503, 504),
    )  # fmt: skip
    async def extract(request: schemas.ExtractRequest) -> Response:
        return Response(await service.extract(request), media_type="application/json")

    app.include_router(router)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health", operation_id="health", summary="Whether the model works", responses=_errors(503))
    async def health() -> dict[str, str]:
        service.check(ready=False)
        return {"status": "live"}

    @app.get("/ready", operation_id="ready", summary="Whether a request is accepted now", responses=_errors(503))
    async def ready() -> dict[str, str]:
        service.check(ready=True)
        return {"status": "ready"}

    @app.get("/model", operation_id="model", summary="The model and the limits")
    async def model() -> schemas.ModelResponse:
        extractor = service.extractor
        limits = ServeOptions(**service.options.model_dump(include=set(ServeOptions.model_fields)))
        return schemas.ModelResponse(
            **service.info.model_dump(), schema=extractor.schema.to_dict(), open=extractor.backend.open,
            context=extractor.context, link_threshold=service.link_threshold, limits=limits, versions=_versions(),
            language=extractor.splitter.language if extractor.splitter else None,
        )  # fmt: skip

    @app.get("/metrics", operation_id="metrics", summary="Metrics for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    picture_css, picture_js = assets()
    files = {name: Path(__file__).with_name(name).read_text("utf-8") for name in ("home.html", "home.css", "home.js")}
    files |= {"picture.css": picture_css, "picture.js": picture_js}
    kinds = {".css": "text/css", ".js": "text/javascript"}

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(files["home.html"], headers=_SECURITY)

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in files or (kind := kinds.get(Path(name).suffix)) is None:
            raise HTTPException(404)
        return Response(files[name], media_type=kind, headers={**_SECURITY, "Cache-Control": "no-cache"})


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe errors for OpenAPI."""
    return {
        status: {
            "model": schemas.ErrorResponse,
            "description": " ".join(f"`{code}`: {meaning}" for code, (of, meaning) in ERRORS.items() if of == status),
        }
        for status in statuses
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
