"""What other sentences could do to a score, and whether two systems differ. Pure functions over arrays of counts.

R runs, S sentences, N resamples; the last axis holds true positives, false positives, false negatives. A score is
micro F1 over all sentences of a run; of several runs, the mean of theirs. Sentences are what is drawn: the results
hold for the runs as they are, on other sentences like these. How far other seeds move a score is `Summary.std`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]
CELLS = 2**20
"""Numbers drawn at a time: what bounds the memory."""
ROUNDING = 1e-12
"""Differences of F1 closer than this are equal; the order of a sum decides the last bits."""


@dataclass(frozen=True)
class Summary:
    """The scores of several runs."""

    n: int
    mean: float
    std: float | None
    """Of the sample (n - 1); None for one run."""
    min: float
    max: float


class Interval(NamedTuple):
    """A percentile interval."""

    low: float
    high: float


class PairedTest(NamedTuple):
    """Outcome of `paired_permutation`."""

    difference: float
    """F1 of A minus F1 of B."""
    p: float
    """Two-sided, in (0, 1]."""


class PairedInterval(NamedTuple):
    """Outcome of `paired_bootstrap`."""

    low: float
    high: float
    flips: float
    """Share of resamples in which the system that is ahead is not, in [0, 1]; 1 where neither is ahead."""


def f1(counts: Counts) -> Floats:
    """F1 in [0, 1] of counts [..., 3], without the last axis; 0 where there is neither gold nor prediction."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    total = 2 * tp + fp + fn
    return np.asarray(2 * tp / np.where(total > 0, total, 1.0))


def micro_f1(runs: Counts | Sequence[Counts]) -> Floats:
    """[R]: F1 over all sentences of each run, of R arrays [S, 3]."""
    return np.array([f1(np.asarray(run).sum(axis=0)) for run in runs])


def summarize(values: Sequence[float] | Floats) -> Summary:
    """Number, mean, sample standard deviation, minimum, maximum.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("no values to summarize; expected at least one")
    found = np.asarray(values, dtype=np.float64)
    std = float(found.std(ddof=1)) if len(found) > 1 else None
    return Summary(len(found), float(found.mean()), std, float(found.min()), float(found.max()))


def bootstrap_interval(
    runs: Sequence[Counts],
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the mean F1 of runs, sentences resampled.

    Args:
        runs: R arrays [S, 3].
        groups: a label a run; runs of one label were tested on the same sentences and share a draw (seeds), those of
            different ones do not (folds), and S may differ. None: all on the same sentences.
        confidence: in (0, 1).
        resamples: N.
        seed: of the draws.

    Raises:
        ValueError: counts of another shape, no runs, unequal S of the same sentences, or an option out of range.
    """
    _check(resamples, confidence)
    rng = np.random.default_rng(seed)
    together: dict[Hashable, list[Counts]] = {}
    for run, label in zip(runs, groups if groups is not None else [0] * len(runs), strict=True):
        together.setdefault(label, []).append(run)
    if not together:
        _stack([])  # an error
    found = np.concatenate([_resampled_f1(_stack(mine), resamples, rng) for mine in together.values()], axis=1)
    return Interval(*_percentiles(found.mean(axis=1), confidence))


def paired_permutation(
    a: Counts | Sequence[Counts], b: Counts | Sequence[Counts], resamples: int = 10_000, seed: int = 0
) -> PairedTest:
    """Whether mean F1 of A and of B differ by more than swapping single sentences between them would explain.

    Under the null hypothesis a sentence's counts could as well have come from the other system. A permutation swaps
    the sentences that a fair coin picks, with the same coin for all runs. As no run of A belongs to one of B, and
    their numbers may differ, each run of A is swapped with each run of B and the F1 of all R_A x R_B pairs are
    averaged; nothing swapped, that is the difference of the means. p counts the observed difference as one
    permutation more (the +1 of Phipson and Smyth, 2010), so it is never 0.

    Args:
        a: [R_A, S, 3].
        b: [R_B, S, 3], of the same sentences in the same order.
        resamples: N permutations.
        seed: of the coins.

    Raises:
        ValueError: counts of another shape, unequal S, or no permutations.
    """
    _check(resamples)
    a_RS3, b_RS3 = _pair(a, b)
    observed = float(micro_f1(a_RS3).mean() - micro_f1(b_RS3).mean())
    rng = np.random.default_rng(seed)
    pairs = len(a_RS3) * len(b_RS3)
    whole_a, whole_b = a_RS3.sum(axis=1)[:, None], b_RS3.sum(axis=1)
    extreme = 0
    for size in _chunks(resamples, max(a_RS3.shape[1], 6 * pairs)):
        swapped_NS = rng.integers(0, 2, size=(size, a_RS3.shape[1])).astype(np.float64)
        from_a, from_b = _totals(swapped_NS, a_RS3)[:, :, None], _totals(swapped_NS, b_RS3)[:, None]
        ahead = f1(whole_a - from_a + from_b) - f1(whole_b - from_b + from_a)  # [N, R_A, R_B]
        extreme += int((np.abs(ahead.mean(axis=(1, 2))) >= abs(observed) - ROUNDING).sum())
    return PairedTest(observed, (extreme + 1) / (resamples + 1))


