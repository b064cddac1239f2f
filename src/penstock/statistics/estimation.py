"""How well a classifier does while no labels have come: confidence-based performance estimation.

What comes in: scores, and the frequencies that the reference's calibration curve gives them. What goes out:
`PerformanceEstimate` records, each with its sampling band and with the assumption it rests on, printed. An estimate
that the labels contradict is struck out (`strike`), never averaged with them.

Source: Kivimaki et al., Confidence-based Estimators for Predictive Performance, JAIR 82, 2025 (CBPE).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from penstock.records import Record

Floats = npt.NDArray[np.float64]

ASSUMPTION = "valid if P(y|x) is unchanged"
BAND = 1.96
"""Standard errors either side: 95 %."""

ROWS = 30
"""With fewer rows, or fewer expected of either class, nothing is estimated."""


class PerformanceEstimate(Record, frozen=True, kw_only=True):
    """A figure of merit that no label has confirmed.

    Attributes:
        metric: auc, accuracy or brier.
        low: Lower end of the 95 % sampling band; `high` the upper one.
        valid: False once labels reject the assumption, or where nothing can be estimated.
        reason: Why it is not valid.
    """

    metric: str
    value: float
    low: float
    high: float
    rows: int
    assumption: str = ASSUMPTION
    valid: bool = True
    reason: str = ""


def estimate(
    scores: npt.ArrayLike, frequencies: npt.ArrayLike, threshold: float = 0.5
) -> tuple[PerformanceEstimate, ...]:
    """AUC, accuracy and Brier score expected of a batch.

    Args:
        scores: The model's scores, shape ``(rows,)``, 0 to 1.
        frequencies: The chance of a true label for each (`calibration.apply`).
        threshold: Scores above it are answered with the positive class.
    """
    s, p = np.asarray(scores, float), np.asarray(frequencies, float)
    present = np.isfinite(s) & np.isfinite(p)
    s, p = s[present], p[present]
    if min(len(s), p.sum(), (1 - p).sum()) < ROWS:
        return tuple(_not_estimable(metric, len(s)) for metric in ("auc", "accuracy", "brier"))
    return _auc(s, p), _accuracy(s, p, threshold), _brier(s, p)


def strike(known: PerformanceEstimate, reason: str) -> PerformanceEstimate:
    """The estimate marked invalid; its figures stay readable as history."""
    return PerformanceEstimate(
        metric=known.metric,
        value=known.value,
        low=known.low,
        high=known.high,
        rows=known.rows,
        valid=False,
        reason=reason,
    )


def expected_auc(scores: Floats, frequencies: Floats) -> float:
    """Chance that a random true row outscores a random false one, labels drawn by their frequencies.

    Pairs of a row with itself do not count; equal scores count half. NaN without both classes.
    """
    values, place = np.unique(scores, return_inverse=True)
    true = np.bincount(place, weights=frequencies, minlength=len(values))
    false = np.bincount(place, weights=1 - frequencies, minlength=len(values))
    itself = np.sum(frequencies * (1 - frequencies))
    pairs = true.sum() * false.sum() - itself
    if pairs <= 0:
        return math.nan
    below = np.cumsum(false) - false
    return float((np.sum(true * (below + false / 2)) - itself / 2) / pairs)


def auc_error(value: float, true: float, false: float) -> float:
    """Standard error of an AUC over so many true and false rows (Hanley and McNeil, Radiology 143, 1982)."""
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = (value * (1 - value) + (true - 1) * (q1 - value**2) + (false - 1) * (q2 - value**2)) / (true * false)
    return math.sqrt(max(variance, 0.0))


def _auc(scores: Floats, frequencies: Floats) -> PerformanceEstimate:
    value = expected_auc(scores, frequencies)
    error = auc_error(value, float(frequencies.sum()), float((1 - frequencies).sum()))
    return _banded("auc", value, error, len(scores))


def _accuracy(scores: Floats, frequencies: Floats, threshold: float) -> PerformanceEstimate:
    right = np.where(scores > threshold, frequencies, 1 - frequencies)
    return _banded("accuracy", right.mean(), math.sqrt((right * (1 - right)).sum()) / len(right), len(right))


def _brier(scores: Floats, frequencies: Floats) -> PerformanceEstimate:
    value = frequencies * (1 - scores) ** 2 + (1 - frequencies) * scores**2
    variance = frequencies * (1 - frequencies) * (1 - 2 * scores) ** 2
    return _banded("brier", value.mean(), math.sqrt(variance.sum()) / len(value), len(value))


def _banded(metric: str, value: float, error: float, rows: int) -> PerformanceEstimate:
    low, high = max(0.0, value - BAND * error), min(1.0, value + BAND * error)
    return PerformanceEstimate(metric=metric, value=float(value), low=float(low), high=float(high), rows=rows)


def _not_estimable(metric: str, rows: int) -> PerformanceEstimate:
    return PerformanceEstimate(
        metric=metric, value=0.0, low=0.0, high=1.0, rows=rows, valid=False, reason="too few rows of both classes"
    )
