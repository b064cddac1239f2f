"""From values to places on the page, and the round figures that stand on an axis.

What comes in: the range of the data. What goes out: positions in the chart's own units, and ticks with labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY_S = 86400
_DAYS = (1, 2, 5, 7, 14, 30, 61, 91, 182, 365, 730)
_ALL_S = (*_STEPS_S, *(days * _DAY_S for days in _DAYS))
_STYLES = ((60, "%H:%M:%S"), (_DAY_S, "%H:%M"), (60 * _DAY_S, "%m-%d"), (math.inf, "%Y-%m"))


@dataclass(frozen=True)
class Scale:
    """A range of values laid onto a range of places; `log` lays their logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value stands; what lies outside stands at the edge."""
        low, high, at = (self._bend(v) for v in (self.low, self.high, value))
        part = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + min(max(part, 0.0), 1.0) * (self.end - self.start), 1)

    def _bend(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log else value


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round figures that cover the range, its ends included; equal ends give a range around them."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Powers of ten that cover the range; every second or third of them where there would be too many."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    step = max(1, math.ceil((last - first) / count))
    return [10.0**power for power in range(first, last + step, step)]


def time_ticks(start: float, end: float, count: int = 4) -> list[tuple[float, str]]:
    """Round times of day or days (UTC) within a span, each with its label."""
    wanted = max(end - start, 1.0) / count
    step = next((step for step in _ALL_S if step >= wanted), _ALL_S[-1])
    first = math.ceil(start / step) * step
    style = next(style for below, style in _STYLES if step < below)
    marks = [first + index * step for index in range(int((end - first) // step) + 1)] if end >= first else []
    return [(at, datetime.fromtimestamp(at, UTC).strftime(style)) for at in marks]


def thin(count: int, most: int = 120) -> list[int]:
    """Which of `count` points to draw so that there are at most `most`; the last is always one of them."""
    if count <= most:
        return list(range(count))
    step = count / most
    return sorted({min(count - 1, int(index * step)) for index in range(most)} | {count - 1})
