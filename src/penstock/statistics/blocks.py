"""Blocks of calendar time: which window or day a row belongs to, and how much days differ.

What comes in: event times in seconds since the epoch. What goes out: block numbers, and a `Spread`. Rows of one day
share its weather, its outages and its crowds; where a reference shows that, the day is the unit of every test.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from penstock.records import Record

HOUR_S = 3600.0
MIN_DAYS = 10
"""With fewer days nothing is said about how they differ."""

CUT = 0.5
NORMAL_MEAN, NORMAL_SD = 0.1978, 0.7439
"""Mean and standard deviation of max(z, -CUT) for a standard normal z."""
LEAST_SD = 0.3

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
        low_mean: Of the days' deviations, in standard deviations and none counted above `CUT`, the mean; `low_sd`
            their standard deviation. Looking for days that are too low, a few very high ones are noise.
        high_mean: The same with none counted below ``-CUT``; `high_sd` likewise.
    """

    mean: float
    between: float
    within: float
    rows: float
    days: int
    low_mean: float = -NORMAL_MEAN
    low_sd: float = NORMAL_SD
    high_mean: float = NORMAL_MEAN
    high_sd: float = NORMAL_SD

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
        return float(self._doubt() * np.sqrt(self.between + self.within / max(rows, 1)))

    def low(self, mean: float, rows: float, tolerance: float) -> float:
        """How much lower a day's mean is than tolerated, in standard deviations of what `low_mean` counts."""
        deviation = self.deviation(rows)
        counted = min((mean - self.mean) / deviation, CUT)
        return (self.low_mean - counted - tolerance / deviation) / (self.low_sd * self._doubt())

    def high(self, mean: float, rows: float, tolerance: float) -> float:
        """How much higher a day's mean is than tolerated, likewise."""
        deviation = self.deviation(rows)
        counted = max((mean - self.mean) / deviation, -CUT)
        return (counted - self.high_mean - tolerance / deviation) / (self.high_sd * self._doubt())

    def _doubt(self) -> float:
        return float(1 + 1 / np.sqrt(2 * max(self.days - 1, 1)))


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
    measured = Spread(mean=float(means.mean()), between=between, within=within, rows=typical, days=len(rows))
    return _shaped(measured, means, rows) if measured.known and measured.deviation(typical) else measured


def _shaped(measured: Spread, means: Floats, rows: Floats) -> Spread:
    """The spread with the shape of its days: normal ones would not need it, stormy ones do."""
    scale = np.array([measured.deviation(count) for count in rows])
    deviations = (means - measured.mean) / scale
    low, high = np.minimum(deviations, CUT), np.maximum(deviations, -CUT)
    return replace(
        measured,
        low_mean=float(low.mean()),
        low_sd=max(float(low.std(ddof=1)), LEAST_SD),
        high_mean=float(high.mean()),
        high_sd=max(float(high.std(ddof=1)), LEAST_SD),
    )
