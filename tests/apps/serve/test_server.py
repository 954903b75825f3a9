"""The server as a process on a socket: its start, its end, its port and its command line."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from iter_lightning.apps.serve import cli
from iter_lightning.apps.serve.server import bind
from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.backends import TorchBackend
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.model.names import DEFAULT
from tests.apps.serve.builders import RULES, PlainSplitter, RuleBackend, ended, rule_app, served, splitter
from tests.builders import tiny_model

BROWSER = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def test_stopped_server_finishes_open_requests_and_passes_the_signal_on() -> None:
    with served("-c", RULES, "0.6", "timeout=10") as (process, url):
        answers: list[httpx.Response] = []
        ask = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/extract", json={"text": "Slow Ada"}, timeout=20))
        )
        ask.start()
        deadline = time.monotonic() + 10
        while "iter_open_requests 1.0" not in httpx.get(f"{url}/metrics").text:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGTERM)
        ask.join()
        status, errors = ended(process)
    assert answers[0].json()["documents"][0]["text"] == "Slow Ada"
    assert status == -signal.SIGTERM
    assert "stopping: 1 open requests are finished first" in errors
    assert errors.endswith("stopped\n")
    assert "Traceback" not in errors
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


@pytest.mark.slow
def test_stopped_server_does_not_wait_for_a_model_that_hangs() -> None:
    with served("-c", RULES, "60", "timeout=0.5") as (process, url):
        assert httpx.post(f"{url}/extract", json={"text": "Slow"}, timeout=20).status_code == 504
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = ended(process)
    assert time.monotonic() - began < 6, errors


def test_keep_alive_answers_do_not_wait_for_an_acknowledgment() -> None:
    """Header and body are two packets: without TCP_NODELAY the second waits 40 ms for the first one's ACK."""
    with served("-c", RULES, "0") as (_, url), httpx.Client(base_url=url) as client:
        client.get("/health")
        times = []
        for _ in range(20):
            began = time.perf_counter()
            client.get("/health")
            times.append(time.perf_counter() - began)
    assert sorted(times)[5] < 0.035


def test_port_in_use_is_reported_before_a_model_is_loaded() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is in use"):
            cli.main(["no-such-model", "--port", str(port)])
    with pytest.raises(ConfigError, match=r"cannot listen on port 8000 of 192\.0\.2\.1: "):
        bind("192.0.2.1", 8000)
    with pytest.raises(ConfigError, match=r"of no\.such\.host\.invalid: "):
        bind("no.such.host.invalid", 0)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--timeout", "0"], "--timeout: Input should be greater than 0, found '0'"),
        (["--queue", "many"], "--queue: Input should be a valid integer"),
        (["--port", "70000"], "--port: Input should be less than or equal to 65535"),
        (["--precision", "fp8"], "--precision: Input should be 'fp32', 'bf16', 'fp16' or 'int8'"),
        (["--threads", "none"], "--threads: Input should be a valid integer"),
        (["--language", "zz"], "language 'zz'"),
        (["--backend", "onnx", "--precision", "int8"], "the onnx backend runs on a CPU"),
    ],
)
def test_command_line_reports_invalid_options(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        monkeypatch.setenv(name, "1024")  # the command line sets them; other tests need them as before
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=re.escape(message)):
        cli.main([str(tmp_path), *(["--port", free_port()] if "--port" not in arguments else []), *arguments])


def test_command_line_reports_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        monkeypatch.setenv(name, "1024")
    with pytest.raises(EncoderError, match=r"have no config.json"):
        cli.main([str(tmp_path), "--port", free_port()])
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "uvicorn" else name)
    with pytest.raises(ConfigError, match=r"serving needs uvicorn: pip install 'iter-lightning\[serve\]'"):
        cli.main([str(tmp_path)])


def test_command_line_without_model_serves_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        monkeypatch.setenv(name, "1024")
    loaded: list[str] = []

    def load(model: str, command: object) -> None:
        loaded.append(model)
        raise ConfigError("not now")

    monkeypatch.setattr(cli, "load", load)
    with pytest.raises(ConfigError, match="not now"):
        cli.main(["--port", free_port()])
    assert loaded == [DEFAULT]


