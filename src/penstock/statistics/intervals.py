"""Metrics with their uncertainty (part of ``statistics``; numpy only).

What comes in: `Answers` of one or two models on the same rows, and the unit of each row where rows depend on each
other. What goes out: an `Estimate` with its interval, or `NotEstimable` with the reason in words; never a NaN.

    AUC of two classes   DeLong; of whole units where units are given (Obuchowski)
    accuracy             Wilson, where rows are independent
    anything else        bootstrap, of whole units where units are given

Where units are given, intervals are Student's with (units - 1) degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from penstock.statistics.delong import delong
from penstock.statistics.metrics import METRICS, Answers, FloatArray, IntArray, Metric, Statistic
from penstock.statistics.resampling import bootstrap, normal_quantile, student_quantile

MIN_UNITS = 6
_MIN_KNOWN = 0.9


@dataclass(frozen=True)
class NotEstimable:
    """These rows cannot give the figure; the reason is a clause that follows "because"."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
        value: On all rows.
        low: Lower end of the interval; `high` is the upper one.
        rows: Rows it rests on.
        units: Independent units among them (rows, where nothing else was said).
        confidence: Chance that an interval made this way covers the truth.
        method: How the interval was made, in words.
    """

    value: float
    low: float
    high: float
    rows: int
    units: int
    confidence: float
    method: str


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How intervals are made: confidence, seed of the bootstrap, number of its draws."""

    confidence: float = 0.95
    seed: int = 0
    replicates: int = 400


Found = Estimate | NotEstimable
_DEFAULT = Precision()


def estimate(name: str, answers: Answers, units: IntArray | None = None, *, precision: Precision = _DEFAULT) -> Found:
    """One metric with its interval.

    Args:
        name: A key of `METRICS`.
        answers: The model's answers beside the truth.
        units: Unit of each row (`unit_codes`) where rows of one unit depend on each other.
        precision: Confidence, seed, replicates.
    """
    metric = METRICS[name]
    statistic = metric.statistic(answers)
    trouble = _trouble(metric, answers, statistic, units)
    if trouble:
        return NotEstimable(trouble)
    if name == "auc" and answers.classes == 2:
        return _delong_estimate(answers, units, precision)
    if units is None and name == "accuracy":
        return _wilson(answers, precision)
    value = statistic(np.ones(len(answers)))
    return _resampled([statistic], value, answers, units, precision, (metric.low, metric.high))


def improvement(
    name: str, new: Answers, old: Answers, units: IntArray | None = None, *, precision: Precision = _DEFAULT
) -> Found:
    """How much better `new` is than `old` on the same rows; above 0 is better whichever way the metric points.

    The difference is paired: both are resampled by the same draws, or share DeLong's covariance.
    """
    metric = METRICS[name]
    pair = [metric.statistic(new), metric.statistic(old)]
    for answers, statistic in zip((new, old), pair, strict=True):
        trouble = _trouble(metric, answers, statistic, units)
        if trouble:
            return NotEstimable(trouble)
    if name == "auc" and new.classes == 2:
        return _delong_difference(new, old, units, precision)
    return _difference(metric, pair, new, units, precision)


def skill(name: str, answers: Answers, units: IntArray | None = None, *, precision: Precision = _DEFAULT) -> Found:
    """How much better the answers are than the best answer that ignores the inputs; above 0 is better."""
    metric = METRICS[name]
    pair = [metric.statistic(answers), metric.trivial(answers)]
    trouble = _trouble(metric, answers, pair[0], units)
    if trouble:
        return NotEstimable(trouble)
    if name == "auc":
        return _shifted(estimate(name, answers, units, precision=precision), -0.5)
    return _difference(metric, pair, answers, units, precision)


# -- what cannot be said -------------------------------------------------------------------------


def _trouble(metric: Metric, answers: Answers, statistic: Statistic, units: IntArray | None) -> str:
    """Why the figure or its interval cannot be had; empty where it can."""
    if len(answers) < 2:
        return f"there are {len(answers)} rows"
    if answers.classes and metric.name == "auc" and len(np.unique(answers.truth)) < 2:
        return "the rows hold one class only"
    if not np.isfinite(statistic(np.ones(len(answers)))):
        return f"these answers do not give the {metric.title}"
    if units is None:
        return ""
    count = len(np.unique(units))
    if count < MIN_UNITS:
        return f"the rows come from {count} independent units and {MIN_UNITS} are the least that give an interval"
    return ""


# -- intervals -----------------------------------------------------------------------------------


