"""Quality metrics of classifiers and regressors as weighted statistics (part of ``statistics``; numpy only).

What comes in: `Answers`, a model's answers beside the truth. What goes out: for each metric a `Statistic`, a
function from row weights to the metric's value. Weights of one give the plain figure; bootstrap counts give a
replicate of it, so `penstock.statistics.resampling` never needs to know which metric it resamples.

A figure that the rows cannot give (one class only, no rows, no spread) is NaN inside this file's statistics and
leaves it as `penstock.statistics.intervals.NotEstimable`, never as a NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Statistic = Callable[[FloatArray], float]
"""Row weights ``(rows,)``, all at least 0 -> the metric; NaN where these rows cannot give it."""

CALIBRATION_BINS = 10
ROWS_PER_BIN = 30
_TINY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model answered, beside the truth.

    Attributes:
        truth: ``(rows,)``: class codes (float of an index into the classes), or the true values of a regression.
        answer: ``(rows,)``: the answered class codes or values.
        scores: ``(rows, classes)``: probabilities, or anything that ranks; None for a regression and for a
            classifier that only names a class.
        probable: `scores` are probabilities (at least 0, adding to 1 in each row).
        classes: Number of classes; 0 for a regression.
    """

    truth: FloatArray
    answer: FloatArray
    scores: FloatArray | None = None
    probable: bool = False
    classes: int = 0

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: npt.NDArray[np.bool_] | IntArray) -> Answers:
        """The answers on some rows, by mask or index."""
        scores = None if self.scores is None else self.scores[rows]
        return Answers(
            truth=self.truth[rows],
            answer=self.answer[rows],
            scores=scores,
            probable=self.probable,
            classes=self.classes,
        )


class Metric(NamedTuple):
    """One metric: what it is called, which way is up, and how it is computed.

    Attributes:
        title: As a report prints it.
        higher: More is better.
        low: The smallest possible value; the largest is `high`.
        statistic: The metric of a model's answers.
        trivial: The metric of the best answer that ignores the inputs (prevalence, majority, mean, median).
    """

    name: str
    title: str
    higher: bool
    low: float
    high: float
    statistic: Callable[[Answers], Statistic]
    trivial: Callable[[Answers], Statistic]


# -- ranking -------------------------------------------------------------------------------------


def auc_of(positive: npt.NDArray[np.bool_], score: FloatArray) -> Statistic:
    """Area under the ROC curve: the chance that a positive row outranks a negative one, ties half.

    Args:
        positive: ``(rows,)``.
        score: ``(rows,)``; only its order matters.
    """
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    # Rows of equal score form one step of the curve.
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1]))) if len(ranked) else np.zeros(0, int)
    hits = positive[order].astype(np.float64)

    def statistic(weights: FloatArray) -> float:
        if not len(starts):
            return float("nan")
        ordered = weights[order]
        up = np.add.reduceat(ordered * hits, starts)
        down = np.add.reduceat(ordered * (1.0 - hits), starts)
        pairs = up.sum() * down.sum()
        if pairs <= 0:
            return float("nan")
        below = np.cumsum(down) - down
        return float(np.dot(up, below + down / 2) / pairs)

    return statistic


def _auc(answers: Answers) -> Statistic:
    """Of two classes the AUC; of more the mean of one-against-rest over the classes that occur."""
    scores = answers.scores
    if scores is None:
        return _never
    if answers.classes == 2:
        return auc_of(answers.truth == 1, scores[:, -1])
    each = [
        auc_of(answers.truth == code, scores[:, code])
        for code in range(answers.classes)
        if np.any(answers.truth == code)
    ]

    def statistic(weights: FloatArray) -> float:
        values = np.array([one(weights) for one in each])
        known = values[np.isfinite(values)]
        return float(known.mean()) if len(known) else float("nan")

    return statistic


# -- means of a loss -----------------------------------------------------------------------------


def _mean_of(loss: FloatArray) -> Statistic:
    """The weighted mean of one figure a row."""

    def statistic(weights: FloatArray) -> float:
        total = float(weights.sum())
        return float(np.dot(weights, loss) / total) if total > 0 else float("nan")

    return statistic


def _accuracy(answers: Answers) -> Statistic:
    return _mean_of((answers.truth == answers.answer).astype(np.float64))


def _log_loss(answers: Answers) -> Statistic:
    """Mean negative log probability of the true class, in nats."""
    if answers.scores is None or not answers.probable:
        return _never
    chosen = answers.scores[np.arange(len(answers)), answers.truth.astype(np.int64)]
    return _mean_of(-np.log(np.clip(chosen, _TINY, 1.0)))


def _brier(answers: Answers) -> Statistic:
    """Mean squared distance of probability and truth; of two classes that of the second, of more the sum."""
    if answers.scores is None or not answers.probable:
        return _never
    if answers.classes == 2:
        return _mean_of((answers.scores[:, 1] - (answers.truth == 1)) ** 2)
    hot = answers.truth[:, None] == np.arange(answers.classes)
    return _mean_of(((answers.scores - hot) ** 2).sum(axis=1))


def _mae(answers: Answers) -> Statistic:
    return _mean_of(np.abs(answers.answer - answers.truth))


def _rmse(answers: Answers) -> Statistic:
    mean = _mean_of((answers.answer - answers.truth) ** 2)
    return lambda weights: float(np.sqrt(mean(weights)))


def _r2(answers: Answers) -> Statistic:
    """Share of the variance explained; negative when worse than the mean, NaN without variance."""
    error = _mean_of((answers.answer - answers.truth) ** 2)
    spread = _spread(answers)

    def statistic(weights: FloatArray) -> float:
        variance = spread(weights) ** 2
        return 1.0 - error(weights) / variance if variance > 0 else float("nan")

    return statistic


