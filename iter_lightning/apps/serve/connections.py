"""Protection of the server's connections: their number, and the time that a header and an answer may take."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

logger = logging.getLogger(__name__)
_RESERVED = 32
"""File descriptors that are left for everything but connections."""
_SILENCE = 60.0
"""Seconds between two warnings that descriptors ran out."""
_IN_USE = 1.0
"""Seconds for which a connection counts as in use after a request."""
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def connection_limit(asked: int) -> int:
    """Return how many connections the server accepts: `asked`, or fewer if `ulimit -n` allows no more."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = soft - len(list(Path("/dev/fd").iterdir())) - _RESERVED
    if soft == resource.RLIM_INFINITY or free >= asked:
        return asked
    logger.warning("at most %d connections are accepted, because `ulimit -n` is %d", max(free, 1), soft)
    return max(free, 1)


def limited_protocol(limit: int, header_timeout: float, request_timeout: float) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol with a limit on connections and timeouts.

    A new connection over the limit replaces the one that has been idle, or sending its header, for longest and for a
    second at least. If all others are in use, it gets status 503.

    Args:
        limit: Connections at a time.
        header_timeout: Seconds from the start of a connection, or the end of an answer, to the end of the next header.
        request_timeout: Seconds from the end of a header to the end of the answer, until which the client must take it.
    """
    connections: set[_Protocol] = set()
    idle: dict[_Protocol, float] = {}  # those without a complete header, the oldest first, and since when

    class _Protocol(H11Protocol):
        def __init__(
            self, config: Config, server_state: ServerState, app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:  # fmt: skip
            super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
            self._timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            connections.add(self)
            self.end_request()
            if len(connections) > limit:
                oldest = next(iter(idle))
                if asyncio.get_running_loop().time() - idle[oldest] > _IN_USE:
                    oldest.transport.abort()
                else:
                    transport.write(_BUSY)
                    transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self)
            idle.pop(self, None)
            self._abort_after(None)
            super().connection_lost(exc)

        def begin_request(self) -> None:
            """Note that a header is complete."""
            idle.pop(self, None)
            self._abort_after(request_timeout)

        def end_request(self) -> None:
            """Wait for a header."""
            if self in connections:
                idle[self] = asyncio.get_running_loop().time()
                self._abort_after(header_timeout)

        def _abort_after(self, seconds: float | None) -> None:
            if self._timer:
                self._timer.cancel()
            if seconds is not None:
                self._timer = asyncio.get_running_loop().call_later(seconds, self.transport.abort)

    return _Protocol


def watched(app: Callable[..., Any]) -> Callable[..., Any]:
    """Return an ASGI application that reports the start and end of each request to its connection."""

    async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            asyncio.get_running_loop().set_exception_handler(_quiet())
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        connection = scope["state"]["connection"]
        connection.begin_request()
        try:
            await app(scope, receive, send)
        finally:
            connection.end_request()

    return asgi


def _quiet() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Return an exception handler of the loop that reports missing descriptors once a minute: asyncio tries often."""
    silent_until = 0.0

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal silent_until
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
            loop.default_exception_handler(context)
        elif loop.time() >= silent_until:
            silent_until = loop.time() + _SILENCE
            logger.warning("connections wait, because file descriptors ran out (%s)", error.strerror)

    return handle
