"""Shapley values against their axioms, a closed form, the sum over all coalitions written out, and their own errors."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.statistics.shapley import EXACT_FEATURES, MOST_FEATURES, MOST_MIXTURES, attribute, design

SIZES = st.sampled_from([1, 2, 5, 8, 9, 13, 30])


def model(features: int, seed: int):
    """Neither linear nor symmetric: products of neighbours and a fold."""
    weights = np.random.default_rng(seed).normal(size=features)

    def answer(x: np.ndarray) -> np.ndarray:
        return np.tanh(x @ weights) + (x * np.roll(x, 1, axis=1)) @ np.abs(weights) + np.abs(x[:, 0])

    return answer


def drawn(features: int, seed: int, rows: int = 6) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed + 1)
    return generator.normal(size=features), generator.normal(size=(rows, features))


@settings(deadline=None, max_examples=60)
@given(features=SIZES, seed=st.integers(0, 10_000))
def test_the_values_add_up_to_the_answer(features: int, seed: int) -> None:
    function, (row, background) = model(features, seed), drawn(features, seed)
    found = attribute(function, row, background)
    used = background[: design(features, len(background)).background_rows]
    assert found.base == pytest.approx(function(used).mean(), abs=1e-12)
    assert found.base + found.values.sum() == pytest.approx(function(row[None])[0], abs=1e-9)
    assert np.isfinite(found.standard_errors).all()


@settings(deadline=None, max_examples=40)
@given(features=SIZES, seed=st.integers(0, 10_000))
def test_a_linear_model_has_its_closed_form_without_error(features: int, seed: int) -> None:
    weights = np.random.default_rng(seed).normal(size=features)
    row, background = drawn(features, seed)
    found = attribute(lambda x: x @ weights + 3, row, background)
    np.testing.assert_allclose(found.values, weights * (row - background.mean(axis=0)), atol=1e-9)
    np.testing.assert_allclose(found.standard_errors, 0, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(features=st.sampled_from([3, 8, 12]), seed=st.integers(0, 10_000))
def test_a_feature_that_nothing_depends_on_has_nothing(features: int, seed: int) -> None:
    inner, (row, background) = model(features - 1, seed), drawn(features, seed)
    found = attribute(lambda x: inner(x[:, :-1]), row, background)
    assert abs(found.values[-1]) < 1e-12
    assert found.standard_errors[-1] < 1e-12
    assert np.abs(found.values[:-1]).max() > 0


def test_features_that_cannot_be_told_apart_have_the_same() -> None:
    """Exactly where all mixtures are asked; within what is said of the error where orders are drawn."""
    for features in (6, 11):
        row, background = drawn(features, 3)
        row[1], background[:, 1] = row[0], background[:, 0]
        found = attribute(lambda x: np.tanh(x[:, 0] + x[:, 1]) * x[:, 2] ** 2 + x[:, 3:].sum(axis=1), row, background)
        allowed = 1e-12 + 5 * np.hypot(*found.standard_errors[:2])
        assert found.values[0] == pytest.approx(found.values[1], abs=allowed)
        assert abs(found.values[0]) > allowed or features > EXACT_FEATURES


@pytest.mark.parametrize("features", [1, 2, 4, 7, 8])
def test_few_features_get_shapleys_own_sum(features: int) -> None:
    """Written out once more, coalition by coalition."""
    function, (row, background) = model(features, 5), drawn(features, 5, rows=3)

    def worth(coalition: tuple[int, ...]) -> float:
        mixed = background.copy()
        mixed[:, list(coalition)] = row[list(coalition)]
        return float(function(mixed).mean())

    wanted = []
    for feature in range(features):
        others = [one for one in range(features) if one != feature]
        total = 0.0
        for size in range(features):
            weight = factorial(size) * factorial(features - size - 1) / factorial(features)
            total += weight * sum(worth((*some, feature)) - worth(some) for some in combinations(others, size))
        wanted.append(total)
    np.testing.assert_allclose(attribute(function, row, background).values, wanted, atol=1e-12)


@pytest.mark.parametrize(("most", "least_inside"), [(160, 0.9), (960, 0.97)])
def test_the_standard_error_is_as_large_as_the_error(most: int, least_inside: float) -> None:
    """Eleven features are drawn; seven of them are all that matters, and these can be counted out: the truth."""
    rows = 4
    row, background = drawn(11, 11, rows)

    def function(x: np.ndarray) -> np.ndarray:
        return x[:, 0] * x[:, 1] * x[:, 2] + np.tanh(x[:, 2] * x[:, 3] * x[:, 4]) + np.maximum(x[:, 3:7].sum(axis=1), 0)

    true = attribute(function, row[:7], background[:, :7])
    ratios, errors = [], []
    for seed in range(300):
        found = attribute(function, row, background, most=most, seed=seed)
        assert np.abs(found.values[7:]).max() < 1e-12
        errors.append(found.values[:7] - true.values)
        ratios.append(errors[-1] / found.standard_errors[:7])
    away = np.array(errors)
    assert np.all(np.abs(away.mean(axis=0)) < 4 * away.std(axis=0) / np.sqrt(len(away))), "no bias"
    inside = (np.abs(ratios) < 2.57).mean(axis=0)
    assert np.all(inside > least_inside), inside
    if most == 960:
        assert np.all(np.std(ratios, axis=0) > 0.7), "errors are not told too large"


def test_what_is_asked_is_bounded_and_the_same_each_time() -> None:
    for features in (1, 2, 8, 9, 100, MOST_FEATURES):
        plan = design(features, 32)
        assert len(plan.own) == len(plan.behind) <= MOST_MIXTURES
        assert 1 <= plan.background_rows <= 32
        assert design(features, 32) is plan
    for features, rows in ((0, 3), (3, 0), (MOST_FEATURES + 1, 3)):
        with pytest.raises(ValueError, match="too many features"):
            design(features, rows)


def test_another_seed_draws_other_orders() -> None:
    function, (row, background) = model(20, 2), drawn(20, 2)
    first, second = (attribute(function, row, background, seed=seed) for seed in (0, 1))
    assert (first.values != second.values).any()
    assert first.values.sum() == pytest.approx(second.values.sum(), abs=1e-9)
