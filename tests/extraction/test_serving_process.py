"""The server as a process on a socket: its line, its end, its port, its command line, and the load client."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from iter_lightning.errors import ConfigError, EncoderError
from iter_lightning.extraction.extractor import Extractor, TorchBackend
from iter_lightning.extraction.serving import cli, load, server
from iter_lightning.extraction.serving.app import create_app
from iter_lightning.extraction.serving.options import ModelInfo
from iter_lightning.extraction.serving.server import listen
from tests.builders import tiny_model
from tests.extraction.serving_builders import RuleBackend, alone, splitter

RULES = """
import sys
from tests.extraction.serving_builders import PlainSplitter, RuleBackend, rule_app
from iter_lightning.extraction.serving.server import run
import time

class Slow(RuleBackend):
    def predict(self, examples, link_threshold, max_tokens):
        examples = list(examples)
        if any("Slow" in example.words for example in examples):
            time.sleep(float(sys.argv[1]))
        return super().predict(examples, link_threshold, max_tokens)

run(rule_app(Slow(), split=PlainSplitter(), timeout=float(sys.argv[2])), "127.0.0.1", 0)
"""
REAL = """
import sys
from iter_lightning.extraction.serving.cli import main
main(sys.argv[1:])
"""
ROOT = Path(__file__).parents[2]


@contextmanager
def served(script: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server's process and its address; it is killed at the end, if it has not ended."""
    command = [sys.executable, "-c", script, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            first = process.stderr.readline()
            found = re.search(r"INFO serving .* on (http://\S+)$", first)
            assert found, first + process.stderr.read()
            yield process, found[1]
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and what else was logged."""
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def test_a_stopped_server_finishes_what_is_in_flight_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with served(RULES, "0.6", "10") as (process, url):
        assert load.main([url, "--clients", "8", "--requests", "40", "--texts", "2"]) == 0
        told = capsys.readouterr().out
        assert "40 answers" in told
        assert "status: 200 40\nwrong answers (text compared): 0\n" in told
        assert "resident memory" in told
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(httpx.post(f"{url}/extract", json={"text": "Slow Ada"}, timeout=20))

        client = threading.Thread(target=ask)
        client.start()
        deadline = time.monotonic() + 10
        while "iter_open_requests 1.0" not in httpx.get(f"{url}/metrics").text:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGTERM)
        client.join()
        status, errors = ended(process)
    assert answers[0].json()["documents"][0]["text"] == "Slow Ada"
    assert status == 0
    assert "SIGTERM: finishing 1 open requests" in errors
    assert errors.endswith("stopped\n")
    assert "Traceback" not in errors
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


@pytest.mark.slow
def test_a_stopped_server_does_not_wait_for_a_model_that_hangs() -> None:
    with served(RULES, "60", "0.5") as (process, url):
        assert httpx.post(f"{url}/extract", json={"text": "Slow"}, timeout=20).status_code == 504
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        status, errors = ended(process)
    assert (status, time.monotonic() - began < 6) == (0, True), errors


def test_a_port_in_use_is_told_before_a_model_is_loaded() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is in use"):
            cli.main(["no-such-model", "--port", str(port)])
    with pytest.raises(ConfigError, match=r"cannot listen on port 8000 of 192\.0\.2\.1: "):
        listen("192.0.2.1", 8000)
    with pytest.raises(ConfigError, match=r"of no\.such\.host\.invalid: "):
        listen("no.such.host.invalid", 0)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def test_the_command_line_tells_what_cannot_be_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = ["--port", free_port()]
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        monkeypatch.setenv(name, "1024")  # the command line leaves it, and the other tests have it as it was
    with pytest.raises(EncoderError, match="missing"):
        cli.main([str(tmp_path), *at])
    with pytest.raises(ConfigError, match="timeout must be a positive number"):
        cli.main([str(tmp_path), "--timeout", "0", *at])
    with pytest.raises(ConfigError, match="language 'zz'"):
        cli.main([str(tmp_path), "--language", "zz", *at])
    with pytest.raises(ConfigError, match="the onnx backend runs on a CPU"):
        cli.main([str(tmp_path), "--backend", "onnx", "--precision", "int8", *at])
    for arguments in (["--queue", "0"], ["--port", "70000"], ["--precision", "fp8"], ["--threads", "none"]):
        with pytest.raises(SystemExit, match="2"):
            cli.main([str(tmp_path), *arguments])
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "uvicorn" else name)
    with pytest.raises(ConfigError, match=r"serving needs uvicorn: pip install 'iter-lightning\[serve\]'"):
        cli.main([str(tmp_path)])


def test_the_line_at_the_start_names_the_kernels(caplog: pytest.LogCaptureFixture,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    async def started(itself: uvicorn.Server, sockets: object) -> None: ...

    monkeypatch.setattr(uvicorn.Server, "startup", started)
    monkeypatch.setattr(logging.getLogger("iter_lightning"), "propagate", True)
    info = ModelInfo("mine", kernels="torch 2, cpu (AVX2): fp32, prepacked by oneDNN")
    app = create_app(Extractor(RuleBackend(), splitter()), info=info)
    with listen("127.0.0.1", 0) as listening, caplog.at_level(logging.INFO, "iter_lightning"):
        asyncio.run(server._Server(uvicorn.Config(app), app).startup([listening]))
        port = listening.getsockname()[1]
    expected = f"serving mine (torch 2, cpu (AVX2): fp32, prepacked by oneDNN) on http://127.0.0.1:{port}"
    assert expected in caplog.messages


def test_names_tell_the_run_and_not_the_machine(tmp_path: Path) -> None:
    (folder := tmp_path / "conll04" / "seed1" / "model").mkdir(parents=True)
    assert cli.name_of(str(folder)) == cli.name_of(str(folder.parent)) == "seed1"
    (folder.parent / "config.yaml").touch()
    assert cli.name_of(str(folder)) == cli.name_of(str(folder.parent)) == "conll04/seed1"
    assert cli.name_of("someone/iter-conll04") == "someone/iter-conll04"


def test_the_load_client_finds_answers_to_something_else() -> None:
    document = alone()("Ada met Bo and Cy.").to_dict()
    entities, relations = load._found(document)
    assert (len(entities), len(relations)) == (3, len(document["relations"]))
    same = {document["text"]: (entities, relations)}
    assert load._faults([document], [""], [document["text"]], same) == []
    assert "asked for" in load._faults([document], ["0"], [document["text"]], same)[0]
    assert "asked for" in load._faults([], [""], [document["text"]], same)[0]
    assert (
        "offline" in load._faults([document], [""], [document["text"]], {document["text"]: (entities, frozenset())})[0]
    )


@pytest.mark.parametrize("wrong", [["--clients", "0"], ["--clients", "1025"], ["--texts", "0"], ["--texts", "-1"]])
def test_the_load_client_takes_no_number_that_asks_nothing(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        load.main(["http://127.0.0.1:1", *wrong])
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith(f"argument {wrong[0]}: expected a whole number from 1 to 1024, found {wrong[1]!r}")


def test_the_load_client_tells_its_tally_of_a_server_that_ended_meanwhile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if len(asked) > 2:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, text="process_resident_memory_bytes 1048576\n")

    asked: list[str] = []
    kept = httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **options: kept(transport=httpx.MockTransport(server), **options))
    assert load.main(["http://test", "--clients", "1", "--requests", "3"]) == 1
    assert asked == ["/ready", "/metrics", *3 * ["/extract"], "/metrics"]
    told = capsys.readouterr().out
    assert "0 answers" in told
    assert "status: ConnectError 3" in told


def test_the_load_client_tells_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").write_text("\n \n")
    assert load.main(["http://127.0.0.1:1", "--file", str(tmp_path / "empty")]) == 2
    assert load.main([f"http://127.0.0.1:{free_port()}"]) == 2
    told = capsys.readouterr().err
    assert "empty: no line that holds text" in told
    assert "no server answers" in told
    assert len(set(load.read_sentences(None))) > 200


@pytest.mark.slow
def test_a_real_model_is_served_from_the_command_line(tmp_path: Path) -> None:
    model = tiny_model("bert", omega=3)
    model.save_pretrained(tmp_path / "run" / "model")
    text = "Ada lives in London. Her brother works for the Bank."
    expected = Extractor(TorchBackend(model), splitter())(text).to_dict()
    with served(REAL, str(tmp_path / "run"), "--port", "0", "--threads", "1", "--access-log") as (process, url):
        found = httpx.post(f"{url}/extract", json={"text": text}, timeout=20).json()
        assert [e["text"] for e in found["documents"][0]["entities"]] == [e["text"] for e in expected["entities"]]
        assert found["model"]["name"] == "run"
        described = httpx.get(f"{url}/model").json()
        assert re.fullmatch("sha256:[0-9a-f]{64}", described["digest"])
        assert (described["device"], described["precision"]) == ("cpu", "fp32")
        assert re.fullmatch(r"torch \S+, cpu \(.+\): fp32, .+", described["kernels"])
        (tmp_path / "sentences").write_text(text)
        check = ["--file", str(tmp_path / "sentences"), "--check", str(tmp_path / "run"), "--requests", "20"]
        assert load.main([url, *check]) == 0
        process.send_signal(signal.SIGTERM)
        status, errors = ended(process)
    assert status == 0
    assert "POST /extract" in errors
    assert json.dumps("Traceback") not in errors
