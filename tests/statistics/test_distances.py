"""Distances against scipy and statsmodels, and against their own rate of false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from penstock.statistics import distances

COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=15)


@given(x=st.floats(0, 3000), freedom=st.integers(1, 300))
def test_the_tail_is_scipys(x: float, freedom: int) -> None:
    assert distances.chi2_sf(x, freedom) == pytest.approx(stats.chi2.sf(x, freedom), rel=1e-7, abs=1e-14)


def test_chi_square_is_scipys() -> None:
    table = np.array([[120, 80, 400, 33], [110, 95, 350, 60]])
    judge = stats.chi2_contingency(table, correction=False)
    found = distances.chi2(*table)
    assert found.statistic == pytest.approx(judge.statistic)
    assert (found.freedom, found.p) == (3, pytest.approx(judge.pvalue))


@given(COUNTS)
def test_distances_stay_in_their_range(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs).T
    test = distances.chi2(first, second)
    assert 0 <= test.p <= 1
    assert test.statistic >= 0
    assert 0 <= distances.psi(first, second) < np.inf


def test_rare_bins_raise_nothing() -> None:
    """Single rows in hundreds of rare categories are pooled; unpooled they would reject one time in three."""
    random = np.random.default_rng(0)
    shares = np.append(np.full(300, 1e-4), 1 - 300e-4)
    p = [distances.chi2(random.multinomial(20_000, shares), random.multinomial(1_000, shares)).p for _ in range(400)]
    assert np.mean(np.array(p) < 0.01) <= 0.03


def test_psi_is_unbiased_without_drift_and_right_with_it() -> None:
    random = np.random.default_rng(1)
    shares = np.full(10, 0.1)
    still = [distances.psi(random.multinomial(20_000, shares), random.multinomial(500, shares)) for _ in range(500)]
    assert np.mean(still) < 0.008  # uncorrected: (10 - 1)(1 / 500 + 1 / 20000) = 0.018
    moved = np.array([0.2, *[0.1] * 8, 0.0001]) / 1.0001
    exact = ((moved - shares) * np.log(moved / shares)).sum()
    assert distances.psi(shares * 1e7, moved * 1e7) == pytest.approx(exact, rel=1e-3)


@given(st.lists(st.floats(0, 1), max_size=40), st.sampled_from([0.01, 0.05, 0.2]))
def test_benjamini_hochberg_is_statsmodels(p: list[float], rate: float) -> None:
    found = distances.benjamini_hochberg(p, rate)
    assert found.tolist() == (multipletests(p, rate, "fdr_bh")[0].tolist() if p else [])


def test_nothing_to_compare_is_no_alarm() -> None:
    for first, second in ([], []), ([0, 0], [5, 5]), ([5, 5], [0, 0]):
        assert distances.chi2(first, second).p == 1
        assert distances.psi(first, second) == 0
