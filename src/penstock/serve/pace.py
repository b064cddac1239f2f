"""How long an engine's runs take, by rows: measured when it is loaded, corrected by every run since.

(rows, seconds) points --> run_s(rows), the batch that keeps a latency, the wait behind what is queued

Rows mean rows of the signature's first dimension, times are seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

MAX_BATCH_ROWS = 1024
"""Rows in one run, unless a single request has more: it bounds how long a batch keeps others waiting."""

KEPT_S = 0.05
"""A batch may take this long, or half as long again as one row alone."""

_REPEATS = 3
_LEARNS = 0.2
_WILDEST = 20.0


class Pace:
    """An engine's speed.

    Args:
        points: Rows and the seconds that a run on them took, by rising rows, from 1 on.

    Attributes:
        points: The curve as it was measured.
        batch_rows: The largest measured batch whose run keeps `KEPT_S`.
    """

    __slots__ = ("_factor", "batch_rows", "points")

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        self.points = tuple(points)
        self._factor = 1.0
        alone = self.points[0][1]
        kept = max(KEPT_S, 1.5 * alone)
        self.batch_rows = max(rows for rows, run_s in self.points if run_s <= kept)

    def run_s(self, rows: int) -> float:
        """What a run on so many rows is expected to take, in seconds: between two points by a straight line."""
        before_rows, before_s = self.points[0]
        for at_rows, at_s in self.points:
            if rows <= at_rows:
                part = (rows - before_rows) / (at_rows - before_rows) if at_rows > before_rows else 1.0
                return self._factor * (before_s + part * (at_s - before_s))
            before_rows, before_s = at_rows, at_s
        return self._factor * before_s * rows / before_rows

    def wait_s(self, rows: int, *, batch_rows: int, engines: int = 1) -> float:
        """How long so many rows that wait keep one that comes after them from starting, in seconds."""
        if rows <= 0:
            return 0.0
        full, rest = divmod(rows, batch_rows)
        runs_s = full * self.run_s(batch_rows) + (self.run_s(rest) if rest else 0.0)
        return runs_s / engines

    def learn(self, rows: int, took_s: float) -> None:
        """Correct the curve by a run that was just seen."""
        expected = self.run_s(rows)
        if expected > 0:
            seen = min(max(took_s / expected, 1 / _WILDEST), _WILDEST)
            self._factor *= 1.0 + _LEARNS * (seen - 1.0)


def measure(run: Callable[[int], object], *, within_s: float, most: int = MAX_BATCH_ROWS) -> Pace:
    """Run 1, 2, 4, ... rows, the best of a few each, until the next would take longer than it may.

    Args:
        run: Runs the engine on so many rows.
        within_s: Time for all of it; one row is always measured.
        most: Rows of the largest run.
    """
    started = perf_counter()
    points: list[tuple[int, float]] = []
    rows = 1
    while rows <= most:
        points.append((rows, _best(run, rows)))
        spent = perf_counter() - started
        took = points[-1][1]
        if took > 2 * max(KEPT_S, 1.5 * points[0][1]) or spent + 2 * _REPEATS * took > within_s:
            break
        rows *= 2
    return Pace(points)


def _best(run: Callable[[int], object], rows: int) -> float:
    """The shortest of a few runs, in seconds."""
    times: list[float] = []
    for _ in range(_REPEATS):
        start = perf_counter()
        run(rows)
        times.append(perf_counter() - start)
    return min(times)