def paired_bootstrap(
    a: Counts | Sequence[Counts], b: Counts | Sequence[Counts], confidence: float = 0.95, resamples: int = 10_000,
    seed: int = 0,
) -> PairedInterval:  # fmt: skip
    """Percentile interval of mean F1 of A minus mean F1 of B; one draw of sentences for all runs of both.

    Args:
        a: [R_A, S, 3].
        b: [R_B, S, 3], of the same sentences in the same order.
        confidence: in (0, 1).
        resamples: N.
        seed: of the draws.

    Raises:
        ValueError: counts of another shape, unequal S, or an option out of range.
    """
    _check(resamples, confidence)
    a_RS3, b_RS3 = _pair(a, b)
    observed = float(micro_f1(a_RS3).mean() - micro_f1(b_RS3).mean())
    found = _resampled_f1(np.concatenate([a_RS3, b_RS3]), resamples, np.random.default_rng(seed))
    ahead = found[:, : len(a_RS3)].mean(axis=1) - found[:, len(a_RS3) :].mean(axis=1)
    direction = math.copysign(1.0, observed) if abs(observed) > ROUNDING else 0.0
    return PairedInterval(*_percentiles(ahead, confidence), float((ahead * direction <= ROUNDING).mean()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm, 1979), in the order given; the family-wise error stays at alpha."""
    if not len(p_values):
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def _resampled_f1(counts_RS3: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """[N, R]: F1 of each run over the sentences drawn, with one draw for all runs."""
    sentences = counts_RS3.shape[1]
    parts = []
    for size in _chunks(resamples, max(sentences, 3 * len(counts_RS3))):
        drawn_NS = rng.integers(0, sentences, size=(size, sentences)) + sentences * np.arange(size)[:, None]
        often_NS = np.bincount(drawn_NS.ravel(), minlength=size * sentences).reshape(size, sentences)
        parts.append(f1(_totals(often_NS.astype(np.float64), counts_RS3)))
    return np.concatenate(parts)


def _totals(weights_NS: Floats, counts_RS3: Floats) -> Floats:
    """[N, R, 3]: the counts of each run, each sentence weighted."""
    runs, sentences, _ = counts_RS3.shape
    columns = counts_RS3.transpose(1, 0, 2).reshape(sentences, 3 * runs)
    return (weights_NS @ columns).reshape(-1, runs, 3)


def _chunks(resamples: int, width: int) -> Iterator[int]:
    """How many resamples of `width` numbers to draw at a time."""
    size = max(1, CELLS // width)
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _stack(runs: Counts | Sequence[Counts]) -> Floats:
    shapes = sorted({np.shape(run) for run in runs})
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][0] == 0 or shapes[0][1] != 3:
        raise ValueError(f"expected counts [sentences, 3] of the same sentences for each run, found shapes {shapes}")
    return np.stack([np.asarray(run, dtype=np.float64) for run in runs])


def _pair(a: Counts | Sequence[Counts], b: Counts | Sequence[Counts]) -> tuple[Floats, Floats]:
    a_RS3, b_RS3 = _stack(a), _stack(b)
    if a_RS3.shape[1] != b_RS3.shape[1]:
        raise ValueError(f"expected the same sentences, found {a_RS3.shape[1]} of A and {b_RS3.shape[1]} of B")
    return a_RS3, b_RS3


def _check(resamples: int, confidence: float = 0.95) -> None:
    if resamples < 1:
        raise ValueError(f"expected at least one resample, found {resamples}")
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, found {confidence}")
