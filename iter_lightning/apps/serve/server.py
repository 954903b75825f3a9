"""The application on a socket: one port, one line when it is served, and an end that leaves no request unanswered."""

from __future__ import annotations

import errno
import logging
import logging.config
import math
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI

from iter_lightning.apps.serve.connections import connection_limit, limited_protocol, watched
from iter_lightning.apps.serve.service import Service
from iter_lightning.errors import ConfigError

logger = logging.getLogger(__name__)
_BACKLOG = 256


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, and does not listen yet.

    Args:
        host: A name or address of this machine.
        port: The port; 0 for any free one.

    Raises:
        ConfigError: The port is in use or not allowed, or the host is not this machine.
    """
    try:
        # asyncio sets TCP_NODELAY only on sockets that name their protocol. Without it, the second half of an answer
        # waits for the client's acknowledgment of the first, which takes 40 ms.
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        raise _unusable(host, port, error) from error
    return bound


def _unusable(host: str, port: int, error: OSError | OverflowError) -> ConfigError:
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return ConfigError(f"port {port} of {host} is in use: stop the program that uses it, or give another --port")
    return ConfigError(f"cannot listen on port {port} of {host}: {getattr(error, 'strerror', None) or error}")


def run(app: FastAPI, bound: socket.socket, *, access_log: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; open requests are finished first, within the timeout of a request.

    Uvicorn raises the signal again at the end, so that the process ends as its caller decides.

    Args:
        app: The result of `create_app`.
        bound: The result of `bind`.
        access_log: Whether to log each request.

    Raises:
        ConfigError: Another program listens on the port by now.
    """
    host, port = bound.getsockname()[:2]
    service: Service = app.state.service
    options = service.options
    logging.config.dictConfig(_logging(access_log))
    limit = connection_limit(options.max_connections)
    config = uvicorn.Config(
        watched(app), http=limited_protocol(limit, options.header_timeout, 2 * options.timeout), ws="none",
        log_config=None, access_log=access_log, server_header=False,
        backlog=_BACKLOG, timeout_graceful_shutdown=math.ceil(options.timeout) + 1,
    )  # fmt: skip
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        raise _unusable(host, port, error) from error
    where = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    how = service.info.kernels or f"{service.info.backend}, {service.info.precision}, {service.info.device}"
    logger.info("serving %s (%s) on %s", service.info.name, how, where)
    _Server(config, service).run(sockets=[bound])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Log that the server stops; see `uvicorn.Server`."""
        logger.info("stopping: %d open requests are finished first", self._service.open)
        await super().shutdown(sockets)
        logger.info("stopped")


def _logging(access_log: bool) -> dict[str, Any]:
    """Return the configuration of logging: one line for each event, on standard error."""
    return {
        "version": 1, "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {
            "iter_lightning": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
            "uvicorn": {"level": "ERROR", "handlers": ["stderr"], "propagate": False},
            "uvicorn.access": {
                "level": "INFO" if access_log else "WARNING", "handlers": ["stderr"], "propagate": False,
            },
        },
    }  # fmt: skip
