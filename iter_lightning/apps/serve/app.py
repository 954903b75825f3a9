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
from starlette.exceptions import HTTPException

from iter_lightning.apps.serve import schemas
from iter_lightning.apps.serve.metrics import CONTENT_TYPE
from iter_lightning.apps.serve.options import ModelInfo, ServeOptions
from iter_lightning.apps.serve.schemas import CODES, ApiError
from iter_lightning.apps.serve.service import Service
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.page import assets

_SECURITY = {  # the page loads nothing from elsewhere
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
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
        batches = asyncio.create_task(service.batcher.run())
        yield
        batches.cancel()
        service.close()

    app = FastAPI(
        title="iter_lightning", version=_versions().get("iter-lightning", "0"), lifespan=lifespan,
        summary="Entities and relations from text", docs_url=None, redoc_url=None,  # they load scripts from a CDN
        description="Offsets count characters (Unicode code points) from 0, ends are exclusive.",
    )  # fmt: skip
    app.state.service = service
    _add_errors(app)
    _add_extract(app, service)
    _add_state(app, service)
    _add_page(app)
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def known(request: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(HTTPException)
    async def of_routing(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "internal_error")
        message = f"{request.method} {request.url.path}: {HTTPStatus(error.status_code).phrase.lower()}"
        return ApiError(code, message, error.headers).response()

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return ApiError("internal_error", "the server failed; its log has more").response()


def _add_extract(app: FastAPI, service: Service) -> None:
    class Route(APIRoute):
        """A route whose body the service reads, within its limits. FastAPI only documents it."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            return service.answer

    router = APIRouter(route_class=Route)

    @router.post(
        "/extract", operation_id="extract", summary="Entities and relations of texts",
        responses=_errors(400, 408, 413, 415, 422, 429, 500, 503, 504),
    )  # fmt: skip
    async def extract(request: schemas.ExtractRequest) -> schemas.ExtractResponse:
        raise AssertionError("`Route` answers these requests")

    app.include_router(router)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health", operation_id="health", summary="Whether the model works", responses=_errors(503))
    async def health() -> dict[str, str]:
        service.check_working()
        return {"status": "live"}

    @app.get("/ready", operation_id="ready", summary="Whether a request is accepted now", responses=_errors(503))
    async def ready() -> dict[str, str]:
        service.check_ready()
        return {"status": "ready"}

    @app.get("/model", operation_id="model", summary="The model and the limits")
    async def model() -> schemas.ModelResponse:
        extractor, link = service.extractor, service.options.link_threshold
        limits = ServeOptions(**service.options.model_dump(include=set(ServeOptions.model_fields)))
        return schemas.ModelResponse(
            **service.info.model_dump(), schema=extractor.backend.schema.to_dict(), context=extractor.context,
            link_threshold=extractor.backend.link_threshold if link is None else link,
            language=extractor.splitter.language if extractor.splitter else None,
            limits=limits, versions=_versions(),
        )  # fmt: skip

    @app.get("/metrics", operation_id="metrics", summary="Metrics for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def _add_page(app: FastAPI) -> None:
    here = Path(__file__).parent
    css, script = assets()
    home_css, home_script, home = (
        (here / f"home.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html")
    )  # fmt: skip
    files = {
        "picture.css": (css, "text/css"), "picture.js": (script, "text/javascript"),
        "home.css": (home_css, "text/css"), "home.js": (home_script, "text/javascript"),
    }  # fmt: skip

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(home, headers=_SECURITY)

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in files:
            raise ApiError("not_found", f"no asset {name!r}")
        content, kind = files[name]
        return Response(content, media_type=kind, headers={**_SECURITY, "Cache-Control": "no-cache"})


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe errors for OpenAPI."""
    return {
        status: {
            "model": schemas.ErrorResponse,
            "description": " ".join(f"`{code}`: {meaning}" for code, (of, meaning) in CODES.items() if of == status),
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
