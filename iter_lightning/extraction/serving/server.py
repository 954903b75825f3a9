"""The application on a socket: one port, one line that says so, an end that leaves no request unanswered."""

from __future__ import annotations

import errno
import logging
import logging.config
import math
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.serving.service import Service

logger = logging.getLogger(__name__)
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: the port is taken or not allowed, the host is none of this machine's.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((address[0], address[1]), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} of {host} is in use: stop what uses it, or choose another by --port"
            ) from error
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot listen on port {port} of {host}: {reason}") from error


def check_port(host: str, port: int) -> None:
    """Tell a port in use before a model is loaded for it.

    Raises:
        ConfigError: as `listen`.
    """
    listen(host, port).close()


def run(app: FastAPI, host: str, port: int, *, access_log: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; what is in flight then is finished, within the timeout of a request.

    Raises:
        ConfigError: the port, or a model that cannot read a sentence.
    """
    configure_logging(access_log)
    service: Service = app.state.service
    with listen(host, port) as listening:
        config = uvicorn.Config(
            app, log_config=None, access_log=access_log, server_header=False, lifespan="off",
            timeout_graceful_shutdown=math.ceil(service.options.timeout) + 1, backlog=_BACKLOG,
        )  # fmt: skip
        _Server(config, app).run(sockets=[listening])
    logger.info("stopped")


class _Server(uvicorn.Server):
    """Uvicorn's, but its end by a signal is a success, and what fails at the start is told by the exception."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._service: Service = app.state.service

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Within the application's lifespan."""
        with self.capture_signals():
            async with self._app.router.lifespan_context(self._app):
                await self._serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell once that, and where, it is served."""
        await super().startup(sockets)
        info = self._service.info
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            where = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            how = info.kernels or f"{info.backend}, {info.precision}, {info.device}"
            logger.info("serving %s (%s) on %s", info.name, how, where)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn would raise them again at the end, which makes a clean stop look like a crash."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop taking requests; at the second signal, at once."""
        if self.should_exit:
            self.force_exit = True
            return
        self.should_exit = self._service.stopping = True
        logger.info("%s: finishing %d open requests", signal.Signals(sig).name, self._service.open)


def configure_logging(access_log: bool) -> None:
    """One line an event on standard error; a line a request where `access_log`."""
    level = "INFO" if access_log else "WARNING"
    logging.config.dictConfig({
        "version": 1, "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {
            "iter_lightning": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
            "uvicorn": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
            "uvicorn.access": {"level": level, "handlers": ["stderr"], "propagate": False},
        },
    })  # fmt: skip