# -- calibration ---------------------------------------------------------------------------------


class Reliability(NamedTuple):
    """One bin of a reliability curve: rows, mean probability said, share that came true."""

    rows: int
    said: float
    came: float


def _confidence(answers: Answers) -> tuple[FloatArray, FloatArray]:
    """What is said and what came true: of two classes the second's probability, of more the answered class's."""
    scores = np.zeros((len(answers), 2)) if answers.scores is None else answers.scores
    if answers.classes == 2:
        return scores[:, 1], (answers.truth == 1).astype(np.float64)
    return scores.max(axis=1), (answers.truth == scores.argmax(axis=1)).astype(np.float64)


def _bins(said: FloatArray) -> IntArray:
    """Bin of each row: equal numbers of rows, never one probability in two bins."""
    wanted = int(np.clip(len(said) // ROWS_PER_BIN, 1, CALIBRATION_BINS))
    edges = np.unique(np.quantile(said, np.linspace(0, 1, wanted + 1)[1:-1])) if wanted > 1 else np.zeros(0)
    return np.searchsorted(edges, said, side="left").astype(np.int64)


def reliability(answers: Answers) -> list[Reliability]:
    """The reliability curve in at most 10 bins of equal rows; empty without probabilities or rows."""
    if answers.scores is None or not answers.probable or not len(answers):
        return []
    said, came = _confidence(answers)
    bins = _bins(said)
    return [
        Reliability(int(mine.sum()), float(said[mine].mean()), float(came[mine].mean()))
        for mine in (bins == number for number in np.unique(bins))
    ]


def _calibration_error(answers: Answers) -> Statistic:
    """Expected calibration error: mean over rows of |said - came true| of the row's bin."""
    if answers.scores is None or not answers.probable or not len(answers):
        return _never
    said, came = _confidence(answers)
    bins = _bins(said)
    gap = said - came

    def statistic(weights: FloatArray) -> float:
        total = float(weights.sum())
        if total <= 0:
            return float("nan")
        return float(np.abs(np.bincount(bins, weights * gap)).sum() / total)

    return statistic


# -- what needs no model -------------------------------------------------------------------------


def _never(weights: FloatArray) -> float:
    """The statistic of answers that do not hold what the metric needs."""
    del weights
    return float("nan")


def _always(value: float) -> Callable[[Answers], Statistic]:
    """A trivial answer's metric where it is the same for every truth."""
    return lambda answers: lambda weights: value


def _prevalence(answers: Answers, weights: FloatArray) -> FloatArray:
    """Share of each class, ``(classes,)``; NaN without rows."""
    counts = np.bincount(answers.truth.astype(np.int64), weights, minlength=answers.classes)
    total = counts.sum()
    return counts / total if total > 0 else np.full(len(counts), np.nan)


def _entropy(answers: Answers) -> Statistic:
    """Log loss of always saying the prevalence."""

    def statistic(weights: FloatArray) -> float:
        share = _prevalence(answers, weights)
        return float(-(share * np.log(np.where(share > 0, share, 1.0))).sum())

    return statistic


def _impurity(answers: Answers) -> Statistic:
    """Brier score of always saying the prevalence."""
    scale = 2.0 if answers.classes == 2 else 1.0
    return lambda weights: float((1.0 - (_prevalence(answers, weights) ** 2).sum()) / scale)


def _majority(answers: Answers) -> Statistic:
    return lambda weights: float(_prevalence(answers, weights).max())


def _spread(answers: Answers) -> Statistic:
    """RMSE of always saying the mean: the standard deviation."""
    mean = _mean_of(answers.truth)
    square = _mean_of((answers.truth - (answers.truth.mean() if len(answers) else 0.0)) ** 2)
    shift = float(answers.truth.mean()) if len(answers) else 0.0
    return lambda weights: float(np.sqrt(max(square(weights) - (mean(weights) - shift) ** 2, 0.0)))


def _deviation(answers: Answers) -> Statistic:
    """MAE of always saying the median of all rows."""
    return _mean_of(np.abs(answers.truth - (np.median(answers.truth) if len(answers) else 0.0)))


_ALL = (
    Metric("auc", "AUC", True, 0.0, 1.0, _auc, _always(0.5)),
    Metric("accuracy", "accuracy", True, 0.0, 1.0, _accuracy, _majority),
    Metric("log_loss", "log loss", False, 0.0, float("inf"), _log_loss, _entropy),
    Metric("brier", "Brier score", False, 0.0, 2.0, _brier, _impurity),
    Metric("calibration_error", "calibration error", False, 0.0, 1.0, _calibration_error, _always(0.0)),
    Metric("r2", "R²", True, float("-inf"), 1.0, _r2, _always(0.0)),
    Metric("rmse", "RMSE", False, 0.0, float("inf"), _rmse, _spread),
    Metric("mae", "MAE", False, 0.0, float("inf"), _mae, _deviation),
)
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})


def fitting(answers: Answers) -> tuple[Metric, ...]:
    """The metrics these answers can be held to, the leading one first: AUC, else accuracy, else R²."""
    if not answers.classes:
        return tuple(METRICS[name] for name in ("r2", "rmse", "mae"))
    names = ["accuracy"] if answers.scores is None else ["auc", "accuracy"]
    if answers.probable:
        names += ["log_loss", "brier", "calibration_error"]
    return tuple(METRICS[name] for name in names)


def value(name: str, answers: Answers) -> float | None:
    """One metric's plain figure; None where the answers cannot give it."""
    found = METRICS[name].statistic(answers)(np.ones(len(answers)))
    return found if np.isfinite(found) else None
