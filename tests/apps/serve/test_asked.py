"""Requests with labels of their own: what they find, what they share, and what their mistakes say."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import torch

from iter_lightning.apps.serve.app import create_app
from iter_lightning.apps.serve.schemas import ModelResponse
from iter_lightning.extraction.backends import TorchBackend
from iter_lightning.extraction.extractor import Extractor
from iter_lightning.model import IterModel
from iter_lightning.model.label_layers import LabelLinear
from tests.apps.serve.builders import RuleBackend, rule_app, splitter
from tests.apps.serve.test_app import failure, in_line, post, run, sentence, until
from tests.builders import tiny_model

ARGUMENTS: dict[str, Any] = {"near": {"head": "person", "tail": ["city", "bank"], "symmetric": True}, "in": "inside"}


def open_model() -> IterModel:
    """A small open model whose label weights are large enough to find something."""
    model = tiny_model("bert", heads="open", omega=2, self_links=False, seed=3)
    torch.manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, LabelLinear):
                module.offset.weight.normal_()
                module.column.weight.mul_(20)
    return model.eval()


def test_answers_equal_the_extractors_for_every_form_of_labels() -> None:
    extractor = Extractor(TorchBackend(open_model()), splitter())
    text = "Ada lives in London. She works for the Bank of London."
    asked: list[dict[str, Any]] = [
        {"labels": ["person", "city"]},
        {"labels": {"person": "a human", "city": None, "bank": None}, "relations": ["works for", "in"]},
        {"labels": ["person", "city", "bank"], "relations": {"in": ["person", None], "near": [None, ["city", "bank"]]}},
        {"labels": ["person", "city", "bank"], "relations": ARGUMENTS},
        {"relations": ["in"]},
    ]
    expected = [extractor(text, 0.02, **each).to_dict() for each in asked]
    assert any(each["entities"] for each in expected)
    assert any(each["relations"] for each in expected)
    plain = extractor(text).to_dict()

    async def test(client: httpx.AsyncClient) -> None:
        responses = await asyncio.gather(*(post(client, text=text, link_threshold=0.02, **each) for each in asked))
        assert [response.json()["documents"] for response in responses] == [[each] for each in expected]
        nothing = await post(client, text=text, labels=None, relations=None)
        assert nothing.json()["documents"] == [plain]
        model = ModelResponse.model_validate((await client.get("/model")).json())
        assert model.open

    run(create_app(extractor), test)


def test_fixed_model_refuses_labels() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        refused = await post(client, text="Ada", labels=["person"])
        assert failure(refused)[:2] == (422, "invalid_request")
        assert "the types of this one are Loc, Org, Per" in failure(refused)[2]
        assert not (await client.get("/model")).json()["open"]

    run(create_app(Extractor(TorchBackend(tiny_model("bert")), splitter())), test)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"labels": "person"}, "labels: expected a list of names or a map, found 'person'"),
        ({"labels": 3}, "labels: expected a list of names or a map, found 3"),
        ({"labels": []}, "at least one entity type"),
        ({"labels": ["a", "a"]}, "labels: 'a' is given twice"),
        ({"labels": [{}]}, "labels: expected a name, found {}"),
        ({"labels": {"a": 1}}, "labels: a: expected a description, found 1"),
        ({"labels": ["a"], "relations": {"r": ["a"]}}, "relations: r: expected the types of the head and of the tail"),
        ({"labels": ["a"], "relations": {"r": ["a", "b"]}}, "['b'] are not entity types; those are ['a']"),
        ({"labels": ["a"], "relations": {"r": {"head": 3}}}, "labels: "),
        ({"labels": ["a"], "relations": {"r": {"head": [["a"]]}}}, "not entity types"),
        ({"labels": ["a"], "relations": {"r": {"type": "a"}}}, "relations: r: found type; expected description"),
        ({"labels": ["a", "b", "c"], "relations": ["d", "e", "f"]}, "expected at most 5 together, found 6"),
        ({"labels": ["person" * 4]}, "the name has 24 characters; expected at most 20"),
        ({"labels": ["a"], "relations": {"r": "so long a text"}}, "200 OK"),
        ({"labels": ["a"], "relations": {"r": "too long a text by far"}}, "relations: r: name and description have 25"),
        ({"labels": ["a"], "thresholds": {"Name": 0.5}}, "thresholds name 'Name'; the model has ['a']"),
        ({"labels": ["Poison"]}, "the model failed on these labels: RuntimeError: cannot swallow this"),
    ],
)
def test_mistakes_are_named(body: dict[str, Any], part: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        response = await post(client, text="Ada met Bo.", **body)
        if part == "200 OK":
            assert response.status_code == 200
            return
        status, code, message = failure(response)
        assert (status, code) == ((500, "extraction_failed") if "Poison" in str(body) else (422, "invalid_request"))
        assert part in message

    run(rule_app(RuleBackend(open=True), max_labels=5, max_label_characters=20), test)


def test_lone_surrogate_in_a_label_is_refused() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        content = b'{"text": "a", "labels": ["\\ud83d"]}'
        response = await client.post("/extract", content=content, headers={"content-type": "application/json"})
        assert failure(response)[:2] == (422, "invalid_request")
        assert "lone surrogate" in failure(response)[2]

    run(rule_app(RuleBackend(open=True)), test)


def test_thresholds_hold_for_the_labels_asked_for() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        body = {"texts": [sentence(83)], "labels": ["who"], "relations": ["before"], "link_threshold": 0.01}
        every = (await post(client, **body)).json()["documents"][0]
        none = (await post(client, **body, thresholds={"who": 1.0})).json()["documents"][0]
        some = (await post(client, **body, thresholds={"before": 1.0})).json()["documents"][0]
        assert {entity["type"] for entity in every["entities"]} == {"who"}
        assert {relation["type"] for relation in every["relations"]} == {"before"}
        assert (none["entities"], some["relations"]) == ([], [])
        assert some["entities"] == every["entities"]

    run(rule_app(RuleBackend(open=True)), test)


def test_calls_hold_requests_for_the_same_labels_and_none_starve() -> None:
    """A long request for some labels, short ones for others: each call is for one set, and the sets take turns."""
    backend = RuleBackend(open=True)
    app = rule_app(backend, max_batch=4, max_wait_ms=0)
    done: list[str] = []

    async def test(client: httpx.AsyncClient) -> None:
        async def ask(name: str, first: int, number: int, **body: Any) -> None:
            texts = [sentence(first + each) for each in range(number)]
            found = (await post(client, texts=texts, **body)).json()["documents"]
            assert {e["type"] for document in found for e in document["entities"]} == {body.get("labels", ["Name"])[0]}
            done.append(name)

        backend.gate.clear()
        long = asyncio.create_task(ask("long", 0, 60, labels=["L"]))
        await until(backend.called.is_set)
        rest = [asyncio.create_task(ask("plain", 100, 3)), asyncio.create_task(ask("plain", 110, 3))]
        rest += [asyncio.create_task(ask(f"S{n}", 200 + 10 * n, 2, labels=[f"S{n % 2}"])) for n in range(4)]
        await in_line(app, 7)
        backend.gate.set()
        await asyncio.gather(long, *rest)

    run(app, test)
    assert done[-1] == "long"
    kinds = [
        {"L" if number < 100 else "plain" if number < 200 else f"S{number // 10 % 2}" for number in numbers}
        for numbers in ([int(next(w for w in e.words if w[0] == "x")[1:]) for e in call] for call in backend.calls)
    ]
    assert all(len(kind) == 1 for kind in kinds)
    assert len(set.union(*kinds[:5])) == 4  # after the first call of the long request, all others had their turn
    assert len(kinds) == 15 + 2 + 2
