"""Time models over sentences: interleaved passes, rates, and sentences of a given length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch.utils.benchmark import Timer

from iter_lightning.errors import ConfigError
from iter_lightning.types import Example

if TYPE_CHECKING:
    from iter_lightning.model import IterModel

__all__ = ["Measured", "measure", "pass_seconds", "samples_of_length"]


@dataclass(frozen=True)
class Measured:
    """Samples per second over several passes.

    Attributes:
        median: rate of the middle pass.
        low: rate of the slowest pass.
        high: rate of the fastest pass.
        samples: number of examples in a pass.
        subwords: mean length of an example, special tokens included.
        batch_size: number of examples in a batch.
    """

    median: float
    low: float
    high: float
    samples: int
    subwords: int
    batch_size: int


def pass_seconds(works: Mapping[str, Callable[[], object]], passes: int) -> dict[str, list[float]]:
    """Time several works in turn, so that a disturbance of the machine meets all of them.

    Each pass of a work is one warm-up call and at least one timed call, with all threads of torch, with garbage
    collection, and after waiting for a GPU.

    Args:
        works: the functions to time, by name.
        passes: number of rounds through all works.

    Returns:
        Seconds per call of each work in each round.

    Raises:
        ConfigError: `passes` is below 1.

    Example:
        >>> seconds = pass_seconds({"sum": lambda: sum(range(1000))}, passes=3)
        >>> len(seconds["sum"])
        3
    """
    if passes < 1:
        raise ConfigError(f"passes must be at least 1, found {passes}")
    threads = torch.get_num_threads()
    timers = {
        name: Timer("work()", setup="import gc; gc.enable()", globals={"work": work}, num_threads=threads)
        for name, work in works.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(passes):
        for name, timer in timers.items():
            seconds[name].append(timer.blocked_autorange(min_run_time=0.1).median)
    return seconds


def measure(run: Callable[[], object], samples: int, subwords: int, batch_size: int, passes: int) -> Measured:
    """Measure how many samples per second a function processes.

    Args:
        run: processes all samples once.
        samples: number of examples that one call processes.
        subwords: mean length of an example; only reported.
        batch_size: number of examples in a batch; only reported.
        passes: number of timed passes.

    Returns:
        Median, lowest and highest rate.

    Raises:
        ConfigError: `passes` is below 1.

    Example:
        >>> measure(lambda: sum(range(1000)), samples=10, subwords=7, batch_size=2, passes=3).samples
        10
    """
    rates = [samples / second for second in pass_seconds({"run": run}, passes)["run"]]
    return Measured(median(rates), min(rates), max(rates), samples, subwords, batch_size)


def samples_of_length(model: IterModel, examples: Sequence[Example], subwords: int, count: int) -> list[Example]:
    """Make sentences of one length from the words of a corpus, strung together and cut.

    Args:
        model: provides the tokenizer.
        examples: provide the words, in order.
        subwords: the longest length, special tokens included; each sentence is less than one word shorter. A sentence
            has at least one word.
        count: number of sentences to make.

    Returns:
        Sentences without annotation.

    Example:
        >>> samples_of_length(model, examples, subwords=32, count=8)  # doctest: +SKIP
    """
    aligner = model.aligner()
    distinct = sorted({word for example in examples for word in example.words})
    special = len(aligner.prefix) + len(aligner.suffix)
    alone = aligner.encode([Example((word,)) for word in distinct])
    lengths = {word: len(found) - special for word, found in zip(distinct, alone, strict=True)}
    samples: list[Example] = []
    taken: list[str] = []
    used = special
    for word in cycle(word for example in examples for word in example.words):
        if taken and used + lengths[word] > subwords:
            samples.append(Example(tuple(taken)))
            taken, used = [], special
            if len(samples) == count:
                break
        taken.append(word)
        used += lengths[word]
    return samples
