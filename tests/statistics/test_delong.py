"""DeLong's variance against its definition, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from penstock.statistics.delong import delong, midranks


def by_pairs(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The covariance as the paper writes it: a kernel over every pair."""
    kernels = [
        (score[positive][:, None] > score[~positive]) + 0.5 * (score[positive][:, None] == score[~positive])
        for score in scores
    ]
    ups = np.array([kernel.mean(axis=1) for kernel in kernels])
    downs = np.array([kernel.mean(axis=0) for kernel in kernels])
    return np.cov(ups) / positive.sum() + np.cov(downs) / (~positive).sum()


@pytest.mark.parametrize("decimals", [1, 16])
def test_it_is_the_papers_formula(decimals: int) -> None:
    random = np.random.default_rng(1)
    positive = random.random(200) < 0.3
    scores = (random.random((2, 200)) + 0.3 * positive).round(decimals)
    aucs, covariance = delong(positive, scores)
    assert aucs == pytest.approx([roc_auc_score(positive, score) for score in scores])
    assert covariance == pytest.approx(by_pairs(positive, scores))


def test_midranks_share_ties() -> None:
    values = np.random.default_rng(2).integers(0, 9, size=100).astype(float)
    assert midranks(values) == pytest.approx(rankdata(values))
