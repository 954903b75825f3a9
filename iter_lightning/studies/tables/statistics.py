"""How far other test sentences would move a score, and whether two systems differ (SciPy over arrays of counts).

Shapes: R runs, S sentences, N resamples; the last axis holds true positives, false positives, false negatives. A score
is micro F1 over all sentences of a run; for several runs, the mean of theirs. Sentences are resampled: the results
hold for these runs, on other sentences like these. `Summary.std` says how far other seeds move a score.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]
CELLS = 2**20
"""Numbers drawn at a time, which bounds the memory."""
DECIMALS = 12
"""Differences of F1 are compared to this precision, because the order of a sum decides the last bits."""


@dataclass(frozen=True)
class Summary:
    """The scores of several runs."""

    n: int
    mean: float
    std: float | None
    """Standard deviation of the sample (n - 1); None for one run."""
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
    """Share of resamples in which the better system is not ahead, in [0, 1]; 1 if neither is better."""


def f1(counts: Counts) -> Floats:
    """Compute F1 in [0, 1] of counts [..., 3]; 0 if there is neither gold nor prediction."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    total = 2 * tp + fp + fn
    return np.asarray(2 * tp / np.where(total > 0, total, 1.0))


def micro_f1(runs: Counts | Sequence[Counts]) -> Floats:
    """Compute F1 [R] over all sentences of each of R arrays [S, 3]."""
    return np.array([f1(np.asarray(run).sum(axis=0)) for run in runs])


def summarize(values: Sequence[float] | Floats) -> Summary:
    """Compute number, mean, sample standard deviation, minimum and maximum.

    Raises:
        ValueError: No values.
    """
    if not len(values):
        raise ValueError("no values to summarize; expected at least one")
    found = np.asarray(values, dtype=np.float64)
    std = float(found.std(ddof=1)) if len(found) > 1 else None
    return Summary(len(found), float(found.mean()), std, float(found.min()), float(found.max()))


def bootstrap_interval(
    runs: Sequence[Counts], groups: Sequence[Hashable] | None = None, confidence: float = 0.95,
    resamples: int = 10_000, seed: int = 0,
) -> Interval:  # fmt: skip
    """Compute the percentile bootstrap interval of the mean F1 of runs.

    Args:
        runs: R arrays [S, 3].
        groups: A label a run. Runs of one label were tested on the same sentences and share a draw (seeds); those of
            different labels do not (folds), and S may differ. None: all on the same sentences.
        confidence: In (0, 1).
        resamples: N.
        seed: Seed of the draws.

    Raises:
        ValueError: Counts of another shape, no runs, unequal S of the same sentences, or an option out of range.
    """
    together: dict[Hashable, list[Counts]] = {}
    for run, label in zip(runs, groups if groups is not None else [0] * len(runs), strict=True):
        together.setdefault(label, []).append(run)
    stacks = [_stack(mine) for mine in together.values()] or [_stack([])]

    def mean_f1(*drawn: NDArray[np.int64]) -> Floats:
        found = [_resampled_f1(places, stack) for places, stack in zip(drawn, stacks, strict=True)]
        return np.asarray(np.concatenate(found, axis=1).mean(axis=1))

    low, high, _ = _bootstrap(mean_f1, stacks, confidence, resamples, seed)
    return Interval(low, high)


def paired_bootstrap(
    a: Counts | Sequence[Counts], b: Counts | Sequence[Counts], confidence: float = 0.95, resamples: int = 10_000,
    seed: int = 0,
) -> PairedInterval:  # fmt: skip
    """Compute the percentile interval of mean F1 of A minus mean F1 of B, with one draw of sentences for all runs.

    Args:
        a: [R_A, S, 3].
        b: [R_B, S, 3], of the same sentences in the same order.
        confidence: In (0, 1).
        resamples: N.
        seed: Seed of the draws.

    Raises:
        ValueError: Counts of another shape, unequal S, or an option out of range.
    """
    a_RS3, b_RS3 = _pair(a, b)
    both = np.concatenate([a_RS3, b_RS3])

    def ahead(places: NDArray[np.int64]) -> Floats:
        found = _resampled_f1(places, both)
        return np.asarray(found[:, : len(a_RS3)].mean(axis=1) - found[:, len(a_RS3) :].mean(axis=1))

    low, high, found = _bootstrap(ahead, [both], confidence, resamples, seed)
    observed = np.round(micro_f1(a_RS3).mean() - micro_f1(b_RS3).mean(), DECIMALS)
    flips = np.round(found * np.sign(observed), DECIMALS) <= 0
    return PairedInterval(low, high, float(flips.mean()))


