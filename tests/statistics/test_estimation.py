"""Estimates without labels: right where P(y|x) holds, and never silent about what they assume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, roc_auc_score

from penstock.statistics import estimation


def test_it_meets_the_truth_under_covariate_shift() -> None:
    random = np.random.default_rng(0)
    errors = []
    for shift in np.linspace(-1, 1, 12):
        logit = random.normal(shift, 1.2, 5_000)
        p = 1 / (1 + np.exp(-logit))
        y = random.random(5_000) < p
        found = {known.metric: known for known in estimation.estimate(p, p)}
        truth = {
            "auc": roc_auc_score(y, p), "accuracy": accuracy_score(y, p > 0.5), "brier": brier_score_loss(y, p)
        }  # fmt: skip
        for metric, value in truth.items():
            assert found[metric].valid
            assert abs(found[metric].value - value) < 1.7 * (found[metric].high - found[metric].value)
        errors.append(abs(found["auc"].value - truth["auc"]))
    assert np.mean(errors) < 0.008


@given(st.integers(0, 10_000))
def test_the_soft_auc_is_the_mean_over_drawn_labels(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 5, 8) / 5
    p = random.random(8)
    pairs = [
        (p[i] * (1 - p[j]), (scores[i] > scores[j]) + (scores[i] == scores[j]) / 2)
        for i in range(8)
        for j in range(8)
        if i != j
    ]
    exact = sum(weight * win for weight, win in pairs) / sum(weight for weight, _ in pairs)
    assert estimation.expected_auc(scores, p) == pytest.approx(exact)


def test_the_assumption_is_printed_and_a_struck_estimate_is_invalid() -> None:
    found = estimation.estimate(np.linspace(0, 1, 500), np.linspace(0, 1, 500))[0]
    assert found.assumption == "valid if P(y|x) is unchanged"
    struck = estimation.strike(found, "labels reject it")
    assert (struck.valid, struck.reason, struck.value) == (False, "labels reject it", found.value)


def test_too_little_is_not_estimated() -> None:
    for scores in (np.empty(0), np.full(500, np.nan), np.full(500, 0.0)):
        assert not any(known.valid for known in estimation.estimate(scores, scores))
