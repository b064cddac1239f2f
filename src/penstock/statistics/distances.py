"""How far two histograms in the same bins lie apart, and which of many p-values count.

What comes in: counts by bin, of a reference and of a window. What goes out: distances and p-values.
Everything is numpy; `chi2_sf` stands in for scipy's, which the data plane does not load.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

EXPECTED = 5.0
"""Bins with fewer expected rows than this are pooled before a chi-square test (Cochran 1954)."""


class ChiSquare(NamedTuple):
    """A chi-square test: statistic, degrees of freedom, p-value (1 where nothing can be compared)."""

    statistic: float
    freedom: int
    p: float


def chi2(reference: npt.ArrayLike, window: npt.ArrayLike) -> ChiSquare:
    """Pearson's two-sample chi-square test on bins (Cramer, Mathematical Methods of Statistics, 1946, 30.6).

    Bins in which either sample expects fewer than `EXPECTED` rows are pooled, smallest first.
    """
    table = _pooled(np.vstack([np.asarray(reference, float), np.asarray(window, float)]))
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    if table.shape[1] < 2 or not rows.all():
        return ChiSquare(0.0, 0, 1.0)
    expected = np.outer(rows, columns) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    freedom = table.shape[1] - 1
    return ChiSquare(statistic, freedom, chi2_sf(statistic, freedom))


def psi(reference: npt.ArrayLike, window: npt.ArrayLike) -> float:
    """Population stability index in nats, less what chance alone adds: (bins - 1)(1/n + 1/N).

    The correction is the expectation under no drift (Yurdakul, Statistical Properties of PSI, 2018); half a row is
    added to each bin, so that an empty one is finite. 0 where either sample is empty.
    """
    first, second = _shares(reference, window)
    if not len(first):
        return 0.0
    raw = float(((second - first) * np.log(second / first)).sum())
    chance = (len(first) - 1) * (1 / np.sum(reference) + 1 / np.sum(window))
    return max(0.0, raw - float(chance))


def benjamini_hochberg(p: npt.ArrayLike, rate: float) -> Bools:
    """Which hypotheses to reject so that at most `rate` of the rejected are true, on average.

    Benjamini and Hochberg, J. R. Statist. Soc. B 57, 1995.
    """
    values = np.asarray(p, float)
    order = np.argsort(values, kind="stable")
    passing = np.flatnonzero(values[order] <= rate * np.arange(1, len(values) + 1) / max(len(values), 1))
    rejected = np.zeros(len(values), dtype=np.bool_)
    if len(passing):
        rejected[order[: passing[-1] + 1]] = True
    return rejected


def chi2_sf(statistic: float, freedom: int) -> float:
    """The chi-square distribution's upper tail: the regularised incomplete gamma function Q(freedom / 2, x / 2).

    Series below the mean, Lentz's continued fraction above it (Press et al., Numerical Recipes, 6.2).
    """
    shape, x = freedom / 2, statistic / 2
    if x <= 0:
        return 1.0
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1:
        return max(0.0, 1 - front * _gamma_series(shape, x))
    return min(1.0, front * _gamma_fraction(shape, x))


def _gamma_series(shape: float, x: float) -> float:
    term = total = 1 / shape
    step = shape
    while term > total * 1e-16:
        step += 1
        term *= x / step
        total += term
    return total


def _gamma_fraction(shape: float, x: float) -> float:
    tiny = 1e-300
    b = x + 1 - shape
    c, d = 1 / tiny, 1 / b
    value = d
    for step in range(1, 10_000):
        factor = -step * (step - shape)
        b += 2
        d = 1 / (factor * d + b or tiny)
        c = b + factor / c or tiny
        value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value


def _pooled(table: Floats) -> Floats:
    """The table with its small bins added into one, and that one filled up with the next until it is large enough."""
    table = table[:, table.sum(axis=0) > 0]
    if not table.sum():
        return table
    smaller = table.sum(axis=1).min() / table.sum()
    table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    expected = smaller * table.sum(axis=0)
    small = int(np.searchsorted(expected, EXPECTED))
    while small and small < len(expected) and expected[:small].sum() < EXPECTED:
        small += 1
    return np.hstack([table[:, :small].sum(axis=1, keepdims=True), table[:, small:]]) if small else table


def _shares(reference: npt.ArrayLike, window: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Shares by bin, half a row added to each; only bins that either sample reaches."""
    first, second = np.asarray(reference, float), np.asarray(window, float)
    used = first + second > 0
    if not first.sum() or not second.sum():
        return np.empty(0), np.empty(0)
    first, second = first[used] + 0.5, second[used] + 0.5
    return first / first.sum(), second / second.sum()