def _resampled(
    statistics: list[Statistic],
    value: float,
    answers: Answers,
    units: IntArray | None,
    precision: Precision,
    span: tuple[float, float],
) -> Found:
    """The interval of one statistic, or of the first minus the second, by the bootstrap."""
    found = bootstrap(statistics, len(answers), units, seed=precision.seed, replicates=precision.replicates)
    replicates = found[:, 0] if found.shape[1] == 1 else found[:, 0] - found[:, 1]
    known = replicates[np.isfinite(replicates)]
    if len(known) < _MIN_KNOWN * len(replicates):
        return NotEstimable("a class is so rare that resamples of these rows often miss it")
    count = len(answers) if units is None else len(np.unique(units))
    reach = student_quantile(precision.confidence, max(count - 1, MIN_UNITS - 1)) * float(known.std(ddof=1))
    # The bootstrap of n units sees (n - 1) / n of the variance.
    reach *= float(np.sqrt(count / (count - 1)))
    return Estimate(
        value=value,
        low=max(value - reach, span[0]),
        high=min(value + reach, span[1]),
        rows=len(answers),
        units=count,
        confidence=precision.confidence,
        method="bootstrap of rows" if units is None else f"bootstrap of {count} whole units",
    )


def _difference(
    metric: Metric, pair: list[Statistic], answers: Answers, units: IntArray | None, precision: Precision
) -> Found:
    """First minus second, turned so that above 0 is better."""
    ones = np.ones(len(answers))
    ordered = pair if metric.higher else pair[::-1]
    value = ordered[0](ones) - ordered[1](ones)
    return _resampled(ordered, value, answers, units, precision, (float("-inf"), float("inf")))


def _second_scores(answers: Answers) -> FloatArray:
    """Scores of the second of two classes; the callers know that there are scores."""
    return np.zeros(len(answers)) if answers.scores is None else answers.scores[:, -1]


def _rarest(positive: npt.NDArray[np.bool_], units: IntArray | None) -> int:
    """Independent units that hold the rarer class."""
    if units is None:
        return int(min(positive.sum(), (~positive).sum()))
    return min(len(np.unique(units[positive])), len(np.unique(units[~positive])))


def _reach(count: int, units: IntArray | None, precision: Precision) -> float:
    """Standard errors to either side."""
    if units is None:
        return normal_quantile(precision.confidence)
    return student_quantile(precision.confidence, count - 1)


def _delong_estimate(answers: Answers, units: IntArray | None, precision: Precision) -> Found:
    positive = answers.truth == 1
    rarest = _rarest(positive, units)
    if rarest < 2:
        return NotEstimable("one of the classes occurs in a single independent unit")
    aucs, covariance = delong(positive, _second_scores(answers)[None, :], units)
    count = len(answers) if units is None else len(np.unique(units))
    value, error = float(aucs[0]), float(np.sqrt(covariance[0, 0]))
    reach = _reach(count, units, precision) * error
    low, high = max(value - reach, 0.0), min(value + reach, 1.0)
    # Without a single pair out of order the variance is 0: take the exact bound on as many pairs as are independent.
    bound = float(((1 - precision.confidence) / 2) ** (1 / rarest))
    if value == 1.0:
        low = bound
    elif value == 0.0:
        high = 1 - bound
    return _closed(answers, value, (low, high), precision, ("DeLong", count, units is None))


def _delong_difference(new: Answers, old: Answers, units: IntArray | None, precision: Precision) -> Found:
    positive = new.truth == 1
    if _rarest(positive, units) < 2:
        return NotEstimable("one of the classes occurs in a single independent unit")
    aucs, covariance = delong(positive, np.stack([_second_scores(new), _second_scores(old)]), units)
    count = len(new) if units is None else len(np.unique(units))
    value = float(aucs[0] - aucs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    reach = _reach(count, units, precision) * float(np.sqrt(max(variance, 0.0)))
    return _closed(new, value, (value - reach, value + reach), precision, ("DeLong, paired", count, units is None))


def _wilson(answers: Answers, precision: Precision) -> Estimate:
    """Wilson's score interval of a share; holds its promise near 0 and 1, where the plain one is too narrow."""
    n, z = len(answers), normal_quantile(precision.confidence)
    share = float((answers.truth == answers.answer).mean())
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    interval = (max(centre - reach, 0.0), min(centre + reach, 1.0))
    return _closed(answers, share, interval, precision, ("Wilson", n, True))


def _closed(
    answers: Answers, value: float, interval: tuple[float, float], precision: Precision, how: tuple[str, int, bool]
) -> Estimate:
    """An estimate by a formula; `how` is its name, the number of units, and whether each row is one."""
    name, count, is_by_row = how
    return Estimate(
        value=value,
        low=interval[0],
        high=interval[1],
        rows=len(answers),
        units=count,
        confidence=precision.confidence,
        method=name if is_by_row else f"{name}, of {count} whole units",
    )


def _shifted(found: Found, by: float) -> Found:
    """The same estimate on a moved scale."""
    if isinstance(found, NotEstimable):
        return found
    return replace(found, value=found.value + by, low=found.low + by, high=found.high + by)
