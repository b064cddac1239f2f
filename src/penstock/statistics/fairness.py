"""Figures of groups of rows, and how far groups lie apart, each with its interval (part of ``statistics``; numpy only).

    a tally a row, a group a row  -> a figure a group: Wilson of shares, Student of means
    figures of two groups         -> difference and ratio: MOVER

What comes in: what each row adds to a figure's numerator and denominator. What goes out: figures and comparisons that
hold at once: the error rate is shared among all of them (Bonferroni). Where units are given, a figure's variance is
that of whole units, and what groups share by lying in the same units is taken into account.

Sources: Wilson, JASA 22, 1927; MOVER: Newcombe, Statistics in Medicine 17, 1998, and Zou and Donner, ibid. 27, 2008;
effective sample size: Korn and Graubard, Survey Methodology 24, 1998.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import NamedTuple

import numpy as np

from penstock.statistics.intervals import MIN_UNITS, Precision
from penstock.statistics.metrics import FloatArray, IntArray
from penstock.statistics.resampling import normal_quantile, student_quantile

_STEPS = 60
_WIDEST = 1e6


class Quotient(NamedTuple):
    """A figure as a quotient of sums over rows.

    Attributes:
        top: ``(rows,)``: what each row adds above.
        bottom: ``(rows,)``: whether the row counts at all, 1 or 0.
        is_share: `top` is 1 or 0, so that the figure is a share of the rows that count.
    """

    top: FloatArray
    bottom: FloatArray
    is_share: bool = True


class GroupFigure(NamedTuple):
    """One group's figure: value, ends of its interval, and the rows that it rests on."""

    value: float
    low: float
    high: float
    rows: int


class GroupFigures(NamedTuple):
    """A figure of every group.

    Attributes:
        each: By group; None where it has no row that counts, or too few independent units.
        together: ``(groups, groups)``: correlation of the figures' errors; 0 where rows are independent.
    """

    each: tuple[GroupFigure | None, ...]
    together: FloatArray


class Comparison(NamedTuple):
    """The first group beside the second one: a figure and the ends of its interval."""

    first: int
    second: int
    value: float
    low: float
    high: float


def shared_confidence(precision: Precision, questions: int) -> float:
    """The confidence that each of so many intervals needs for all of them to hold at once (Bonferroni)."""
    return 1 - (1 - precision.confidence) / max(questions, 1)


def group_figures(
    tally: Quotient, groups: IntArray, count: int, units: IntArray | None, *, confidence: float
) -> GroupFigures:
    """The figure of each group.

    Args:
        tally: What each row adds.
        groups: ``(rows,)``: group of each row, from 0; negative for rows of none.
        count: Number of groups.
        units: Unit of each row, from 0, where rows of one unit depend on each other.
        confidence: Of each interval.
    """
    known = groups >= 0
    top = np.bincount(groups[known], tally.top[known], count)
    bottom = np.bincount(groups[known], tally.bottom[known], count)
    value = np.divide(top, bottom, out=np.zeros(count), where=bottom > 0)
    # What each row moves its group's figure by.
    moved = np.where(known, tally.top - value[groups] * tally.bottom, 0.0) / np.maximum(bottom, 1)[groups]
    if units is None:
        squares = np.bincount(groups[known], moved[known] ** 2, count)
        variance, each = squares * bottom / np.maximum(bottom - 1, 1), bottom.astype(np.int64)
        together = np.eye(count)
    else:
        variance, each, together = _of_units(moved, groups, count, units, tally.bottom)
    found: list[GroupFigure | None] = []
    for group in range(count):
        rows, independent = int(bottom[group]), int(each[group])
        if rows == 0 or (units is not None and independent < MIN_UNITS):
            found.append(None)
            continue
        reach = normal_quantile(confidence) if units is None else student_quantile(confidence, independent - 1)
        at, spread = float(value[group]), float(variance[group])
        if tally.is_share:
            many = float(rows) if units is None else _effective(at, spread, rows, independent)
            low, high = _wilson_ends(at, many, reach)
        else:
            half = reach * float(np.sqrt(spread)) if independent > 1 else float("inf")
            low, high = at - half, at + half
        found.append(GroupFigure(at, low, high, rows))
    return GroupFigures(tuple(found), together)


