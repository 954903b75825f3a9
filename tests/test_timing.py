from __future__ import annotations

import itertools
import random

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.timing import measure, pass_seconds, samples_of_length
from iter_lightning.types import Example
from tests.builders import TOKENIZERS, random_example, tiny_model


def test_pass_seconds_of_two_works_alternates_and_warms_up() -> None:
    called: list[str] = []
    works = {name: lambda name=name: called.append(name) for name in ("floor", "ours")}
    seconds = pass_seconds(works, passes=2)
    assert [name for name, _ in itertools.groupby(called)] == ["floor", "ours"] * 2
    assert [len(values) for values in seconds.values()] == [2, 2]
    assert all(second > 0 for values in seconds.values() for second in values)


def test_pass_seconds_without_passes_is_refused() -> None:
    with pytest.raises(ConfigError, match="passes must be at least 1, found 0"):
        pass_seconds({"ours": lambda: None}, passes=0)


def test_measure_returns_samples_per_second() -> None:
    found = measure(lambda: sum(range(10_000)), samples=5, subwords=7, batch_size=2, passes=3)
    assert 0 < found.low <= found.median <= found.high
    assert (found.samples, found.subwords, found.batch_size) == (5, 7, 2)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_samples_of_length_are_less_than_one_word_short(kind: str) -> None:
    model = tiny_model({"wordpiece": "bert", "byte_level": "roberta", "metaspace": "t5"}[kind])
    examples = [random_example(random.Random(seed), words=40) for seed in range(3)]
    longest = max(len(e) for e in model.aligner().encode([Example((w,)) for x in examples for w in x.words]))
    for length, count in itertools.product((16, 100), (1, 3)):
        samples = samples_of_length(model, examples, length, count)
        lengths = [sum(map(len, encoded.windows)) for encoded in model.aligner().encode(samples)]
        assert len(samples) == count
        assert all(length - longest < n <= length for n in lengths)
