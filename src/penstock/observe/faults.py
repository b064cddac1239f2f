"""One kind of fault in one column, from ordinary to raised to ordinary again.

What comes in: how many rows of an hour had it. What goes out: whether it is raised, and whether it has lasted. The
unit is the row, or, where the reference comes in bursts (a weather station that fails for half a day), the day.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

BURST = 3.0
"""A reference window with this many times the ordinary share, and more than 1 % of its rows, shows bursts."""

PAGE_SHARE = 0.01
MOST = 0.5
POOL_H, DAY_H, DAYS = 6, 24, 3
CLEAN_ROWS, CLEAN_DAYS = 2, 48
"""Windows of an hour without it, until it closes."""


@dataclass
class ColumnFault:
    """What is ordinary, and what has been seen.

    Attributes:
        ordinary: Share of the reference's rows.
        worst: Share of the reference's worst six hours.
        by_day: The reference's days differ: what lasts counts, not what is many rows of one hour.
    """

    ordinary: float
    worst: float
    by_day: bool
    raised: bool = False
    hours: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=DAY_H))
    days: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=DAYS))
    _clean: int = 0

    @property
    def bursts(self) -> bool:
        """Whether the reference has it in bursts."""
        return self.worst > max(BURST * self.ordinary, 0.01)

    @property
    def limit(self) -> float:
        """A share that the reference's worst six hours do not explain."""
        return min(1.5 * self.worst, (1 + self.worst) / 2)

    def turn(self, events: int, rows: int, *, day: int, alarm: bool, likely: bool) -> None:
        """Take in an hour.

        Args:
            events: Rows that had the fault.
            rows: Of the hour.
            day: The hour's day, a running number.
            alarm: The e-detector of rows has raised it.
            likely: The hour by itself speaks for three times the ordinary share; a raised fault stays so.
        """
        self.hours.append((events, rows))
        before = self.days.pop() if self.days and self.days[-1][0] == day else (day, 0, 0)
        self.days.append((day, before[1] + events, before[2] + rows))
        moved = self.share(POOL_H) > self.limit if self.bursts else alarm or (self.raised and likely)
        self._clean = 0 if moved else self._clean + 1
        self.raised = moved or (self.raised and self._clean < (CLEAN_DAYS if self.by_day else CLEAN_ROWS))

    def share(self, hours: int) -> float:
        """Share over the last hours that had any rows."""
        last = list(self.hours)[-hours:]
        return sum(events for events, _ in last) / max(sum(rows for _, rows in last), 1)

    def pages(self) -> bool:
        """Whether it should wake somebody: 1 % of the rows; by day, half of a day or 1 % on three days in a row.

        Where the reference has it in bursts the limits are higher: three times its worst six hours for half a day,
        one and a half times for three days.
        """
        if not self.by_day:
            return self.share(POOL_H) >= PAGE_SHARE
        lasting = len(self.days) == DAYS and self.days[-1][0] - self.days[0][0] == DAYS - 1
        least = min((events / max(rows, 1) for _, events, rows in self.days), default=0.0)
        day = self.share(DAY_H) if len(self.hours) >= DAY_H / 2 else 0.0
        return day >= max(MOST, BURST * self.worst) or (lasting and least >= max(PAGE_SHARE, self.limit))
