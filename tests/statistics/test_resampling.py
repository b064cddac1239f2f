"""The bootstrap's draws, Student's quantile, and intervals that keep their promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from penstock.statistics.metrics import METRICS, Answers
from penstock.statistics.resampling import bootstrap, draws, student_quantile, unit_codes


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("degrees", [5, 8, 20, 100, 100_000])
def test_student_quantile_matches_scipy(confidence: float, degrees: int) -> None:
    assert student_quantile(confidence, degrees) == pytest.approx(student.ppf(0.5 + confidence / 2, degrees), rel=0.012)


def test_a_unit_is_drawn_whole() -> None:
    units = unit_codes(np.array(["b", "a", "c", "b", "c", "b"]))
    assert units.tolist() == [1, 0, 2, 1, 2, 1]
    for weights in draws(6, units, seed=1, replicates=20):
        assert weights[0] == weights[3] == weights[5]
        assert weights[2] == weights[4]
        assert weights[1] + weights[0] + weights[2] == 3


def test_draws_are_the_seeds_own() -> None:
    first, again, other = (np.stack(list(draws(50, None, seed=seed, replicates=5))) for seed in (1, 1, 2))
    assert (first == again).all()
    assert not (first == other).all()
    assert (first.sum(axis=1) == 50).all()


def test_replicates_spread_like_the_mean_does() -> None:
    truth = np.random.default_rng(2).normal(size=500)
    statistic = METRICS["mae"].statistic(Answers(truth=truth, answer=np.zeros(500)))
    found = bootstrap([statistic, statistic], 500, None, seed=3, replicates=1000)
    assert (found[:, 0] == found[:, 1]).all(), "all statistics see the same draws"
    assert found[:, 0].std() == pytest.approx(np.abs(truth).std() / np.sqrt(500), rel=0.1)
