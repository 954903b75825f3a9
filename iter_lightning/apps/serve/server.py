"""The application on a socket: one port, one line when it is served, and an end that leaves no request unanswered."""

from __future__ import annotations

import errno
import logging
import math
import socket

import uvicorn
from fastapi import FastAPI

from iter_lightning.apps.serve.connections import connection_limit, limited_protocol
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
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
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
    options, info = service.options, service.info
    _log_lines(access_log)
    limit = connection_limit(options.max_connections)
    config = uvicorn.Config(
        app, http=limited_protocol(limit, options.header_timeout, 2 * options.timeout), ws="none", log_config=None,
        access_log=access_log, server_header=False, backlog=_BACKLOG,
        timeout_graceful_shutdown=math.ceil(options.timeout) + 1,
    )  # fmt: skip
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        raise _unusable(host, port, error) from error
    where = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    how = info.kernels or f"{info.backend}, {info.precision}, {info.device}"
    logger.info("serving %s (%s) on %s", info.name, how, where)
    _Server(config).run(sockets=[bound])


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        service: Service = self.config.app.state.service  # type: ignore[union-attr]
        logger.info("stopping: %d open requests are finished first", service.open)
        await super().shutdown(sockets)
        logger.info("stopped")


def _log_lines(access_log: bool) -> None:
    """Log one line for each event, with its time, on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    access = logging.INFO if access_log else logging.WARNING
    for name, level in (("iter_lightning", logging.INFO), ("uvicorn", logging.ERROR), ("uvicorn.access", access)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
