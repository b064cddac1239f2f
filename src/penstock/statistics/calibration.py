"""Whether a score of 0.3 comes true three times in ten, and the curve that makes it so.

What comes in: scores and what came true (0 or 1). What goes out: a `CalibrationCurve` that maps scores to
frequencies, and a table of bins for the reliability diagram.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstock.records import Record

Floats = npt.NDArray[np.float64]

POINTS = 1000
"""Scores are grouped to at most so many before the isotonic fit."""


class CalibrationCurve(Record, frozen=True, kw_only=True):
    """A non-decreasing map from score to frequency, linear between its points."""

    scores: tuple[float, ...]
    frequencies: tuple[float, ...]


class Bin(Record, frozen=True, kw_only=True):
    """One bar of a reliability diagram: rows, their mean score, and how many came true."""

    rows: int
    score: float
    frequency: float


def isotonic(scores: npt.ArrayLike, labels: npt.ArrayLike) -> CalibrationCurve:
    """The best non-decreasing fit in least squares, by pooling adjacent violators.

    Ayer et al., Annals of Mathematical Statistics 26, 1955; for calibration Zadrozny and Elkan, KDD 2002.
    Without a row the curve is the identity.
    """
    x, y, weight = _grouped(np.asarray(scores, float), np.asarray(labels, float))
    if not len(x):
        return CalibrationCurve(scores=(0.0, 1.0), frequencies=(0.0, 1.0))
    level, size = _pool(y, weight)
    ends = np.cumsum(size) - 1
    starts = ends - size + 1
    points = np.unique(np.concatenate([starts, ends]))
    fitted = np.repeat(level, size)
    return CalibrationCurve(scores=tuple(x[points].tolist()), frequencies=tuple(fitted[points].tolist()))


def apply(curve: CalibrationCurve, scores: npt.ArrayLike) -> Floats:
    """Scores as frequencies; beyond the curve's ends it stays level. NaN stays NaN."""
    return np.asarray(np.interp(np.asarray(scores, float), curve.scores, curve.frequencies), float)


def reliability(scores: npt.ArrayLike, labels: npt.ArrayLike, bins: int = 10) -> tuple[Bin, ...]:
    """Bins of equal size by score, lowest first; empty ones are left out."""
    x, y = np.asarray(scores, float), np.asarray(labels, float)
    order = np.argsort(x, kind="stable")
    return tuple(
        Bin(rows=len(part), score=float(x[part].mean()), frequency=float(y[part].mean()))
        for part in np.array_split(order, bins)
        if len(part)
    )


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Expected calibration error: mean distance of score and frequency (Naeini et al., AAAI 2015); 0 if empty."""
    rows = sum(part.rows for part in bins)
    return sum(part.rows * abs(part.score - part.frequency) for part in bins) / rows if rows else 0.0


def _grouped(scores: Floats, labels: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean score, mean label and rows of at most `POINTS` groups in the order of the scores."""
    present = np.isfinite(scores) & np.isfinite(labels)
    values, place = np.unique(scores[present], return_inverse=True)
    if len(values) > POINTS:
        rank = np.argsort(np.argsort(scores[present], kind="stable"), kind="stable")
        place = rank * POINTS // len(rank)
        # One score must not lie in two groups, or the curve would not be a function.
        first = np.full(len(values), POINTS)
        where = np.searchsorted(values, scores[present])
        np.minimum.at(first, where, place)
        place = np.unique(first[where], return_inverse=True)[1]
    weight = np.bincount(place).astype(float)
    x = np.bincount(place, weights=scores[present]) / np.maximum(weight, 1)
    y = np.bincount(place, weights=labels[present]) / np.maximum(weight, 1)
    return x, y, weight


def _pool(values: Floats, weights: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Levels of the fit and how many groups share each."""
    levels: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        level, mass, size = value, weight, 1
        while levels and levels[-1] >= level:
            before = masses.pop()
            level = (levels.pop() * before + level * mass) / (before + mass)
            mass += before
            size += sizes.pop()
        levels.append(level)
        masses.append(mass)
        sizes.append(size)
    return np.array(levels), np.array(sizes, dtype=np.int64)
