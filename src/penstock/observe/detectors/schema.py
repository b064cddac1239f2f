"""Are the rows still what the model was built for? Missing values, unseen categories, numbers out of range.

For each column and each of the two shares (missing; unusual) an e-detector bets that it is 3, 10 or 30 times what is
ordinary (in odds), and says so after a few hundred rows. Where the reference has the fault in bursts (a weather
station that fails for half a day), rows are not independent; there six hours together are held against the
reference's worst six hours. A fault in 1 % of the rows or more is a page, a smaller one is recorded.

Source of the rules: Breck et al., Data Validation for Machine Learning, MLSys 2019.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from penstock.observe.detector import CLOSES, Persistence, Reading, Source
from penstock.observe.windows import Window
from penstock.statistics import edetectors
from penstock.statistics.edetectors import Detection
from penstock.statistics.histograms import Histogram
from penstock.statistics.reference import Reference

Fault = Literal["missing", "unusual"]

LEVEL = 1e6
"""One false alarm in so many rows, at most, over all columns together."""

BURST = 3.0
"""A reference window with this many times the ordinary share, and more than 1 % of its rows, shows bursts."""

PAGE_SHARE = 0.01
POOL = 6


@dataclass
class Share:
    """One kind of fault in one column: what is ordinary, and what has been seen."""

    ordinary: float
    worst: float
    level: float
    detection: Detection = field(default_factory=Detection)
    pool: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=POOL))
    persistence: Persistence = field(default_factory=Persistence)

    @property
    def bursts(self) -> bool:
        """Whether the reference has it in bursts, so that the window is the unit and not the row."""
        return self.worst > max(BURST * self.ordinary, 0.01)

    def turn(self, events: int, rows: int) -> None:
        """Take in one window."""
        self.pool.append((events, rows))
        if self.bursts:
            self.persistence = self.persistence.turn(self.pooled() > min(1.5 * self.worst, (1 + self.worst) / 2))
            return
        factors = edetectors.share_factors([events], [rows], self.ordinary)
        self.detection, track = edetectors.advance(self.detection, factors)
        alarm = edetectors.first_alarm(track, self.level) is not None
        if alarm:
            self.detection = Detection()
        # Once raised it stays so while a window by itself speaks for three times the ordinary share.
        self.persistence = self.persistence._replace(needs=1).turn(
            alarm or (self.persistence.raised and factors[0, 0] > 0)
        )

    def pooled(self) -> float:
        """Share over the last windows."""
        return sum(events for events, _ in self.pool) / max(sum(rows for _, rows in self.pool), 1)


@dataclass
class SchemaDetector:
    """Missing and unusual values, column by column."""

    window_hours: int = 1
    source: Source = "predictions"
    _shares: dict[tuple[str, Fault], Share] = field(default_factory=dict)

    def fit(self, reference: Reference) -> None:
        """What is ordinary, of every column and fault; never less than three rows in the whole reference."""
        windows = reference.window(6) or reference.window(24)
        level = LEVEL * 2 * max(len(reference.profile.columns), 1)
        self._shares = {}
        for name, histogram in reference.profile.columns.items():
            for fault in ("missing", "unusual"):
                worst = {} if windows is None else windows.missing if fault == "missing" else windows.unusual
                # "Rule of three": the upper 95 % bound of a share that was never seen in n rows is 3 / n.
                share = _events(histogram, fault) / max(histogram.rows, 1) + 3 / max(histogram.rows, 1)
                self._shares[name, fault] = Share(min(share, 0.99), worst.get(name, 0.0), level)

    def hours(self) -> int:
        """Length of its windows."""
        return self.window_hours

    def score(self, window: Window) -> list[Reading]:
        """One reading for each column and fault."""
        readings = []
        for (name, fault), share in self._shares.items():
            seen = window.profile.columns.get(name)
            if seen is None or not seen.rows:
                continue
            events = _events(seen, fault)
            share.turn(events, seen.rows)
            readings.append(_reading(name, fault, share, seen))
        return readings


def _events(histogram: Histogram, fault: Fault) -> int:
    return histogram.missing if fault == "missing" else histogram.unusual


def _reading(name: str, fault: Fault, share: Share, seen: Histogram) -> Reading:
    cause = f"schema:{name}:{fault}"
    if not share.persistence.raised:
        return Reading(cause=cause, raised=False)
    now = max(share.pooled(), _events(seen, fault) / seen.rows)
    what = {
        "missing": "has no value",
        "unusual": "is in no category the model knows" if seen.kind == "text" else "lies far outside the known range",
    }[fault]
    every = f"one false alarm in {LEVEL:,.0f} rows over all columns, at most"
    return Reading(
        cause=cause,
        raised=True,
        severity="page" if now >= PAGE_SHARE else "record",
        title=f"{name} {what}",
        effect=f"{now:.2%} of the rows, ordinary is {share.ordinary:.2%}; the model answers them untrained",
        guarantee="worse than the reference's worst six hours, twice in three hours" if share.bursts else every,
        closes=CLOSES,
        columns=(name,),
        measured={"share": round(now, 6), "ordinary": round(share.ordinary, 6), "log10_level": math.log10(share.level)},
    )
