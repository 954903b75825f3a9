"""A stream of predictions: in order, whatever the batches, pools and processes; bounded; honest about misuse."""

from __future__ import annotations

import itertools
import random

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.model import IterModel
from iter_lightning.model.pipeline import stream
from iter_lightning.types import Example
from tests.builders import COMMON, assert_close, random_example, tiny_model

TEXTS = [random_example(random.Random(i), words=random.Random(i).randint(0, 30), id=str(i)) for i in range(23)]


@pytest.fixture(scope="module")
def model() -> IterModel:
    return tiny_model("bert", max_subwords=24, window_overlap=6)  # some texts take several windows


@pytest.mark.parametrize(("size", "tokens", "pool"), [(1, None, 5), (4, None, 23), (None, 64, 7), (3, 40, 2048)])
def test_order_does_not_depend_on_batches(model: IterModel, size: int | None, tokens: int | None, pool: int) -> None:
    expected = [model.predict([text])[0] for text in TEXTS]
    assert_close(list(stream(model, TEXTS, size, max_tokens=tokens, pool=pool)), expected)
    assert any(p.relations for p in expected)


@pytest.mark.slow
def test_worker_processes_find_the_same(model: IterModel) -> None:
    assert_close(list(stream(model, TEXTS, 4, workers=1, pool=5)), model.predict(TEXTS))


def test_an_endless_stream_is_read_a_pool_at_a_time(model: IterModel) -> None:
    taken = 0

    def endless() -> itertools.chain[Example]:
        def count(text: Example) -> Example:
            nonlocal taken
            taken += 1
            return text

        return itertools.chain.from_iterable(map(count, TEXTS) for _ in itertools.count())

    found = list(itertools.islice(stream(model, endless(), 4, pool=10), 25))
    assert taken == 30
    assert_close(found, model.predict((TEXTS * 2)[:25]))


def test_gold_is_not_read_and_the_mode_comes_back(model: IterModel) -> None:
    bare = [Example(text.words) for text in TEXTS]
    model.train()
    assert_close(model.predict(TEXTS), model.predict(bare))
    assert model.training
    model.eval()


def test_nothing_gives_nothing(model: IterModel) -> None:
    assert model.predict([]) == []
    assert model.predict([], workers=1) == []
    (found,) = model.predict([Example(())])
    assert not found.entities


def test_a_budget_bounds_every_batch(model: IterModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    original = model.propose
    monkeypatch.setattr(
        model,
        "propose",
        lambda batch, *rest: (sizes.append(tuple(batch.input_ids_BN.shape)), original(batch, *rest))[1],
    )
    texts = [Example((COMMON[0],) * n) for n in range(1, 20)]
    list(stream(model, texts, None, max_tokens=60))
    assert all(rows * width <= 60 for rows, width in sizes)
    assert len(sizes) < len(texts) / 2


@pytest.mark.parametrize(("options", "message"), [
    ({"batch_size": None}, "batches need a limit"), ({"batch_size": 0}, "batch_size must be at least 1, found 0"),
    ({"max_tokens": 0}, "max_tokens must be at least 1"), ({"workers": -1}, "workers must be at least 0, found -1"),
    ({"pool": 0}, "pool must be at least 1"),
])  # fmt: skip
def test_a_bound_that_cannot_be_is_told(model: IterModel, options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stream(model, TEXTS, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_workers_fault_is_raised_here(model: IterModel) -> None:
    texts = [*TEXTS, Example((1,))]  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError)):
        list(stream(model, texts, 4, workers=1, pool=5))