def differences(figures: GroupFigures) -> list[Comparison]:
    """How far each group's figure lies above each other's, by MOVER: both ways."""
    return [
        Comparison(first, second, *_contrast(one, other, 1.0, figures.together[first, second]))
        for first, second, one, other in _pairs(figures)
    ]


def ratios(figures: GroupFigures) -> list[Comparison]:
    """Each group's share as a part of each other's, both ways; 1 where both are 0.

    The ends are the factors at which the interval of ``first - factor * second`` begins and ceases to hold 0, so that
    shares of 0 need no exception.
    """
    found = []
    for first, second, one, other in _pairs(figures):
        together = float(figures.together[first, second])
        value = one.value / other.value if other.value else (1.0 if one.value == 0 else _WIDEST)
        found.append(Comparison(first, second, value, *_ratio_ends(one, other, value, together)))
    return found


def _pairs(figures: GroupFigures) -> Iterator[tuple[int, int, GroupFigure, GroupFigure]]:
    known = [(place, one) for place, one in enumerate(figures.each) if one is not None]
    for (first, one), (second, other) in permutations(known, 2):
        yield first, second, one, other


def _of_units(
    moved: FloatArray, groups: IntArray, count: int, units: IntArray, bottom: FloatArray
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Variance of each group's figure over whole units, its number of units, and the correlations."""
    many = int(units.max()) + 1
    known = groups >= 0
    place = units[known] * count + groups[known]
    sums = np.bincount(place, moved[known], many * count).reshape(many, count)
    rows = np.bincount(place, bottom[known], many * count).reshape(many, count)
    each = (rows > 0).sum(axis=0).astype(np.int64)
    products = sums.T @ sums
    variance = np.diag(products) * each / np.maximum(each - 1, 1)
    spread = np.sqrt(np.outer(np.diag(products), np.diag(products)))
    together: FloatArray = np.divide(products, spread, out=np.zeros_like(products), where=spread > 0)
    return variance, each, together


def _effective(value: float, variance: float, rows: int, independent: int) -> float:
    """How many independent rows would tell as much; never more than there are, never fewer than units of one row."""
    plain = value * (1 - value) / rows
    if plain <= 0 or variance <= 0:
        # All rows agree, so their variance says nothing of how units hang together.
        return float(min(rows, independent))
    return rows / max(variance / plain, 1.0)


def _wilson_ends(value: float, rows: float, reach: float) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    square = reach * reach
    middle = (value + square / (2 * rows)) / (1 + square / rows)
    half = reach * float(np.sqrt(value * (1 - value) / rows + square / (4 * rows * rows))) / (1 + square / rows)
    return max(min(middle - half, value), 0.0), min(max(middle + half, value), 1.0)


def _contrast(one: GroupFigure, other: GroupFigure, factor: float, together: float) -> tuple[float, float, float]:
    """``one - factor * other`` and its ends, by MOVER with correlation."""
    value = one.value - factor * other.value
    down = _joined(one.value - one.low, factor * (other.high - other.value), together)
    up = _joined(one.high - one.value, factor * (other.value - other.low), together)
    return value, value - down, value + up


def _joined(one: float, other: float, together: float) -> float:
    if not np.isfinite(one + other):
        return float("inf")
    return float(np.sqrt(max(one * one - 2 * together * one * other + other * other, 0.0)))


def _ratio_ends(one: GroupFigure, other: GroupFigure, value: float, together: float) -> tuple[float, float]:
    """Where the contrast's lower end falls to 0, and where its upper end does."""

    def above(factor: float) -> bool:
        return _contrast(one, other, factor, together)[1] > 0

    def reaches(factor: float) -> bool:
        return _contrast(one, other, factor, together)[2] >= 0

    low = _last(above, 0.0, value) if one.low > 0 else 0.0
    high = float("inf") if reaches(_WIDEST) else _last(reaches, value, _WIDEST)
    return low, high


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The largest number for which it holds: it does at `low`, and ceases once."""
    for _ in range(_STEPS):
        middle = low + (high - low) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
