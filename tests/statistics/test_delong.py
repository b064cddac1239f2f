"""DeLong's variance against its definition, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from penstock.statistics.delong import delong, midranks
from penstock.statistics.metrics import METRICS, Answers
from penstock.statistics.resampling import bootstrap


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


def test_units_of_one_row_change_next_to_nothing() -> None:
    random = np.random.default_rng(3)
    positive = random.random(2000) < 0.3
    scores = random.random((2, 2000)) + 0.3 * positive
    aucs, covariance = delong(positive, scores)
    same, by_unit = delong(positive, scores, np.arange(2000))
    assert same == pytest.approx(aucs)
    assert by_unit == pytest.approx(covariance, rel=0.01)


def test_whole_units_agree_with_their_bootstrap() -> None:
    random = np.random.default_rng(4)
    units = np.repeat(np.arange(40), 50)
    luck = random.normal(size=40)[units]
    positive = random.random(2000) < 1 / (1 + np.exp(-2 * luck))
    scores = (random.normal(size=2000) + luck + positive)[None, :]
    answers = Answers(truth=positive.astype(float), answer=positive, scores=scores.T, classes=2)
    replicates = bootstrap([METRICS["auc"].statistic(answers)], 2000, units, seed=5, replicates=800)
    error = np.sqrt(delong(positive, scores, units)[1][0, 0])
    assert error == pytest.approx(replicates.std(), rel=0.1)
    assert error > 2 * np.sqrt(delong(positive, scores)[1][0, 0]), "rows of one unit are not independent"


def test_midranks_share_ties() -> None:
    values = np.random.default_rng(2).integers(0, 9, size=100).astype(float)
    assert midranks(values) == pytest.approx(rankdata(values))
