"""Blocks of calendar time: which window or day a row belongs to, and how much days differ.

What comes in: event times in seconds since the epoch. What goes out: block numbers, and a `Spread`. Rows of one day
share its weather, its outages and its crowds; where a reference shows that, the day is the unit of every test.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstock.records import Record

HOUR_S = 3600.0
MIN_DAYS = 10
"""With fewer days nothing is said about how they differ."""

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


class Spread(Record, frozen=True, kw_only=True):
    """A mean, and how much of its variance lies between days.

    Attributes:
        mean: Mean of the days' means.
        between: Variance of the days' means beyond what the rows' own variance explains.
        within: Variance of one row in its day.
        rows: Rows of a typical day.
        days: Days it rests on; 0 where no times were known.
    """

    mean: float
    between: float
    within: float
    rows: float
    days: int

    @property
    def known(self) -> bool:
        """Whether it rests on enough days to say how they differ."""
        return self.days >= MIN_DAYS

    @property
    def clustered(self) -> bool:
        """Days differ by more than chance (two standard errors): the day is the unit, not the row."""
        if not self.known:
            return True
        chance = self.within / self.rows
        return bool(self.between > 2 * np.sqrt(2 / (self.days - 1)) * chance)

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        if not self.days:
            return float(np.sqrt(self.within / max(self.rows, 1)))
        return float(np.sqrt((self.between + self.within / self.rows) / self.days))

    def deviation(self, rows: float) -> float:
        """Standard deviation of the mean of a day with so many rows, enlarged by one standard error of its own."""
        doubt = 1 + 1 / np.sqrt(2 * max(self.days - 1, 1))
        return float(doubt * np.sqrt(self.between + self.within / max(rows, 1)))


def block_of(times: Floats, hours: int, start_h: int = 0) -> Places:
    """Number of the calendar block each time lies in; block b starts at ``start_of(b, hours, start_h)``."""
    return np.floor((times - start_h * HOUR_S) / (hours * HOUR_S)).astype(np.int64)


def start_of(block: int, hours: int, start_h: int = 0) -> float:
    """When a block starts, seconds since the epoch."""
    return block * hours * HOUR_S + start_h * HOUR_S


def quietest_hour(times: Floats) -> int:
    """The UTC hour at which days are best cut: the quietest one; 0 where none is clearly quieter than the rest."""
    if not len(times):
        return 0
    by_hour = np.bincount(((times // HOUR_S) % 24).astype(np.int64), minlength=24)
    return int(by_hour.argmin()) if by_hour.min() < by_hour.mean() / 2 else 0


def merge_small(blocks: Places, minimum: int) -> Places:
    """Blocks with fewer rows than `minimum` join the ones after them (the last joins the one before).

    Returns:
        A dense number per row, 0 for the first merged block.
    """
    names, place, rows = np.unique(blocks, return_inverse=True, return_counts=True)
    merged = np.zeros(len(names), dtype=np.int64)
    current, held = 0, 0
    for index, count in enumerate(rows.tolist()):
        merged[index] = current
        held += count
        if held >= minimum:
            current, held = current + 1, 0
    if held and current:
        merged[merged == current] = current - 1
    return merged[place]


def spread(values: Floats, days: Places | None) -> Spread:
    """Measure a mean and its spread between days; rows whose value is NaN do not count.

    Args:
        values: One per row.
        days: Each row's day; None where no times are known.
    """
    present = np.isfinite(values)
    values = values[present]
    if days is None or not len(values):
        mean = float(values.mean()) if len(values) else 0.0
        within = float(values.var()) if len(values) else 0.0
        return Spread(mean=mean, between=0.0, within=within, rows=float(len(values)), days=0)
    place = np.unique(days[present], return_inverse=True)[1]
    rows = np.bincount(place).astype(float)
    means = np.bincount(place, weights=values) / rows
    squares = np.bincount(place, weights=(values - means[place]) ** 2)
    within = float(squares.sum() / max(len(values) - len(rows), 1))
    chance = float(np.mean(within / rows))
    between = max(0.0, float(means.var(ddof=1)) - chance) if len(rows) > 1 else 0.0
    # Rows of a typical day: the harmonic mean, so that within / rows is the chance part of a day's variance.
    typical = within / chance if chance else float(rows.mean())
    return Spread(mean=float(means.mean()), between=between, within=within, rows=typical, days=len(rows))
