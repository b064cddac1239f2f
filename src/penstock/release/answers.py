"""Stage 4, release: what an answer looks like to a guard: valid or not, how high it scores, right or wrong.

In: exchanges as logged. Out: plain facts about one of them; nothing here compares versions.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from penstock.records import Column, Exchange, Outcome

BINS = 20
_SLACK = 1e-6
_SUM_SLACK = 1e-3

Score = float | str
"""A number where the model gives one, else the label's text."""


class ScoreReference:
    """The stable version's scores, cut into `BINS` parts of equal frequency; labels are their own parts.

    Args:
        scores: None where an answer had none.
    """

    def __init__(self, scores: Sequence[Score | None]) -> None:
        numbers = [score for score in scores if isinstance(score, float)]
        self._edges = _edges(numbers)
        self._labels = sorted({score for score in scores if isinstance(score, str)})
        self.bins = len(self._edges) + 1 + len(self._labels) + 1

    def bin(self, score: Score) -> int:
        """Which part a score falls into; labels never seen share the last."""
        if isinstance(score, float):
            return bisect.bisect_right(self._edges, score)
        place = bisect.bisect_left(self._labels, score)
        known = place < len(self._labels) and self._labels[place] == score
        return len(self._edges) + 1 + (place if known else len(self._labels))


def _edges(numbers: list[float]) -> list[float]:
    if not numbers:
        return []
    cuts = np.quantile(np.array(numbers), np.arange(1, BINS) / BINS, method="higher")
    return [float(cut) for cut in np.unique(cuts)]


def score_of(exchange: Exchange, row: int = 0) -> Score | None:
    """How high one row scores; None where it has no such output or no finite one.

    Of two classes the second's probability, of more the mean class index; a regression's prediction; else the label.
    """
    for name in ("probabilities", "scores", "prediction"):
        column = exchange.outputs.get(name)
        if column is not None and row < len(column):
            return _number(column[row])
    labels = exchange.outputs.get("label")
    return str(labels[row]) if labels is not None and row < len(labels) else None


def _number(value: object) -> float | None:
    try:
        array = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return None
    if not array.size or not np.isfinite(array).all():
        return None
    return float(array[0]) if array.size == 1 else float(array @ np.arange(array.size))


def is_valid(exchange: Exchange) -> bool:
    """Whether every number is finite, every probability lies in [0, 1] and every row of them adds to 1."""
    return all(
        len(column) == exchange.rows and _sound(name, column) for name, column in exchange.outputs.items()
    ) and bool(exchange.outputs)


def _sound(name: str, column: Column) -> bool:
    if name == "label":
        return all(value is not None for value in column)
    try:
        array: npt.NDArray[np.float64] = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        return all(isinstance(value, str) for value in column)
    if not np.isfinite(array).all():
        return False
    if name != "probabilities":
        return True
    inside = bool(((array >= -_SLACK) & (array <= 1 + _SLACK)).all())
    return inside and (array.ndim < 2 or bool((np.abs(array.sum(axis=1) - 1) <= _SUM_SLACK).all()))


def error_of(exchange: Exchange, outcome: Outcome) -> float | None:
    """How wrong a prediction was: 0 or 1 for a label, the distance for a number; None where it cannot be said."""
    row = int(outcome.prediction.rpartition(".")[2])
    labels = exchange.outputs.get("label")
    if labels is not None:
        return float(_plain(labels[row]) != _plain(outcome.value)) if row < len(labels) else None
    predicted = score_of(exchange, row)
    if not isinstance(predicted, float) or isinstance(outcome.value, str):
        return None
    return abs(predicted - float(outcome.value))


def _plain(value: object) -> str:
    """A label as text: 1, 1.0 and True are one label, as they are one in Python."""
    return str(float(value)) if isinstance(value, bool | int | float) else str(value)