def paired_permutation(
    a: Counts | Sequence[Counts], b: Counts | Sequence[Counts], resamples: int = 10_000, seed: int = 0
) -> PairedTest:
    """Test whether mean F1 of A and B differ by more than swapping single sentences between them would explain.

    Under the null hypothesis a sentence's counts could as well have come from the other system. A permutation swaps
    the sentences that a fair coin picks, with the same coin for all runs. As no run of A belongs to one of B, and
    their numbers may differ, each run of A is swapped with each run of B and the F1 of all R_A x R_B pairs are
    averaged; with nothing swapped, that is the difference of the means. If there are at most N ways to swap, all are
    tried; else p counts the observed difference as one permutation more (Phipson and Smyth, 2010) and is never 0.

    Args:
        a: [R_A, S, 3].
        b: [R_B, S, 3], of the same sentences in the same order.
        resamples: N permutations.
        seed: Seed of the permutations.

    Raises:
        ValueError: Counts of another shape, unequal S, or no permutations.
    """
    from scipy.stats import permutation_test

    _check(resamples)
    a_RS3, b_RS3 = _pair(a, b)
    if a_RS3.shape[1] == 1:  # SciPy refuses a sample of one; an empty sentence changes nothing
        a_RS3, b_RS3 = (np.pad(counts, ((0, 0), (0, 1), (0, 0))) for counts in (a_RS3, b_RS3))
    sentences = a_RS3.shape[1]
    whole_a, whole_b = a_RS3.sum(axis=1)[:, None], b_RS3.sum(axis=1)

    def distance(first: NDArray[np.int64], second: NDArray[np.int64], axis: int) -> Floats:
        swapped_NS = (np.atleast_2d(first) >= sentences).astype(np.float64)
        from_a, from_b = _totals(swapped_NS, a_RS3)[:, :, None], _totals(swapped_NS, b_RS3)[:, None]
        ahead = f1(whole_a - from_a + from_b) - f1(whole_b - from_b + from_a)  # [N, R_A, R_B]
        found = np.abs(np.round(ahead.mean(axis=(1, 2)), DECIMALS))
        return np.asarray(found if first.ndim > 1 else found[0])

    places = np.arange(sentences)
    found = permutation_test(
        (places, places + sentences), distance, permutation_type="samples", alternative="greater", vectorized=True,
        n_resamples=resamples, batch=max(1, CELLS // max(2 * sentences, 6 * len(a_RS3) * len(b_RS3))), axis=-1,
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return PairedTest(float(micro_f1(a_RS3).mean() - micro_f1(b_RS3).mean()), float(found.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm, 1979), in the order given; the family-wise error stays at alpha."""
    if not len(p_values):
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def _bootstrap(
    statistic: Any, stacks: Sequence[Floats], confidence: float, resamples: int, seed: int
) -> tuple[float, float, Floats]:
    """Low and high end of the interval, and the resampled statistics; sentences of each stack are drawn by place."""
    from scipy.stats import bootstrap

    _check(resamples, confidence)
    # SciPy refuses a sample of one; one sentence twice gives the same F1
    places = [np.arange(max(2, stack.shape[1])) % stack.shape[1] for stack in stacks]
    found = bootstrap(
        places, lambda *drawn, axis: statistic(*map(np.atleast_2d, drawn)), method="percentile", vectorized=True,
        n_resamples=resamples, batch=max(1, CELLS // max(stack.shape[0] * 3 + stack.shape[1] for stack in stacks)),
        confidence_level=confidence, rng=np.random.default_rng(seed),
    )  # fmt: skip
    low, high = found.confidence_interval
    return float(low), float(high), np.asarray(found.bootstrap_distribution)


def _resampled_f1(places_NS: NDArray[np.int64], counts_RS3: Floats) -> Floats:
    """F1 [N, R] of each run over the sentences drawn."""
    number, sentences = len(places_NS), counts_RS3.shape[1]
    drawn = places_NS + sentences * np.arange(number)[:, None]
    weights_NS = np.bincount(drawn.ravel(), minlength=number * sentences).reshape(number, sentences)
    return f1(_totals(weights_NS.astype(np.float64), counts_RS3))


def _totals(weights_NS: Floats, counts_RS3: Floats) -> Floats:
    """Counts [N, R, 3] of each run, each sentence weighted."""
    runs, sentences, _ = counts_RS3.shape
    columns = counts_RS3.transpose(1, 0, 2).reshape(sentences, 3 * runs)
    return (weights_NS @ columns).reshape(-1, runs, 3)


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