def test_names_show_the_run_and_not_the_rest_of_its_path(tmp_path: Path) -> None:
    (folder := tmp_path / "conll04" / "seed1" / "model").mkdir(parents=True)
    assert cli.name_of(str(folder)) == cli.name_of(str(folder.parent)) == "seed1"
    (folder.parent / "config.yaml").touch()
    assert cli.name_of(str(folder)) == cli.name_of(str(folder.parent)) == "conll04/seed1"
    assert cli.name_of("someone/iter-conll04") == "someone/iter-conll04"


@contextmanager
def page_of(app: FastAPI) -> Iterator[Any]:
    """The page of an application, served from a thread and opened in a browser."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed (neither chromium nor google-chrome is on the path)")
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with bind("127.0.0.1", 0) as bound, sync_api.sync_playwright() as playwright:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER)
        try:
            page = browser.new_page(viewport={"width": 1100, "height": 800})
            said: list[str] = []
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(f"http://127.0.0.1:{bound.getsockname()[1]}/")
            page.wait_for_selector(".iter-words")
            yield page
            assert said == []
        finally:
            browser.close()
            server.should_exit = True
            thread.join(10)


def test_page_of_an_open_model_asks_for_labels() -> None:
    backend = RuleBackend(open=True)
    with page_of(rule_app(backend, split=PlainSplitter(), link_threshold=0.0)) as page:
        assert (page.input_value("#labels"), page.input_value("#relations")) == ("Name", "Next, Before")
        assert "labels of your choice" in page.inner_text("#model")
        assert '"labels":["person","city"]' in page.text_content("#curl")
        page.fill("#relations", " leads to ")
        page.fill("#labels", "who, what")
        with page.expect_response("**/extract") as response:
            page.press("#labels", "Enter")
        assert json.loads(response.value.request.post_data)["labels"] == ["who", "what"]
        page.wait_for_function("document.querySelector('.iter-filters').textContent.includes('leads to')")
        filters = page.text_content(".iter-filters")
        assert "who" in filters
        assert "what" in filters
        assert "Name" not in filters
        page.fill("#labels", "who, who")
        page.click("#go")
        page.wait_for_selector("#error:not([hidden])")
        assert page.inner_text("#error") == "labels: 'who' is given twice"


def test_page_of_a_fixed_model_has_no_labels() -> None:
    with page_of(rule_app(split=PlainSplitter())) as page:
        assert not page.is_visible("#labels")
        with page.expect_response("**/extract") as response:
            page.click("#go")
        assert set(json.loads(response.value.request.post_data)) == {"text"}
        assert "1 entity types, 2 relation types" in page.inner_text("#model")


@pytest.mark.slow
def test_real_model_is_served_from_the_command_line(tmp_path: Path) -> None:
    model = tiny_model("bert", omega=3)
    model.save_pretrained(tmp_path / "run" / "model")
    text = "Ada lives in London. Her brother works for the Bank."
    expected = Extractor(TorchBackend(model), splitter())(text).to_dict()
    arguments = [str(tmp_path / "run"), "--port", "0", "--threads", "1", "--access-log"]
    with served("-m", "iter_lightning", "serve", *arguments) as (process, url):
        found = httpx.post(f"{url}/extract", json={"text": text}, timeout=20).json()
        assert [e["text"] for e in found["documents"][0]["entities"]] == [e["text"] for e in expected["entities"]]
        assert found["model"]["name"] == "run"
        described = httpx.get(f"{url}/model").json()
        assert re.fullmatch("sha256:[0-9a-f]{64}", described["digest"])
        assert (described["device"], described["precision"]) == ("cpu", "fp32")
        assert re.fullmatch(r"torch \S+, cpu \(.+\): fp32, .+", described["kernels"])
        process.send_signal(signal.SIGTERM)
        status, errors = ended(process)
    assert status == 143
    assert "POST /extract" in errors
    assert "Traceback" not in errors
