"""Figures by group are Fairlearn's, and their intervals hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    demographic_parity_ratio,
    equalized_odds_difference,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score

from penstock.gate.disparity import class_tallies
from penstock.statistics.fairness import (
    Comparison,
    GroupFigure,
    GroupFigures,
    Quotient,
    differences,
    group_figures,
    ratios,
    shared_confidence,
)
from penstock.statistics.intervals import Precision
from penstock.statistics.metrics import Answers

GROUPS = 3


@pytest.fixture
def answers() -> Answers:
    random = np.random.default_rng(3)
    truth = random.integers(2, size=900).astype(float)
    said = np.where(random.random(900) < 0.75, truth, 1 - truth)
    return Answers(truth=truth, answer=said, classes=2)


@pytest.fixture
def codes() -> np.ndarray:
    return np.random.default_rng(4).integers(GROUPS, size=900)


def plain(tally: Quotient, codes: np.ndarray, units: np.ndarray | None = None) -> GroupFigures:
    return group_figures(tally, codes, GROUPS, units, confidence=0.95)


@pytest.mark.parametrize(
    ("title", "oracle"),
    [
        ("selection rate", selection_rate),
        ("true positive rate", true_positive_rate),
        ("false positive rate", false_positive_rate),
        ("positive predictive value", precision_score),
    ],
)
def test_figures_of_groups_are_fairlearns(title: str, oracle: object, answers: Answers, codes: np.ndarray) -> None:
    frame = MetricFrame(metrics=oracle, y_true=answers.truth, y_pred=answers.answer, sensitive_features=codes)
    found = plain(class_tallies(answers, 1)[title], codes)
    assert [one.value for one in found.each if one] == pytest.approx(frame.by_group.tolist())
    assert all(one.low < one.value < one.high for one in found.each if one)


def test_disparities_are_fairlearns(answers: Answers, codes: np.ndarray) -> None:
    tallies = class_tallies(answers, 1)
    arguments = {"y_true": answers.truth, "y_pred": answers.answer, "sensitive_features": codes}
    selected = plain(tallies["selection rate"], codes)
    assert max(one.value for one in differences(selected)) == pytest.approx(demographic_parity_difference(**arguments))
    assert min(one.value for one in ratios(selected)) == pytest.approx(demographic_parity_ratio(**arguments))
    odds = [
        one.value
        for name in ("true positive rate", "false positive rate")
        for one in differences(plain(tallies[name], codes))
    ]
    assert max(odds) == pytest.approx(equalized_odds_difference(**arguments))


def test_newcombes_example() -> None:
    """56 of 70 against 48 of 80: 0.2, 0.0524 to 0.3339 (Newcombe 1998, Table II, method 10, example a)."""
    top = np.repeat([1.0, 0.0, 1.0, 0.0], [56, 14, 48, 32])
    found = group_figures(Quotient(top, np.ones(150)), np.repeat([0, 1], [70, 80]), 2, None, confidence=0.95)
    (first, _) = differences(found)
    assert (first.value, first.low, first.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_an_interval_covers_as_often_as_it_says() -> None:
    """Of independent rows, and of rows in units that share a mood; treating these as independent does not."""
    random = np.random.default_rng(0)
    covered = {"rows": 0, "units": 0, "units as rows": 0}
    for _ in range(400):
        groups = np.repeat([0, 1], 200)
        rows = (random.random(400) < np.where(groups == 0, 0.3, 0.2)).astype(float)
        covered["rows"] += holds(group_figures(Quotient(rows, np.ones(400)), groups, 2, None, confidence=0.95), 0.1)
        units = groups * 20 + random.integers(20, size=400)
        moods = random.random(40) < np.where(np.arange(40) < 20, 0.3, 0.2)
        same = moods[units].astype(float)
        covered["units"] += holds(group_figures(Quotient(same, np.ones(400)), groups, 2, units, confidence=0.95), 0.1)
        covered["units as rows"] += holds(
            group_figures(Quotient(same, np.ones(400)), groups, 2, None, confidence=0.95), 0.1
        )
    assert covered["rows"] >= 0.92 * 400
    assert covered["units"] >= 0.90 * 400
    assert covered["units as rows"] < 0.6 * 400


def holds(figures: GroupFigures, truth: float) -> bool:
    first = differences(figures)[0]
    return first.low <= truth <= first.high


def test_units_that_hold_both_groups_make_their_difference_surer() -> None:
    random = np.random.default_rng(1)
    units = np.repeat(np.arange(30), 40)
    groups = np.tile([0, 1], 600)
    mood = random.normal(size=30)[units]
    top = (random.random(1200) < 1 / (1 + np.exp(-2 * mood))).astype(float)
    found = group_figures(Quotient(top, np.ones(1200)), groups, 2, units, confidence=0.95)
    assert found.together[0, 1] > 0.5
    apart = GroupFigures(found.each, np.eye(2))
    assert width(differences(found)[0]) < 0.8 * width(differences(apart)[0])


def width(one: Comparison) -> float:
    return one.high - one.low


def test_too_few_units_and_no_rows_give_no_figure() -> None:
    groups, units = np.repeat([0, 1, 2], 40), np.repeat([0, 1, 2], 40) * 20 + np.tile(np.arange(20), 6)
    units[groups == 1] = 99
    bottom = np.where(groups == 2, 0.0, 1.0)
    found = group_figures(Quotient(np.zeros(120), bottom), groups, 3, units, confidence=0.95)
    assert [one is None for one in found.each] == [False, True, True]
    assert differences(found) == []


SHARES = st.tuples(st.integers(0, 80), st.integers(1, 80)).map(lambda one: (min(one), max(one[1], one[0])))


@given(first=SHARES, second=SHARES)
def test_ends_enclose_and_a_ratio_agrees_with_its_reverse(first: tuple[int, int], second: tuple[int, int]) -> None:
    top = np.repeat([1.0, 0.0, 1.0, 0.0], [first[0], first[1] - first[0], second[0], second[1] - second[0]])
    groups = np.repeat([0, 1], [first[1], second[1]])
    found = group_figures(Quotient(top, np.ones(len(top))), groups, 2, None, confidence=0.95)
    for one in (*ratios(found), *differences(found)):
        assert one.low <= one.value + 1e-9
        assert one.value <= one.high + 1e-9
    there, back = differences(found)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    there, back = ratios(found)
    # Whether a ratio lies below 1 is the question whether the difference lies below 0.
    assert (there.high < 1 - 1e-6) <= (differences(found)[0].high < 1e-6)
    if there.low > 0 and math.isfinite(back.high) and back.high < 1e5:
        assert there.low == pytest.approx(1 / back.high, rel=1e-3)


def test_nobody_selected_is_equal_treatment() -> None:
    figures = GroupFigures((GroupFigure(0.0, 0.0, 0.02, 200), GroupFigure(0.0, 0.0, 0.02, 200)), np.eye(2))
    assert [one.value for one in ratios(figures)] == [1.0, 1.0]
    assert all(one.low == 0.0 and one.high == math.inf for one in ratios(figures))


def test_confidence_is_shared() -> None:
    assert shared_confidence(Precision(confidence=0.95), 10) == pytest.approx(0.995)
    assert shared_confidence(Precision(confidence=0.95), 0) == pytest.approx(0.95)
