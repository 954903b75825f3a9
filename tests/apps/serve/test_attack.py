"""A real server under attack: others are served throughout, and no answer is lost, mixed up or wrong.

ITER_ATTACK_SECONDS shortens the load of 32 clients (default 60).
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.serving_load import Found, Tally, client, offline, resident, sentences_of
from iter_lightning.types import Schema, WindowLimits
from tests.apps.serve.builders import ended, served
from tests.builders import tiny_model

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("ITER_ATTACK_SECONDS", "60"))
OPTIONS = ("--port", "0", "--max-entities", "24", "--max-relations", "1000")
DENSE = {"text": ("Ada Bo Cy Dee Eli Fay Gus Hal " * 700)[:19_990]}
"""20 kB in which every second word is an entity for random heads and which is one sentence."""
MALFORMED = (
    b"", b"{", b"[" * 100_000, b'{"text": 1}', b'{"texts": [' + b"0," * 50_000 + b"0]}", b"\xff" * 1000,
    b'{"text": "\\ud83d"}', b'{"text": "a", "link_threshold": 1e999}',
)  # fmt: skip
SLOW_BODY = b"POST /extract HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
HALF_HEADER = b"POST /extract HTTP/1.1\r\nHost: a\r\nX-Half: "


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random heads: it finds entities nearly everywhere, and most pairs of them are related."""
    folder = tmp_path_factory.mktemp("attacked")
    tiny_model("bert", Schema(("Name",), ("Next", "Before")), omega=3).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expected(model: Path) -> dict[str, Found]:
    """Some sentences, and what the model finds in each of them without a server."""
    return offline(sentences_of(None)[:60], str(model), WindowLimits(24, 1000))


def flood(url: str, number: int, data: bytes) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    for _ in range(number):
        connection = socket.create_connection((host, int(port)), timeout=10)
        connection.sendall(data)
        yield connection


@asynccontextmanager
async def ordinary(
    url: str, clients: int, expected: dict[str, Found]
) -> AsyncIterator[tuple[Tally, httpx.AsyncClient]]:
    """Run clients that send one sentence after another, beside the block."""
    limits = httpx.Limits(max_connections=clients + 4, max_keepalive_connections=clients + 4)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=120) as http:
        tally, numbers = Tally(), itertools.count()
        tasks = [
            asyncio.create_task(client(http, numbers, list(expected), expected, tally, math.inf))
            for _ in range(clients)
        ]
        yield tally, http
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


def test_attacked_server_serves_others_and_loses_nothing_at_its_end(model: Path, expected: dict[str, Found]) -> None:
    async def attack(url: str, process: subprocess.Popen[str]) -> Tally:
        async with ordinary(url, 32, expected) as (tally, http):
            began, headers = time.perf_counter(), {"content-type": "application/json"}
            found = await http.post("extract", json=DENSE)
            assert found.json()["documents"][0]["truncated"]
            before, already = resident((await http.get("metrics")).text), len(tally.latencies)
            with ExitStack() as stack:
                for connection in flood(url, 200, SLOW_BODY):
                    stack.enter_context(connection)
                for body in MALFORMED:
                    answer = await http.post("extract", content=body, headers=headers)
                    assert answer.status_code in (400, 422), answer.text
                    assert answer.json()["error"]["message"]
                for _ in range(3):
                    assert (await http.post("extract", json=DENSE)).status_code in (200, 504)
                assert len(tally.latencies) >= already + 32
            while time.perf_counter() - began < SECONDS:
                await asyncio.sleep(0.1)
            after = resident((await http.get("metrics")).text)
            assert after < before + 150, f"{before:.0f} MiB before, {after:.0f} MiB after"
            assert set(tally.statuses) == {"200"}
            tally.statuses.clear()
            process.send_signal(signal.SIGTERM)
            while process.poll() is None:
                await asyncio.sleep(0.1)
        return tally

    with served("-m", "iter_lightning", "serve", str(model), *OPTIONS) as (process, url):
        tally = asyncio.run(attack(url, process))
        status, errors = ended(process)
    assert status == 143, errors
    finished = re.search(r"stopping: (\d+) open requests", errors)
    assert finished
    assert tally.statuses["200"] >= int(finished[1]) > 0
    assert set(tally.statuses) <= {"200", "ConnectError", "ReadError", "RemoteProtocolError"}  # the server was gone
    assert tally.wrong == []
    assert "Traceback" not in errors


def test_half_sent_headers_beyond_the_descriptors_do_not_keep_others_out(
    model: Path, expected: dict[str, Found]
) -> None:
    async def attack(url: str) -> Tally:
        async with ordinary(url, 4, expected) as (tally, http):
            with ExitStack() as stack:
                for connection in flood(url, 300, HALF_HEADER):
                    stack.enter_context(connection)
                await asyncio.sleep(2)
                async with httpx.AsyncClient(base_url=url, timeout=60) as newcomer:
                    assert (await newcomer.get("health")).status_code == 200
                await asyncio.sleep(4)
                assert (await http.get("health")).status_code == 200
        return tally

    options = [*OPTIONS, "--header-timeout", "4"]
    with served("-m", "iter_lightning", "serve", str(model), *options, shell="ulimit -n 200;") as (process, url):
        tally = asyncio.run(attack(url))
        process.send_signal(signal.SIGTERM)
        status, errors = ended(process)
    assert status == 143, errors
    assert set(tally.statuses) == {"200"}
    assert tally.wrong == []
    assert len(errors.splitlines()) < 10, errors
