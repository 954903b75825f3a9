"""Intervals and paired tests against plain loops, full enumeration, SciPy and cases whose answer is known."""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from iter_lightning.metrics.functional import Counts
from iter_lightning.studies.tables import statistics
from iter_lightning.studies.tables.statistics import (
    bootstrap_interval,
    f1,
    holm,
    micro_f1,
    paired_bootstrap,
    paired_permutation,
    summarize,
)  # fmt: skip

Array = NDArray[Any]
triple = st.lists(st.integers(0, 4), min_size=3, max_size=3)


def noisy(runs: int, sentences: int, recall: float = 0.7, seed: int = 0) -> Array:
    """[runs, sentences, 3] of a system that finds each of 0 to 3 gold items with a probability."""
    gold = np.random.default_rng(5).integers(0, 4, sentences)
    rng = np.random.default_rng(seed)
    tp = rng.binomial(gold, recall, (runs, sentences))
    return np.stack([tp, rng.poisson(0.4, (runs, sentences)), gold - tp], axis=-1)


def loop_f1(rows: Any) -> float:
    tp, fp, fn = (sum(int(row[i]) for row in rows) for i in range(3))
    return Counts(tp, fp, fn).f1


@st.composite
def systems(draw: st.DrawFn, most: int = 6) -> tuple[Array, Array]:
    """A and B on the same few sentences, with one to three runs each."""
    sentences = draw(st.integers(1, most))
    run = st.lists(triple, min_size=sentences, max_size=sentences)
    return tuple(np.array(draw(st.lists(run, min_size=1, max_size=3))) for _ in "AB")  # type: ignore[return-value]


def enumerated(a: Array, b: Array) -> float:
    """p over all 2^S swaps, for any numbers of runs: pair by pair, sentence by sentence."""

    def ahead(swaps: tuple[bool, ...]) -> float:
        found = []
        for one, other in product(a, b):
            rows_a = [y if swap else x for x, y, swap in zip(one, other, swaps, strict=True)]
            rows_b = [x if swap else y for x, y, swap in zip(one, other, swaps, strict=True)]
            found.append(loop_f1(rows_a) - loop_f1(rows_b))
        return sum(found) / len(found)

    swaps = list(product((False, True), repeat=a.shape[1]))
    observed = abs(ahead(swaps[0]))
    return sum(abs(ahead(one)) >= observed - 1e-12 for one in swaps) / len(swaps)


@given(rows=st.lists(triple, min_size=1, max_size=5))
def test_f1_is_that_of_the_metrics(rows: list[list[int]]) -> None:
    found = f1(np.array(rows))
    assert found.tolist() == [pytest.approx(Counts(*row).f1) for row in rows]
    assert ((found >= 0) & (found <= 1)).all()
    assert micro_f1([np.array(rows)])[0] == pytest.approx(loop_f1(rows))


def test_summarize() -> None:
    found = summarize([0.5, 0.7, 0.6])
    assert (found.n, found.min, found.max) == (3, 0.5, 0.7)
    assert found.mean == pytest.approx(0.6)
    assert found.std == pytest.approx(0.1)
    assert summarize([0.5]).std is None
    with pytest.raises(ValueError, match="expected at least one"):
        summarize([])


@pytest.mark.parametrize("same", [True, False])
def test_bootstrap_interval_equals_a_loop_over_draws(same: bool) -> None:
    """Sentence by sentence, with other draws."""
    runs, rng = noisy(3, 60), np.random.default_rng(4)
    values = []
    for _ in range(3000):
        draws = [rng.integers(0, 60, 60) for _ in runs]
        values.append(np.mean([loop_f1(run[draws[0 if same else i]]) for i, run in enumerate(runs)]))
    found = bootstrap_interval(list(runs), None if same else range(3), confidence=0.9, resamples=3000)
    assert found == pytest.approx(tuple(np.percentile(values, [5, 95])), abs=0.005)


