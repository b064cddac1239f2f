"""How good the answers are: realised by labels, and estimated where they have not come yet, window by window.

What comes in: windows of predictions and of outcomes. What goes out: `Quality` records. An interval takes the day as
its unit where there are several days; within one day it is the rows' own sampling error.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from scipy import stats

from penstock.observe.windows import Observations
from penstock.records import Record
from penstock.statistics import blocks, estimation
from penstock.statistics.estimation import BAND, PerformanceEstimate
from penstock.statistics.reference import Reference, estimates

Floats = npt.NDArray[np.float64]
Metric = Callable[[Floats, Floats], tuple[float, float]]


class Realised(Record, frozen=True, kw_only=True):
    """A figure of merit by labels, with its 95 % interval; NaN bounds never occur: too few rows give none at all."""

    metric: str
    value: float
    low: float
    high: float
    labels: int


class Quality(Record, frozen=True, kw_only=True):
    """One window: what was expected and what came true.

    Attributes:
        rate: Mean label; `score` the mean score.
        realised: Empty until labels come.
    """

    start: float
    end: float
    rows: int
    score: float = 0.0
    rate: float = 0.0
    estimates: tuple[PerformanceEstimate, ...] = ()
    realised: tuple[Realised, ...] = ()


def expected(reference: Reference, rows: Observations, *, start: float, end: float) -> Quality:
    """What the scores of a window promise.

    Args:
        reference: Its curve turns scores into frequencies.
        rows: The window's predictions.
        start: Of the window.
        end: Of the window.
    """
    scores = rows.scores[np.isfinite(rows.scores)]
    mean = float(scores.mean()) if len(scores) else 0.0
    return Quality(start=start, end=end, rows=len(rows), score=mean, estimates=estimates(reference, rows.scores))


def strike_out(known: Quality, reason: str) -> Quality:
    """The window with its estimates marked invalid."""
    return replace(known, estimates=tuple(estimation.strike(one, reason) for one in known.estimates))


def with_labels(known: Quality, reference: Reference, rows: Observations) -> Quality:
    """The window once outcomes have come."""
    labels = rows.labels[np.isfinite(rows.labels)]
    rate = float(labels.mean()) if len(labels) else 0.0
    return replace(known, rate=rate, realised=realised(rows, task=reference.task, start_h=reference.start_h))


def realised(rows: Observations, *, task: str = "classification", start_h: int = 0) -> tuple[Realised, ...]:
    """AUC, accuracy and Brier score, or a regression's mean absolute error, of the rows with labels."""
    there = np.flatnonzero(np.isfinite(rows.labels) & np.isfinite(rows.scores))
    scores, labels = rows.scores[there], rows.labels[there]
    days = blocks.block_of(rows.times[there], 24, start_h)
    metrics = REGRESSION if task == "regression" else CLASSIFICATION
    found = [_interval(name, metric, scores, labels, days) for name, metric in metrics.items()]
    return tuple(known for known in found if known is not None)


def _interval(name: str, metric: Metric, scores: Floats, labels: Floats, days: blocks.Places) -> Realised | None:
    """Student's interval over days; within a single day the rows' sampling error."""
    if not len(scores):
        return None
    value, error = metric(scores, labels)
    if not math.isfinite(value):
        return None
    reach = BAND * error
    by_day = [metric(scores[days == day], labels[days == day])[0] for day in np.unique(days)]
    there = [one for one in by_day if math.isfinite(one)]
    if len(there) > 2:
        reach = float(stats.t.ppf(0.975, len(there) - 1)) * float(np.std(there, ddof=1)) / math.sqrt(len(there))
    return Realised(metric=name, value=value, low=value - reach, high=value + reach, labels=len(scores))


def _auc(scores: Floats, labels: Floats) -> tuple[float, float]:
    """Value and Hanley-McNeil standard error; NaN without both classes."""
    true, false = labels.sum(), (1 - labels).sum()
    if min(true, false) < 1:
        return math.nan, math.nan
    ranks = stats.rankdata(scores)
    value = float((ranks[labels > 0.5].sum() - true * (true + 1) / 2) / (true * false))
    return value, estimation.auc_error(value, float(true), float(false))


def _accuracy(scores: Floats, labels: Floats) -> tuple[float, float]:
    return _mean(((scores > 0.5) == (labels > 0.5)).astype(float))


def _brier(scores: Floats, labels: Floats) -> tuple[float, float]:
    return _mean((scores - labels) ** 2)


def _error(scores: Floats, labels: Floats) -> tuple[float, float]:
    return _mean(np.abs(scores - labels))


def _mean(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


CLASSIFICATION: dict[str, Metric] = {"auc": _auc, "accuracy": _accuracy, "brier": _brier}
REGRESSION: dict[str, Metric] = {"mae": _error}
