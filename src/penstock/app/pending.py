"""Predictions that wait for their outcome, in memory: the live side of the join by prediction id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from penstock.observe.windows import Observations
from penstock.records import Outcome, Scalar
from penstock.statistics.answers import labels_of

KEEP = 1_000_000
"""Rows that wait at most; the oldest give way, and only the tables know them then."""


class Pending:
    """Rows by prediction id, until their outcome comes.

    Args:
        keep: How many rows may wait.
    """

    def __init__(self, keep: int = KEEP) -> None:
        self._keep = keep
        self._batches: list[tuple[Observations, Sequence[str]]] = []
        self._places: dict[str, tuple[int, int]] = {}

    def add(self, ids: Sequence[str], rows: Observations, answers: Sequence[str]) -> None:
        """Let rows wait; `ids` and `answers` have one prediction id and one answered label for each."""
        batch = len(self._batches)
        self._batches.append((rows, answers))
        self._places.update((prediction, (batch, row)) for row, prediction in enumerate(ids))
        for prediction in list(islice(self._places, max(0, len(self._places) - self._keep))):
            del self._places[prediction]

    def take(self, outcomes: Iterable[Outcome], classes: Sequence[Scalar]) -> Observations | None:
        """The rows whose outcome is among these, in the order the outcomes came; they wait no longer.

        Args:
            outcomes: As they were recorded.
            classes: Of a classification; empty for a regression, whose outcome is a number.

        Returns:
            Rows whose times are when each outcome became true; None where none of them waited.
        """
        by_batch: dict[int, list[tuple[int, Outcome]]] = {}
        for one in outcomes:
            batch, row = self._places.pop(one.prediction, (-1, -1))
            if batch >= 0:
                by_batch.setdefault(batch, []).append((row, one))
        parts = [_known(*self._batches[batch], found, classes) for batch, found in by_batch.items()]
        return joined(parts) if parts else None


def _known(
    batch: Observations, answers: Sequence[str], found: list[tuple[int, Outcome]], classes: Sequence[Scalar]
) -> Observations:
    """Rows of one batch, at their outcomes' times, with their labels."""
    rows = batch.take(np.array([row for row, _ in found], dtype=np.int64))
    times = np.array([one.at for _, one in found], dtype=np.float64)
    labels = labels_of([one.value for _, one in found], [answers[row] for row, _ in found], classes)
    return Observations(times=times, scores=rows.scores, labels=labels, columns=rows.columns)


def joined(parts: Sequence[Observations]) -> Observations:
    """Several batches as one."""
    if len(parts) == 1:
        return parts[0]
    return Observations(
        times=np.concatenate([part.times for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        columns={name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
    )
