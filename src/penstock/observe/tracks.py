"""One stream of labelled rows (all of them, or a slice) under an e-detector, from quiet to alarm to quiet again.

What comes in: windows of labelled rows as numbers (a residual or a loss per row). What goes out: raised or calm. The
unit is the row where the reference's days differ no more than chance, else the day.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from penstock.statistics import edetectors
from penstock.statistics.blocks import Spread
from penstock.statistics.edetectors import Detection

Floats = npt.NDArray[np.float64]

RECENT = 14
"""So many last windows are looked at to describe an alarm and to see it end."""


@dataclass
class Track:
    """The e-detector of one stream and what it remembers.

    Attributes:
        name: Empty for all rows, else the slice.
        spread: The stream's mean and its days, in the reference.
        tolerance: How far the mean may lie from the reference's and still be well.
        level: An alarm is raised at M >= level.
        two_sided: Too low is as bad as too high.
        labels: Labels seen.
        found_after: Labels, or days, from the most likely start of the change to the alarm.
    """

    name: str
    spread: Spread
    tolerance: float
    level: float
    two_sided: bool = False
    raised: bool = False
    labels: int = 0
    found_after: int = 0
    shift: float = 0.0
    detection: Detection = field(default_factory=Detection)
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _clean: int = 0
    _cusum: tuple[Floats, Floats] | None = None

    def day_factors(self, values: Floats) -> Floats:
        """Bets on the mean of a whole window, the day being the unit."""
        day = float(values.mean()), len(values), self.tolerance
        sides = [self.spread.high(*day)] + ([self.spread.low(*day)] if self.two_sided else [])
        return np.hstack([edetectors.block_factors([side]) for side in sides])

    def turn(self, values: Floats, factors: Floats) -> None:
        """Take in a window.

        Args:
            values: The rows' residuals or losses.
            factors: Logs of the bets, one row for each unit (row or day) of the window.
        """
        self.recent.append((float(values.mean()) - self.spread.mean, len(values)))
        self.detection, track = edetectors.advance(self.detection, factors)
        alarm = edetectors.first_alarm(track, self.level)
        rising = self._rise(factors[: len(factors) if alarm is None else alarm + 1])
        self.labels += len(values)
        if alarm is not None:
            if not self.raised:
                self.found_after = rising
                self.shift = self.off()
            self.raised, self._clean = True, 0
            self.detection, self._cusum = Detection(), None
        elif self.raised:
            self._clean = self._clean + 1 if self._calm() else 0
            self.raised = self._clean < 2

    def _rise(self, factors: Floats) -> int:
        """How many labels (or days) ago the change most likely came: each bet's best start (Page's CUSUM, 1954)."""
        steps, bets = factors.shape
        score, age = self._cusum if self._cusum else (np.zeros(bets), np.zeros(bets))
        total = np.cumsum(factors, axis=0)
        starts = np.vstack([-score, np.zeros(bets), total[:-1]])
        best = starts.argmin(axis=0)
        score = total[-1] - starts.min(axis=0)
        age = np.where(best == 0, age + steps, steps + 1 - best)
        self._cusum = np.maximum(score, 0.0), np.where(score > 0, age, 0.0)
        return int(age[score.argmax()])

    def off(self) -> float:
        """Mean distance from the reference over the recent windows."""
        rows = sum(count for _, count in self.recent)
        return sum(value * count for value, count in self.recent) / rows if rows else 0.0

    def e_value(self) -> float:
        """Log of the e-detector, for charts; 0 at the start."""
        return max(self.detection.log_mean, 0.0) if math.isfinite(self.detection.log_mean) else 0.0

    def _calm(self) -> bool:
        """Whether the last windows are well again: as many as it takes to tell the shift from the noise of days."""
        rows = float(np.mean([count for _, count in self.recent]))
        noise = self.spread.deviation(rows) / max(abs(self.shift), 1e-9)
        last = [value for value, _ in self.recent][-int(np.clip(math.ceil((2 * noise) ** 2), 1, RECENT)) :]
        off = float(np.mean(last))
        return (abs(off) if self.two_sided else off) <= self.tolerance
