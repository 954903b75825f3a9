"""Protection of the server's connections: their number, and the time that a header and an answer may take.

uvicorn's `limit_concurrency` answers 503 to old and new clients alike, and its `timeout_keep_alive` starts only after
an answer; neither protects from connections that send nothing.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

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
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._application, self.app = self.app, self._answer
            self._timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            # without it, the second half of an answer waits 40 ms for the client's acknowledgment of the first
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().connection_made(transport)
            connections.add(self)
            self._wait_for_header()
            if len(connections) > limit:
                oldest = next(iter(idle))
                if self.loop.time() - idle[oldest] > _IN_USE:
                    oldest.transport.abort()
                else:
                    transport.write(_BUSY)
                    transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self)
            idle.pop(self, None)
            self._abort_after(None)
            super().connection_lost(exc)

        async def _answer(self, *request: Any) -> None:
            idle.pop(self, None)
            self._abort_after(request_timeout)
            try:
                await self._application(*request)
            finally:
                if self in connections:
                    self._wait_for_header()

        def _wait_for_header(self) -> None:
            idle[self] = self.loop.time()
            self._abort_after(header_timeout)

        def _abort_after(self, seconds: float | None) -> None:
            if self._timer:
                self._timer.cancel()
            if seconds is not None:
                self._timer = self.loop.call_later(seconds, self.transport.abort)

    return _Protocol


def quiet_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Let a loop report missing descriptors once a minute: asyncio tries to accept connections often."""
    silent_until = 0.0

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal silent_until
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
            loop.default_exception_handler(context)
        elif loop.time() >= silent_until:
            silent_until = loop.time() + _SILENCE
            logger.warning("connections wait, because file descriptors ran out (%s)", error.strerror)

    loop.set_exception_handler(handle)
