"""The server's connections under clients that send headers slowly, open too many, or do not read their answers."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import threading
import time

import httpx
import pytest

from iter_lightning.apps.serve.connections import connection_limit, quiet_loop
from tests.apps.serve.builders import RULES, served

HALF = b"GET /health HTTP/1.1\r\nHost: a\r\nX: "


def connected(url: str, data: bytes = b"") -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(data)
    return connection


def closed(connection: socket.socket) -> bytes:
    """What arrives until the server closes the connection."""
    received = b""
    try:
        while more := connection.recv(4096):
            received += more
    except ConnectionResetError:
        pass
    return received


def test_header_that_never_arrives_is_timed_out_first_or_later() -> None:
    with served("-c", RULES, "0", "header_timeout=0.5") as (_, url):
        began = time.monotonic()
        whole = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
        with connected(url) as silent, connected(url, HALF) as first, connected(url, whole + HALF) as second:
            assert closed(silent) == closed(first) == b""
            assert closed(second).count(b"200 OK") == 1
        assert 0.4 < time.monotonic() - began < 5


def test_new_connection_replaces_the_one_that_is_idle_for_longest() -> None:
    with served("-c", RULES, "0", "max_connections=3") as (_, url):
        waiting = [connected(url, HALF) for _ in range(3)]
        assert httpx.get(f"{url}/health").status_code == 503  # all of them may still be in use
        time.sleep(1.1)
        assert httpx.get(f"{url}/health").status_code == 200
        assert closed(waiting[0]) == b""
        waiting[2].sendall(b"1\r\n\r\n")
        assert b"200 OK" in waiting[2].recv(4096)
        for connection in waiting:
            connection.close()


def test_connection_gets_503_if_all_others_have_requests() -> None:
    with served("-c", RULES, "1", "max_connections=2") as (_, url):
        answers: list[httpx.Response] = []
        clients = [
            threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/extract", json={"text": "Slow"})))
            for _ in range(2)
        ]
        for client in clients:
            client.start()
        time.sleep(0.4)
        refused = httpx.get(f"{url}/health")
        for client in clients:
            client.join()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert [answer.status_code for answer in answers] == [200, 200]


def test_client_that_does_not_read_its_answer_is_disconnected() -> None:
    """The answer repeats the id, which is larger than all buffers on the way."""
    body = b'{"documents": [{"text": "Ada", "id": "' + b"a" * 15_000_000 + b'"}]}'
    header = b"POST /extract HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with served("-c", RULES, "0", "timeout=2", "max_body_bytes=20000000") as (_, url), connected(url) as slow:
        slow.sendall(header % len(body) + body)
        time.sleep(10)
        received = closed(slow)
    assert b"200 OK" in received
    assert len(received) < len(body)


def test_connections_stay_below_the_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (200, 4096))
    assert 1 <= connection_limit(1000) < 170
    assert connection_limit(20) == 20


def test_missing_descriptors_are_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("iter_lightning"), "propagate", True)
    loop = asyncio.new_event_loop()
    quiet_loop(loop)
    for _ in range(100):
        loop.call_exception_handler({"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")})
    assert caplog.messages == ["connections wait, because file descriptors ran out (Too many open files)"]
    loop.call_exception_handler({"message": "something else"})
    assert "something else" in caplog.messages
    loop.close()
