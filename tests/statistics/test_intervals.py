"""Intervals cover what they promise, pairs are paired, and what cannot be said is not said."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from penstock.statistics.intervals import Estimate, NotEstimable, Precision, estimate, improvement, skill
from penstock.statistics.metrics import Answers


def classifier(random: np.random.Generator, rows: int, strength: float = 1.0) -> Answers:
    truth = (random.random(rows) < 0.3).astype(float)
    score = 1 / (1 + np.exp(-(strength * truth + random.normal(size=rows) - 1)))
    return Answers(
        truth=truth,
        answer=(score > 0.5).astype(float),
        scores=np.column_stack([1 - score, score]),
        probable=True,
        classes=2,
    )


def known(found: Estimate | NotEstimable) -> Estimate:
    assert isinstance(found, Estimate), found
    assert found.low <= found.value <= found.high
    assert np.isfinite([found.low, found.value, found.high]).all()
    return found


def test_accuracy_is_wilsons() -> None:
    answers = classifier(np.random.default_rng(1), 300)
    found = known(estimate("accuracy", answers))
    right = int((answers.truth == answers.answer).sum())
    assert (found.low, found.high) == pytest.approx(proportion_confint(right, 300, method="wilson"))


@pytest.mark.parametrize("name", ["auc", "accuracy", "log_loss", "brier"])
def test_the_bootstrap_agrees_with_the_closed_forms_on_independent_rows(name: str) -> None:
    answers = classifier(np.random.default_rng(2), 1000)
    closed = known(estimate(name, answers))
    resampled = known(estimate(name, answers, np.arange(1000)))
    assert resampled.high - resampled.low == pytest.approx(closed.high - closed.low, rel=0.15)


def test_dependent_rows_get_intervals_of_whole_units_that_cover() -> None:
    """Days that share their luck: by days the truth is covered, by rows it is not."""
    random = np.random.default_rng(3)
    covered_units = covered_rows = 0
    for _ in range(60):
        luck = np.repeat(random.normal(size=25), 40)
        answers = Answers(truth=luck + random.normal(size=1000), answer=np.zeros(1000))
        truth = np.sqrt(2)
        by_unit = known(estimate("rmse", answers, np.repeat(np.arange(25), 40), precision=Precision(replicates=200)))
        by_row = known(estimate("rmse", answers, precision=Precision(replicates=200)))
        covered_units += by_unit.low <= truth <= by_unit.high
        covered_rows += by_row.low <= truth <= by_row.high
    assert covered_units >= 50
    assert covered_rows < 45


def test_auc_covers() -> None:
    random = np.random.default_rng(4)
    truth = float(known(estimate("auc", classifier(random, 200_000))).value)
    found = [known(estimate("auc", classifier(random, 300))) for _ in range(200)]
    assert sum(one.low <= truth <= one.high for one in found) >= 180


def test_a_perfect_ranking_of_few_rows_is_not_certain() -> None:
    truth = np.array([0.0] * 5 + [1.0] * 5)
    answers = Answers(truth=truth, answer=truth, scores=np.column_stack([1 - truth, truth]), classes=2)
    found = known(estimate("auc", answers))
    assert found.value == 1.0
    assert found.low < 0.6


@pytest.mark.parametrize("units", [None, np.arange(1000) // 20])
@pytest.mark.parametrize("name", ["auc", "log_loss", "accuracy"])
def test_improvement_is_paired_and_points_up(name: str, units: np.ndarray | None) -> None:
    random = np.random.default_rng(5)
    good = classifier(random, 1000, strength=3)
    noise = np.clip(good.scores[:, 1] + random.normal(0, 0.4, size=1000), 0.001, 0.999)
    bad = Answers(
        truth=good.truth,
        answer=(noise > 0.5).astype(float),
        scores=np.column_stack([1 - noise, noise]),
        probable=True,
        classes=2,
    )
    found = known(improvement(name, good, bad, units))
    assert found.low > 0
    back = known(improvement(name, bad, good, units))
    assert (back.value, back.low) == pytest.approx((-found.value, -found.high))
    same = known(improvement(name, good, good, units))
    assert (same.low, same.high) == pytest.approx((0.0, 0.0))


@pytest.mark.parametrize("name", ["auc", "log_loss", "brier"])
def test_skill_tells_a_model_from_a_guess(name: str) -> None:
    random = np.random.default_rng(6)
    assert known(skill(name, classifier(random, 1000, strength=2))).low > (0 if name == "auc" else -1)
    assert known(skill("auc", classifier(random, 1000, strength=0))).low < 0


def test_equal_seeds_give_equal_intervals() -> None:
    answers = classifier(np.random.default_rng(7), 200)
    assert estimate("brier", answers) == estimate("brier", answers)
    assert estimate("brier", answers) != estimate("brier", answers, precision=Precision(seed=1))


@pytest.mark.parametrize("units", [None, np.arange(40) // 4])
def test_one_class_is_not_estimable(units: np.ndarray | None) -> None:
    truth, score = np.zeros(40), np.linspace(0, 1, 40)
    answers = Answers(truth=truth, answer=truth, scores=np.column_stack([1 - score, score]), probable=True, classes=2)
    found = estimate("auc", answers, units)
    assert isinstance(found, NotEstimable)
    assert "one class" in found.reason
    known(estimate("brier", answers, units))


def test_few_units_are_not_estimable_however_many_rows() -> None:
    answers = classifier(np.random.default_rng(8), 3000)
    found = estimate("auc", answers, np.arange(3000) % 3)
    assert isinstance(found, NotEstimable)
    assert "3 independent units" in found.reason


def test_a_rare_class_is_not_estimable_by_units() -> None:
    truth = np.zeros(100)
    truth[3] = 1
    answers = Answers(truth=truth, answer=truth, scores=np.column_stack([1 - truth, truth]), classes=2)
    assert isinstance(estimate("auc", answers), NotEstimable)
    assert isinstance(estimate("auc", answers, np.arange(100) // 10), NotEstimable)
