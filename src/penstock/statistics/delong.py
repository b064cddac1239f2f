"""The variance of AUCs in closed form (part of ``statistics``; numpy only).

What comes in: which rows are positive, and the scores of one or two models on the same rows. What goes out: AUCs
and their covariance. Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988), in the mid-rank form of
Sun and Xu, IEEE Signal Processing Letters 21 (2014). Where rows depend on each other within units, each unit's
components are summed before they are squared: Obuchowski, Biometrics 53 (1997), as a variance between units.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstock.statistics.metrics import FloatArray, IntArray


def midranks(values: FloatArray) -> FloatArray:
    """Ranks from 1, ties sharing their mean."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    ends = np.append(starts[1:], len(values))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return ranks


def delong(
    positive: npt.NDArray[np.bool_], scores: FloatArray, units: IntArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """AUCs of several scorings of the same rows, and their covariance.

    Args:
        positive: ``(rows,)``; at least two rows of each kind.
        scores: ``(models, rows)``.
        units: ``(rows,)``, numbered from 0; None where every row is independent.

    Returns:
        ``(models,)`` and ``(models, models)``.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    aucs, ups, downs = [], [], []
    for score in scores:
        every = midranks(score)
        # Each positive row's share of negatives below it, and each negative row's share of positives above it.
        up = (every[positive] - midranks(score[positive])) / n
        down = 1.0 - (every[~positive] - midranks(score[~positive])) / m
        aucs.append(float(up.mean()))
        ups.append(up)
        downs.append(down)
    if units is None:
        covariance = np.atleast_2d(np.cov(np.array(ups))) / m + np.atleast_2d(np.cov(np.array(downs))) / n
        return np.array(aucs), covariance
    pushes = [
        np.bincount(units[positive], (up - auc) / m, minlength=int(units.max()) + 1)
        + np.bincount(units[~positive], (down - auc) / n, minlength=int(units.max()) + 1)
        for auc, up, down in zip(aucs, ups, downs, strict=True)
    ]
    count = len(np.unique(units))
    return np.array(aucs), np.array(pushes) @ np.array(pushes).T * count / (count - 1)