@pytest.mark.parametrize("cells", [10, 1000])
def test_batch_size_changes_no_interval(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = noisy(3, 12)
    whole = bootstrap_interval(list(runs), resamples=200), paired_bootstrap(runs[:1], runs[1:], resamples=200)
    monkeypatch.setattr(statistics, "CELLS", cells)
    assert whole == (bootstrap_interval(list(runs), resamples=200), paired_bootstrap(runs[:1], runs[1:], resamples=200))


def test_bootstrap_interval_of_a_proportion_is_binomial() -> None:
    """If each sentence is one found item or one mistake and one miss, F1 is the share of found ones."""
    right = np.arange(200) < 140
    run = np.where(right[:, None], [1, 0, 0], [0, 1, 1])
    low, high = bootstrap_interval([run], resamples=40_000)
    assert (low, high) == pytest.approx(tuple(stats.binom(200, 0.7).ppf([0.025, 0.975]) / 200), abs=0.0051)
    # ten folds, each drawn for itself, are as sure as one run over ten times the sentences; seeds are not
    folds = bootstrap_interval([run] * 10, range(10), resamples=10_000)
    assert (folds.high - folds.low) * 10**0.5 == pytest.approx(high - low, rel=0.05)
    assert bootstrap_interval([run] * 10, resamples=10_000) == bootstrap_interval([run], resamples=10_000)


def test_folds_may_have_other_numbers_of_sentences() -> None:
    low, high = bootstrap_interval([noisy(1, 20)[0], noisy(1, 30)[0]], range(2), resamples=500)
    assert 0 < low < high < 1
    with pytest.raises(ValueError, match=r"same sentences.*\(20, 3\), \(30, 3\)"):
        bootstrap_interval([noisy(1, 20)[0], noisy(1, 30)[0]])


@given(pair=systems(), same=st.booleans())
@settings(max_examples=30)
def test_intervals_are_ordered_and_reproducible(pair: tuple[Array, Array], same: bool) -> None:
    low, high = bootstrap_interval(list(pair[0]), None if same else range(len(pair[0])), resamples=100)
    assert 0 <= low <= high <= 1
    assert bootstrap_interval(list(pair[0]), None if same else range(len(pair[0])), resamples=100) == (low, high)


@given(counts=triple, sentences=st.integers(1, 9))
@settings(max_examples=30)
def test_sentences_that_are_all_alike_leave_no_doubt(counts: list[int], sentences: int) -> None:
    low, high = bootstrap_interval([np.array([counts] * sentences)], resamples=50)
    assert (low, high) == pytest.approx((Counts(*counts).f1,) * 2)


@given(seed=st.integers(0, 20), runs=st.integers(1, 3))
@settings(max_examples=20)
def test_interval_of_many_sentences_holds_the_estimate(seed: int, runs: int) -> None:
    found = noisy(runs, 300, seed=seed)
    low, high = bootstrap_interval(list(found), resamples=500)
    assert low < micro_f1(found).mean() < high


@given(pair=systems())
@settings(max_examples=30)
def test_permutation_against_full_enumeration(pair: tuple[Array, Array]) -> None:
    """Also of other numbers of runs: within the error of 4,000 draws."""
    found = paired_permutation(*pair, resamples=4000)
    exact = enumerated(*pair)
    assert found.p == pytest.approx(exact, abs=4.5 * (exact * (1 - exact) / 4000) ** 0.5 + 1 / 4000)


@given(pair=systems())
@settings(max_examples=50)
def test_swapping_the_systems_turns_the_sign_and_keeps_p(pair: tuple[Array, Array]) -> None:
    a, b = pair
    found, turned = paired_permutation(a, b, resamples=99), paired_permutation(b, a, resamples=99)
    assert 0 < found.p <= 1
    assert (turned.difference, turned.p) == (-found.difference, found.p)
    there, back = paired_bootstrap(a, b, resamples=99), paired_bootstrap(b, a, resamples=99)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert back.flips == there.flips
    assert -1 <= there.low <= there.high <= 1
    assert 0 <= there.flips <= 1


@given(pair=systems())
@settings(max_examples=30)
def test_the_order_of_runs_does_not_matter(pair: tuple[Array, Array]) -> None:
    a, b = pair
    found, other = paired_permutation(a, b, resamples=99), paired_permutation(a[::-1], b[::-1], resamples=99)
    assert other.difference == pytest.approx(found.difference, abs=1e-12)
    assert other.p == found.p


@given(pair=systems())
@settings(max_examples=30)
def test_a_system_does_not_differ_from_itself(pair: tuple[Array, Array]) -> None:
    a = pair[0]
    assert paired_permutation(a, a, resamples=99) == (0, 1)
    low, high, flips = paired_bootstrap(a, a, resamples=99)
    assert (low, high, flips) == (0, 0, 1)


def test_a_clear_difference() -> None:
    a, b = noisy(2, 400, 0.8, seed=1), noisy(3, 400, 0.5, seed=2)
    found, interval = paired_permutation(a, b, resamples=999), paired_bootstrap(a, b, resamples=999)
    assert found.p == 1 / 1000  # the smallest that 999 permutations can tell
    assert 0 < interval.low < found.difference < interval.high
    assert interval.flips == 0


def test_the_test_keeps_its_level() -> None:
    """Of pairs that do not differ, about one in ten has p at most 0.1."""
    p = [paired_permutation(noisy(1, 60, seed=2 * i), noisy(1, 60, seed=2 * i + 1), 199).p for i in range(400)]
    assert 0.06 < np.mean(np.array(p) <= 0.1) < 0.14


@pytest.mark.slow
def test_two_thousand_sentences_take_seconds() -> None:
    a, b = noisy(5, 2000, seed=1), noisy(5, 2000, seed=2)
    start = time.process_time()
    paired_permutation(a, b, resamples=10_000)
    paired_bootstrap(a, b, resamples=10_000)
    assert time.process_time() - start < 30  # about 6 on an idle core


@given(p=st.lists(st.floats(1e-6, 1), max_size=8))
@settings(max_examples=20)  # statsmodels collects garbage at each call
@pytest.mark.slow
def test_holm_against_its_definition(p: list[float]) -> None:
    """The i-th smallest times (n - i), never below the one before, never past 1."""
    found = holm(p)
    assert all(raw <= corrected * (1 + 1e-12) and corrected <= 1 for raw, corrected in zip(p, found, strict=True))
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, p[place] * (len(p) - rank)))
        assert found[place] == pytest.approx(largest)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 4, 3)), np.zeros((1, 5, 3)), "found 4 of A and 5 of B"),
        (np.zeros((0, 4, 3)), np.zeros((1, 4, 3)), r"found shapes \[\]"),
        (np.zeros((1, 4, 2)), np.zeros((1, 4, 3)), r"\(4, 2\)"),
        (np.zeros((1, 0, 3)), np.zeros((1, 0, 3)), r"\(0, 3\)"),
        (np.zeros((4, 3)), np.zeros((4, 3)), r"\(3,\)"),
    ],
)
def test_counts_of_another_shape(a: Array, b: Array, message: str) -> None:
    for function in (paired_permutation, paired_bootstrap):
        with pytest.raises(ValueError, match=message):
            function(a, b)


def test_options_out_of_range() -> None:
    a = noisy(1, 4)
    with pytest.raises(ValueError, match="at least one resample"):
        paired_permutation(a, a, resamples=0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        paired_bootstrap(a, a, confidence=95)
    with pytest.raises(ValueError, match="found shapes"):
        bootstrap_interval([])
