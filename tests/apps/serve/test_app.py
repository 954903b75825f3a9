from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI
from pydantic import ValidationError

from iter_lightning.apps.serve.app import create_app
from iter_lightning.apps.serve.options import ServeOptions
from iter_lightning.apps.serve.schemas import (
    ErrorResponse,
    ExtractRequest,
    ExtractResponse,
    ModelInfo,
    ModelResponse,
)
from iter_lightning.cancellation import cancellable
from iter_lightning.errors import ConfigError
from iter_lightning.extraction.backends import TorchBackend
from iter_lightning.extraction.documents import Document
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.extraction.splitting import Splitter
from iter_lightning.types import Example, Prediction, WindowLimits
from tests.apps.serve.builders import RuleBackend, alone, client_of, rule_app, service_of, splitter
from tests.builders import tiny_model

NAMES = ("Ada", "Bo", "Cy", "Dee", "Eli", "Fay", "Gus", "Hal")


def sentence(number: int) -> str:
    """One that no other number has."""
    return f"{NAMES[number % 8]} met {NAMES[number // 8 % 8]} and {NAMES[number // 64 % 8]} x{number} times."


def run(app: FastAPI, test: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        async with client_of(app) as client, asyncio.timeout(20):
            return await test(client)

    return asyncio.run(within())


async def post(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/extract", json=body)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def in_line(app: FastAPI, number: int) -> None:
    await until(lambda: service_of(app).batcher.waiting == number)


def failure(response: httpx.Response) -> tuple[int, str, str]:
    error = ErrorResponse.model_validate(response.json()).error
    return response.status_code, error.code, error.message


# answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["sentence", "document"])
def test_answers_equal_the_extractors_in_every_form_of_request(context: str) -> None:
    extractor = Extractor(TorchBackend(tiny_model("bert", omega=3)), splitter(), context)
    texts = ["Ada lives in London. She works for the Bank of London.", "", " \n", "👩‍🚀 naïve Ada\r\n\r\nher brother"]
    words = [["Ada", "works", "for", "her", "brother"], [], ["London", "Bank"]]
    expected = [*extractor(texts), extractor(Document.from_words(words, "w"))]
    assert any(document.relations for document in expected)

    async def test(client: httpx.AsyncClient) -> None:
        several = (await post(client, texts=texts)).json()["documents"]
        single = [(await post(client, text=text)).json()["documents"][0] for text in texts]
        assert several == single == [document.to_dict() for document in expected[:-1]]
        documents = [*({"id": f"t{n}", "text": text} for n, text in enumerate(texts)), {"id": "w", "words": words}]
        found = (await post(client, documents=documents)).json()
        assert [document["id"] for document in found["documents"]] == ["t0", "t1", "t2", "t3", "w"]
        assert [{**document, "id": ""} for document in found["documents"][:-1]] == several
        assert found["documents"][-1] == expected[-1].to_dict()
        assert found["model"] == {"name": "tiny", "digest": "d"}
        ExtractResponse.model_validate(found)
        assert (await post(client, texts=[])).json()["documents"] == []

    run(create_app(extractor, info=ModelInfo(name="tiny", digest="d")), test)


def test_many_clients_share_calls_and_get_their_own_answers() -> None:
    backend = RuleBackend()
    offline = alone()

    async def test(client: httpx.AsyncClient) -> None:
        async def ask(number: int) -> None:
            texts = [sentence(number * 3 + place) for place in range(1 + number % 3)]
            response = await post(client, texts=texts)
            assert response.json()["documents"] == [document.to_dict() for document in offline(texts)]

        await asyncio.gather(*(ask(number) for number in range(120)))

    run(rule_app(backend, max_batch=16), test)
    assert max(map(len, backend.calls)) <= 16
    assert len(backend.calls) < 60
    assert sum(map(len, backend.calls)) == len(backend.read) == 240


def test_thresholds_hold_for_each_request_of_a_shared_call() -> None:
    backend = RuleBackend()
    offline = alone()
    wanted: list[tuple[float | None, dict[str, float]]] = [
        (None, {}), (0.0, {}), (1.0, {}), (0.9, {"Before": 0.1}), (None, {"Name": 0.6}),
        (0.3, {"Name": 0.2, "Next": 0.8}),
    ]  # fmt: skip
    texts = [sentence(number) for number in range(8)]

    async def test(client: httpx.AsyncClient) -> list[list[dict[str, Any]]]:
        asked = [
            post(client, texts=texts, link_threshold=link, thresholds=thresholds) for link, thresholds in wanted
        ]  # fmt: skip
        return [response.json()["documents"] for response in await asyncio.gather(*asked)]

    found = run(rule_app(backend, max_batch=1000, max_wait_ms=300, least_link_threshold=0), test)
    assert (len(backend.calls), backend.thresholds) == (1, [0.0])
    for documents, (link, thresholds) in zip(found, wanted, strict=True):
        assert documents == [document.to_dict() for document in offline(texts, link, thresholds)]
    assert len({json.dumps(documents) for documents in found}) == len(wanted)


def test_link_threshold_of_the_server_is_for_requests_without_one() -> None:
    async def test(client: httpx.AsyncClient) -> list[int]:
        bodies: list[dict[str, Any]] = [{}, {"link_threshold": None}, {"link_threshold": 0.5}]
        found = [(await post(client, text=sentence(83), **body)).json()["documents"][0] for body in bodies]
        assert ModelResponse.model_validate((await client.get("/model")).json()).link_threshold == 0
        return [len(document["relations"]) for document in found]

    every, same, some = run(rule_app(link_threshold=0.0), test)
    assert every == same == 4 > some


def test_long_request_does_not_hold_up_short_ones() -> None:
    backend = RuleBackend()
    app = rule_app(backend, max_tokens=20, max_wait_ms=0)
    done: list[str] = []

    async def test(client: httpx.AsyncClient) -> None:
        async def ask(name: str, text: str) -> None:
            found = (await post(client, text=text)).json()["documents"][0]
            assert len(found["sentences"]) == (40 if name == "long" else 1)
            done.append(name)

        backend.gate.clear()
        long = asyncio.create_task(ask("long", " ".join(map(sentence, range(40)))))
        await until(backend.called.is_set)
        short = [asyncio.create_task(ask(f"short {number}", sentence(100 + number))) for number in range(3)]
        await in_line(app, 4)
        backend.gate.set()
        await asyncio.gather(long, *short)

    run(app, test)
    assert sorted(done[:3]) == ["short 0", "short 1", "short 2"]
    assert len(backend.calls) > 10


# requests that are wrong ---------------------------------------------------------------------------------------------

JSON = {"content-type": "application/json"}
WRONG: list[tuple[bytes, dict[str, str], int, str, str]] = [
    (b'{"text": "a', JSON, 400, "malformed_json", "body: character 9: Unterminated string"),
    (b"", JSON, 422, "invalid_request", "body: Field required"),
    (b'{"text": "\xff"}', JSON, 400, "malformed_json", "body"),
    (b'{"text": "\\ud83d alone"}', JSON, 422, "invalid_request", "text: text: "),
    (b'{"documents": [{"words": [["\\ude00"]]}]}', JSON, 422, "invalid_request", "documents[0].words[0][0]: Input"),
    (b'{"text": "a", "\\ud83d": 1}', JSON, 422, "invalid_request", "body: Input should be a valid string"),
    (b"[" * 10000, JSON, 400, "malformed_json", "body"),
    (b"[]", JSON, 422, "invalid_request", "body: Input should be a valid dictionary or object"),
    (b"{}", JSON, 422, "invalid_request", "exactly one of the fields text, texts, documents, found {}"),
    (b'{"text": "a", "texts": ["a"]}', JSON, 422, "invalid_request", "text, texts, documents, found {'text': 'a'"),
    (b'{"text": 7}', JSON, 422, "invalid_request", "text: Input should be a valid string, found 7"),
    (b'{"texts": ["a", null]}', JSON, 422, "invalid_request", "texts[1]: Input should be a valid string, found None"),
    (b'{"texts": "a"}', JSON, 422, "invalid_request", "texts: Input should be a valid list, found 'a'"),
    (b'{"text": "a", "lambda": 1}', JSON, 422, "invalid_request", "lambda: Extra inputs are not permitted, found 1"),
    (b'{"text": "a", "link_threshold": "0.5"}', JSON, 422, "invalid_request", "link_threshold: "),
    (b'{"text": "a", "link_threshold": true}', JSON, 422, "invalid_request", "link_threshold: "),
    (b'{"text": "a", "link_threshold": NaN}', JSON, 422, "invalid_request", "link_threshold: "),
    (b'{"text": "a", "link_threshold": 1.5}', JSON, 422, "invalid_request", "link_threshold: "),
    (b'{"text": "a", "thresholds": {"Name": -1}}', JSON, 422, "invalid_request", "thresholds.Name: "),
    (b'{"text": "a", "thresholds": {"Nme": 0.5}}', JSON, 422, "invalid_request", "'Nme'; the model has ['Before',"),
    (b'{"documents": [{"text": "a"}, {"id": 5, "text": "a"}]}', JSON, 422, "invalid_request", "documents[1].id: "),
    (b'{"documents": [{"id": "x"}]}', JSON, 422, "invalid_request", "documents[0]: expected exactly one of the fields"),
    (b'{"documents": [{"words": ["a b"]}]}', JSON, 422, "invalid_request", "documents[0].words[0]: "),
    (b'{"documents": [{"words": [["a", ""]]}]}', JSON, 422, "invalid_request", "documents[0].words[0][1]: "),
    (b'{"documents": [{"text": "a", "entities": []}]}', JSON, 422, "invalid_request", "documents[0].entities: Extra"),
    (b'{"text": "a"}', {"content-type": "text/plain"}, 415, "unsupported_media_type", "found 'text/plain'"),
    (b'{"text": "a"}', {}, 415, "unsupported_media_type", "found None"),
    (b'{"text": "a"}', {"content-type": "application/json; charset=latin-1"}, 415, "unsupported_media_type", "latin-1"),
    (b"\x1f\x8b", {**JSON, "content-encoding": "gzip"}, 415, "unsupported_media_type", "'gzip'"),
    (b'{"text": "' + b"a" * 500 + b'"}', JSON, 413, "text_too_long", "text: 500 characters, the limit is 200"),
    (b'{"texts": ["", "' + b"a" * 201 + b'"]}', JSON, 413, "text_too_long", "texts[1]: 201 characters"),
    (b'{"documents": [{"words": [["' + b"a" * 300 + b'"]]}]}', JSON, 413, "text_too_long", "[0]: 301 characters"),
    (b'{"text": "One.\\n\\n' + b"b " * 60 + b'"}', JSON, 413, "text_too_long", "of 119 characters from character 6 on"),
    (b'{"text": "a", "link_threshold": 0}', JSON, 422, "invalid_request", "0 is below 0.01"),
    (b'{"text": "a", "thresholds": {"Next": 0}}', JSON, 422, "invalid_request", "thresholds: 0 is below 0.01"),
    (b'{"texts": ["a", "b", "c", "d"]}', JSON, 413, "too_many_texts", "the request holds 4 texts, the limit is 3"),
    (b" " * 20_000, JSON, 413, "body_too_large", "larger than 11000 bytes"),
]  # fmt: skip


def test_invalid_requests_get_a_status_and_a_message() -> None:
    backend = RuleBackend()

    async def test(client: httpx.AsyncClient) -> None:
        for body, headers, status, code, message in WRONG:
            found = failure(await client.post("/extract", content=body, headers=headers))
            assert found[:2] == (status, code), (body[:80], found)
            assert message in found[2]
        assert failure(await client.get("/extract"))[:2] == (405, "method_not_allowed")
        assert failure(await client.get("/nothing"))[:2] == (404, "not_found")
        accepted = {"content-type": "Application/JSON; charset=UTF-8"}
        assert (
            await client.post("/extract", content=b'{"text": "\\ud83d\\ude00"}', headers=accepted)
        ).status_code == 200

    run(rule_app(backend, max_characters=200, max_texts=3, max_body_bytes=11_000, max_unit_characters=100), test)
    assert backend.read == {"😀"}


def test_body_of_many_errors_gets_a_short_answer_at_a_small_cost() -> None:
    number = 50_000
    body = {"texts": [0] * number}
    tracemalloc.start()
    with pytest.raises(ValidationError, match=f"{number:,} errors") as caught:
        ExtractRequest.model_validate(body)
    assert caught.value.error_count() == 1
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 200 * number  # an object for each takes far more

    async def test(client: httpx.AsyncClient) -> None:
        assert failure(await post(client, **body))[2].startswith("body: 50,000 errors")
        for long in ({"x" * 9000: 1}, {"thresholds": {"x" * 9000: 0.5}}):
            _, code, message = failure(await post(client, text="a", **long))
            assert code == "invalid_request"
            assert len(message) < 2100

    run(rule_app(), test)


def test_endless_body_is_not_held_past_the_limit() -> None:
    sent: list[int] = []

    async def endless() -> Any:
        while True:
            sent.append(1)
            yield b" " * 100

    async def test(client: httpx.AsyncClient) -> None:
        assert failure(await client.post("/extract", content=endless(), headers=JSON))[:2] == (413, "body_too_large")

    run(rule_app(max_body_bytes=1000), test)
    assert len(sent) < 20


def test_server_without_a_language_accepts_words_only() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        message = failure(await post(client, documents=[{"words": [["a"]]}, {"text": "a"}]))
        assert message == (
            422,
            "invalid_request",
            "documents[1]: this server accepts documents with words only, not text",
        )
        assert (await post(client, documents=[{"words": [["Ada"]]}, {"text": " "}])).status_code == 200
        assert (await client.get("/model")).json()["language"] is None

    run(create_app(Extractor(RuleBackend(), None)), test)


# load and faults -----------------------------------------------------------------------------------------------------


def test_full_queue_answers_429_and_recovers() -> None:
    backend = RuleBackend()
    app = rule_app(backend, queue=2, max_wait_ms=0)

    async def test(client: httpx.AsyncClient) -> None:
        backend.gate.clear()
        held = [asyncio.create_task(post(client, text=sentence(number))) for number in range(2)]
        await until(lambda: service_of(app).open == 2)
        refused = await post(client, text="Not now")
        assert failure(refused)[:2] == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        assert failure(await client.get("/ready"))[:2] == (503, "not_ready")
        assert (await client.get("/health")).json() == {"status": "live"}
        backend.gate.set()
        assert [response.status_code for response in await asyncio.gather(*held)] == [200, 200]
        assert (await client.get("/ready")).json() == {"status": "ready"}
        assert (await post(client, text="Now")).status_code == 200

    run(app, test)
    assert "Not now" not in backend.read


def test_timed_out_request_gets_504_and_its_work_is_dropped() -> None:
    backend = RuleBackend()
    app = rule_app(backend, timeout=0.2, max_wait_ms=0)

    async def test(client: httpx.AsyncClient) -> None:
        backend.gate.clear()
        begun = asyncio.create_task(post(client, text="Begun"))
        await until(backend.called.is_set)
        assert failure(await post(client, text="Queued")) == (504, "timeout", "no result in 0.2 s")
        assert failure(await begun)[0] == 504
        backend.gate.set()
        await in_line(app, 0)
        assert (await post(client, text="Later")).status_code == 200

    run(app, test)
    assert backend.read == {"Begun", "Later"}
    assert service_of(app).open == 0


def test_deadline_stops_the_work_between_two_portions() -> None:
    portions: list[str] = []

    class Portioned(RuleBackend):
        def predict(self, examples: Iterable[Example], *bounds: Any) -> Iterator[Prediction]:
            examples = list(examples)
            for word in cancellable(examples[0].words):
                portions.append(word)
                time.sleep(0.01)
            return super().predict(examples, *bounds)

    async def test(client: httpx.AsyncClient) -> None:
        assert failure(await post(client, documents=[{"words": [["long"] * 3000]}]))[:2] == (504, "timeout")
        assert (await post(client, text="Next")).status_code == 200

    run(rule_app(Portioned(), timeout=0.3, max_wait_ms=0), test)
    assert portions.count("long") < 100
    assert "Next" in portions


def test_limits_of_a_window_are_reported_as_truncated() -> None:
    model = tiny_model("bert", omega=3)
    model.limits = WindowLimits(entities=2)

    async def test(client: httpx.AsyncClient) -> None:
        dense, short = (await post(client, texts=["Ada lives in London. " * 3, ""])).json()["documents"]
        assert dense["truncated"]
        assert "truncated" not in short

    run(create_app(Extractor(TorchBackend(model), splitter())), test)


def test_body_that_does_not_arrive_gets_408() -> None:
    async def stuck() -> Any:
        yield b'{"text": '
        await asyncio.sleep(10)

    async def test(client: httpx.AsyncClient) -> None:
        assert failure(await client.post("/extract", content=stuck(), headers=JSON))[:2] == (408, "body_timeout")

    run(rule_app(timeout=0.1), test)


def test_work_of_a_client_that_left_is_dropped() -> None:
    backend = RuleBackend()
    app = rule_app(backend, max_wait_ms=0)

    async def test(client: httpx.AsyncClient) -> None:
        backend.gate.clear()
        begun = asyncio.create_task(post(client, text="Begun"))
        await until(backend.called.is_set)
        left = asyncio.Event()
        request = {"type": "http.request", "body": b'{"text": "Left"}', "more_body": False}
        messages = [request]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "method": "POST", "path": "/extract", "raw_path": b"/extract",
            "query_string": b"", "headers": [(b"content-type", b"application/json")], "http_version": "1.1",
            "scheme": "http", "root_path": "", "client": ("c", 1), "server": ("s", 1),
        }  # fmt: skip
        gone = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
        await in_line(app, 1)
        left.set()
        await gone
        backend.gate.set()
        assert (await begun).status_code == 200
        assert (await post(client, text="Later")).status_code == 200
        assert 'iter_requests_total{status="499"} 1.0' in (await client.get("/metrics")).text

    run(app, test)
    assert backend.read == {"Begun", "Later"}


def test_request_that_the_model_fails_on_fails_alone() -> None:
    backend = RuleBackend()

    async def test(client: httpx.AsyncClient) -> None:
        texts = [*map(sentence, range(5)), "Poison here.", *map(sentence, range(5, 10))]
        responses = await asyncio.gather(*(post(client, text=text) for text in texts))
        for text, response in zip(texts, responses, strict=True):
            if "Poison" in text:
                assert failure(response)[:2] == (500, "extraction_failed")
                assert "cannot swallow this" in failure(response)[2]
            else:
                assert response.json()["documents"][0]["text"] == text
        assert (await client.get("/health")).status_code == 200
        assert "iter_model_failures_total 1.0" in (await client.get("/metrics")).text

    run(rule_app(backend, max_wait_ms=300, max_batch=11), test)
    assert len(backend.calls[0]) == 11


@pytest.mark.parametrize("fault", [RuntimeError("the device is lost"), SystemExit(3)], ids=["exception", "exit"])
def test_broken_model_is_reported_to_all_requests(fault: BaseException) -> None:
    backend = RuleBackend()

    async def test(client: httpx.AsyncClient) -> None:
        assert (await post(client, text="Fine")).status_code == 200
        backend.gate.clear()
        backend.called.clear()
        waiting = [asyncio.create_task(post(client, text=sentence(number))) for number in range(5)]
        await until(backend.called.is_set)
        backend.failure = fault
        backend.gate.set()
        for response in await asyncio.gather(*waiting):
            assert failure(response)[:2] == (500, "model_broken")
        assert failure(await post(client, text="Later"))[:2] == (500, "model_broken")
        for path in ("/health", "/ready"):
            assert failure(await client.get(path))[:2] == (503, "not_ready")
        assert "iter_model_working 0.0" in (await client.get("/metrics")).text

    run(rule_app(backend, max_batch=2), test)


def test_model_that_cannot_read_is_reported_at_the_start() -> None:
    with pytest.raises(ConfigError, match="cannot read a sentence: ValueError: no such operator"):
        run(rule_app(RuleBackend(failure=ValueError("no such operator"))), lambda client: client.get("/ready"))


def test_slow_splitting_does_not_block_the_server() -> None:
    """Neither the model nor the splitting of words runs where requests are taken."""
    backend = RuleBackend()

    class SlowSplitter(Splitter):
        def __call__(self, documents: Any) -> list[Document]:
            assert backend.gate.wait(10)
            return super().__call__(documents)

    async def test(client: httpx.AsyncClient) -> None:
        backend.gate.clear()
        held = asyncio.create_task(post(client, text="Split"))
        await until(lambda: service_of(app).open == 1)
        async with asyncio.timeout(1):
            assert (await client.get("/ready")).status_code == 200
        backend.gate.set()
        assert (await held).status_code == 200

    app = create_app(Extractor(backend, SlowSplitter("en")))
    run(app, test)


# description ---------------------------------------------------------------------------------------------------------


def test_openapi_is_valid_and_its_examples_are_accepted() -> None:
    app = rule_app()

    async def test(client: httpx.AsyncClient) -> None:
        described = (await client.get("/openapi.json")).json()
        OpenAPI.model_validate(described)
        schemas = described["components"]["schemas"]
        references = set(json.dumps(described).split('"#/components/schemas/')[1:])
        assert {reference.split('"')[0] for reference in references} <= set(schemas)
        assert set(described["paths"]) == {"/extract", "/health", "/ready", "/model", "/metrics"}
        operation = described["paths"]["/extract"]["post"]
        assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/ExtractRequest")
        for example in schemas["ExtractRequest"]["examples"]:
            assert (await post(client, **example)).status_code == 200
        assert set(operation["responses"]) >= {"400", "413", "415", "422", "429", "504"}
        described = operation["responses"]["422"]["content"]["application/json"]["schema"]["$ref"]
        assert described.endswith("/ErrorResponse")
        ModelResponse.model_validate((await client.get("/model")).json())

    run(app, test)


def test_metrics_of_two_applications_are_separate() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        await post(client, texts=["Ada met Bo.", "Ada"])
        await post(client, text=1)
        response = await client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain")
        found = dict(line.rsplit(" ", 1) for line in response.text.splitlines() if not line.startswith("#"))
        assert (
            float(found['iter_requests_total{status="200"}']) == float(found['iter_requests_total{status="422"}']) == 1
        )
        assert (float(found["iter_documents_total"]), float(found["iter_characters_total"])) == (2, 14)
        assert float(found["iter_entities_total"]) == 3
        assert (float(found["iter_batch_documents_sum"]), float(found["iter_batch_documents_count"])) == (2, 1)
        assert float(found["iter_waiting_seconds_count"]) == float(found["iter_computing_seconds_count"]) == 1
        assert float(found["process_resident_memory_bytes"]) > 1e6

    for _ in range(2):
        run(rule_app(), test)


def test_page_loads_nothing_from_elsewhere() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        page = await client.get("/")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "://" not in page.text
        for name in ("picture.css", "picture.js", "home.css", "home.js"):
            assert f"assets/{name}" in page.text
            assert (await client.get(f"/assets/{name}")).text.strip()
        assert "iterPage" in (await client.get("/assets/picture.js")).text
        for path in ("/assets/nothing", "/assets/..%2fapp.py", "/docs", "/redoc"):
            assert failure(await client.get(path))[:2] == (404, "not_found")

    run(rule_app(), test)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_batch", 0),
        ("queue", 0),
        ("max_wait_ms", -1),
        ("timeout", 0),
        ("timeout", float("inf")),
        ("link_threshold", 2),
    ],
)
def test_options_out_of_bounds_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        ServeOptions(**{name: value})  # type: ignore[arg-type]
