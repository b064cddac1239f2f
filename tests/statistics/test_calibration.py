"""The isotonic fit against scikit-learn's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from penstock.statistics import calibration


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=200))
def test_it_is_scikit_learns(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score / 50 for score, _ in pairs])
    labels = np.array([label for _, label in pairs], float)
    judge = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    points = np.linspace(-0.1, 1.1, 37)
    assert np.allclose(calibration.apply(calibration.isotonic(scores, labels), points), judge.predict(points))


def test_many_scores_are_grouped_without_harm() -> None:
    random = np.random.default_rng(0)
    scores = random.random(100_000)
    labels = random.random(100_000) < scores**2
    curve = calibration.isotonic(scores, labels)
    assert len(curve.scores) <= 2 * calibration.POINTS
    judge = IsotonicRegression(out_of_bounds="clip").fit(scores, labels).predict(scores)
    assert np.abs(calibration.apply(curve, scores) - judge).mean() < 0.003
    assert abs(calibration.apply(curve, scores).mean() - labels.mean()) < 0.002


def test_many_ties_are_one_point() -> None:
    scores = np.concatenate([np.full(5_000, 0.5), np.linspace(0, 1, 3_000)])
    curve = calibration.isotonic(scores, np.arange(8_000) % 2)
    assert len(set(curve.scores)) == len(curve.scores)


def test_without_rows_it_changes_nothing() -> None:
    assert calibration.apply(calibration.isotonic([], []), [0.2, 0.7]).tolist() == [0.2, 0.7]
    assert calibration.reliability([], []) == ()
    assert calibration.calibration_error(()) == 0


def test_reliability_shows_what_is_off() -> None:
    random = np.random.default_rng(1)
    scores = random.random(20_000)
    good = calibration.reliability(scores, random.random(20_000) < scores)
    bad = calibration.reliability(scores, random.random(20_000) < scores / 2)
    assert calibration.calibration_error(good) < 0.02
    assert calibration.calibration_error(bad) > 0.2
    assert sum(part.rows for part in good) == 20_000
