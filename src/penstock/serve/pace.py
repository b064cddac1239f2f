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

PAYS = 0.95
"""More rows are worth a run only where a row then takes at most this part of the time: else one request just waits for
another's rows, and more of them push each other out of the processor's caches."""

_REPEATS = 3
_STEADY = 100
"""Full runs before more rows are tried again than once were too many."""
_LEARNS = 0.2
_WILDEST = 3.0
"""Nothing is learnt of more than that from one run: whoever stalled this process must not have others refused."""


class Pace:
    """An engine's speed.

    Args:
        points: Rows and the seconds that a run on them took, by rising rows, from 1 on.

    Attributes:
        points: The curve as it was measured.
        batch_rows: Rows of the largest run that keeps `KEPT_S` and pays: at first the largest that was measured to,
            then twice as many after a full run that did, and a tenth less, for a while, after one that did not
            (after Clipper, NSDI 2017).
    """

    __slots__ = ("_factor", "_kept_s", "_most", "_steady", "batch_rows", "points")

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        self.points = tuple(points)
        self._factor = 1.0
        self._kept_s = max(KEPT_S, 1.5 * self.points[0][1])
        self._most = _paying(self.points)
        self.batch_rows = max(rows for rows, run_s in self.points if run_s <= self._kept_s and rows <= self._most)
        # Where measuring found the end of it, more is not tried at once.
        self._steady = _STEADY if self.batch_rows < self.points[-1][0] else 0

    def run_s(self, rows: int) -> float:
        """What a run on so many rows is expected to take, in seconds: a straight line from point to point, and on."""
        points = self.points
        if rows == 1:  # nearly always
            return self._factor * points[0][1]
        at = next((index for index, (point, _) in enumerate(points) if rows <= point), len(points) - 1)
        end_rows, end_s = points[at]
        if rows == end_rows:
            return self._factor * end_s
        start_rows, start_s = points[at - 1] if at else (0, 0.0)
        slope = max((end_s - start_s) / (end_rows - start_rows), 0.0)
        return self._factor * (start_s + (rows - start_rows) * slope)

    def rows_within(self, seconds: float) -> int:
        """The most rows, up to `MAX_BATCH_ROWS`, of a run that should take no longer; at least one."""
        rows = 1
        while rows < MAX_BATCH_ROWS and self.run_s(2 * rows) <= seconds:
            rows *= 2
        return rows

    def wait_s(self, rows: int, *, batch_rows: int, engines: int = 1) -> float:
        """How long so many rows that wait keep one that comes after them from starting, in seconds."""
        if rows <= 0:
            return 0.0
        full, rest = divmod(rows, batch_rows)
        runs_s = full * self.run_s(batch_rows) + (self.run_s(rest) if rest else 0.0)
        return runs_s / engines

    def learn(self, rows: int, took_s: float) -> None:
        """Correct the curve, and the largest run, by a run that was just seen."""
        expected = self.run_s(rows)
        if expected > 0:
            seen = min(max(took_s / expected, 1 / _WILDEST), _WILDEST)
            self._factor *= 1.0 + _LEARNS * (seen - 1.0)
        if took_s > self._kept_s and 1 < rows <= self.batch_rows:
            self.batch_rows = max(1, int(0.9 * self.batch_rows))
            self._steady = _STEADY
        elif rows == self.batch_rows < self._most and took_s < 0.9 * self._kept_s:
            self._steady -= 1
            if self._steady < 0:
                self._steady = 0
                self.batch_rows = min(2 * rows, self._most)


def _paying(points: Sequence[tuple[int, float]]) -> int:
    """The fewest rows that are about as cheap a row as any that were run; no bound where the most were cheapest.

    The whole curve is asked, so that one run that was disturbed does not keep batches small for ever.
    """
    cheapest = min(run_s / rows for rows, run_s in points)
    enough = next(rows for rows, run_s in points if PAYS * run_s / rows <= cheapest)
    return MAX_BATCH_ROWS if enough == points[-1][0] else enough


def measure(run: Callable[[int], object], *, within_s: float, most: int = MAX_BATCH_ROWS) -> Pace:
    """Run 1, 2, 4, ... rows, the best of a few each, until the next would take longer than it may.

    Args:
        run: Runs the engine on so many rows; it was run before, so that nothing is loaded on the way.
        within_s: Time for all of it; one row is always measured.
        most: Rows of the largest run.
    """
    end = perf_counter() + within_s
    points: list[tuple[int, float]] = []
    rows = 1
    while rows <= most:
        points.append((rows, _best(run, rows, within_s / 10)))
        took = points[-1][1]
        if took > max(KEPT_S, 1.5 * points[0][1]) or perf_counter() + took > end:
            break
        rows *= 2
    return Pace(points)


def _best(run: Callable[[int], object], rows: int, within_s: float) -> float:
    """The shortest of a few runs, in seconds; of one where it takes long."""
    times: list[float] = []
    while not times or (len(times) < _REPEATS and sum(times) < within_s):
        start = perf_counter()
        run(rows)
        times.append(perf_counter() - start)
    return min(times)
