"""The monitor of one endpoint: rows go in, incidents come out.

    predictions -> calendars -> windows -> distribution, schema, estimate --+
    outcomes    -> calendars -> windows -> calibration, risk ---------------+-> readings -> incidents

It is an object of memory alone, which holds no clock, no file and no thread: feed the log to a new one, in the same
order, and it is in the same state. One monitor watches one version's reference; a new version gets a new one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock import adapters
from penstock.observe import quality
from penstock.observe.detector import Detector, Source
from penstock.observe.incidents import Incidents
from penstock.observe.quality import Quality
from penstock.observe.windows import Calendar, Observations, Window
from penstock.records import Incident
from penstock.statistics import distances
from penstock.statistics.histograms import Profile
from penstock.statistics.reference import MIN_ROWS, SCORE, Reference

DAY_H = 24
SOURCES: tuple[Source, ...] = ("predictions", "outcomes")
LATENESS_S = 3600.0
"""Workers and callers are not in step; a window waits this long, by the rows' own time."""
KEEP = 400
"""Windows of quality kept, a little over a year of days."""


class Strike(NamedTuple):
    """From when to when no estimate is to be believed, and why."""

    start: float
    end: float
    reason: str


@dataclass
class Post:
    """One detector with the calendar that cuts its windows."""

    name: str
    detector: Detector
    calendar: Calendar


@dataclass
class Monitor:
    """All that is known of an endpoint's predictions and outcomes; made by `open_monitor`.

    Attributes:
        drift: Column to the PSI of the last whole day.
        days_seen: One entry a day, as estimated; `history` strikes out what labels contradict.
        strikes: From when to when labels contradict the estimates; the last may be open (infinite).
    """

    endpoint: str
    reference: Reference
    watches: Sequence[Post]
    days: dict[Source, Calendar]
    incidents: Incidents
    drift: dict[str, float] = field(default_factory=dict)
    days_seen: list[Quality] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)

    def predictions(self, rows: Observations) -> list[Incident]:
        """Take in what was answered, `rows.times` being event times."""
        return self._feed("predictions", rows)

    def outcomes(self, rows: Observations) -> list[Incident]:
        """Take in answers whose outcome is known, `rows.times` being when each outcome became true."""
        return self._feed("outcomes", rows)

    def flush(self) -> list[Incident]:
        """The stream has ended: judge what is held, complete or not."""
        found: list[Incident] = []
        for watch in self.watches:
            found += self._judge(watch, watch.calendar.flush())
        for source, calendar in self.days.items():
            self._describe(source, calendar.flush())
        return found

    def open_incidents(self) -> list[Incident]:
        """What is open now, the most severe first."""
        rank = {"page": 0, "ticket": 1, "record": 2}
        return sorted(self.incidents.open.values(), key=lambda known: (rank[known.severity], known.opened_at))

    @property
    def history(self) -> list[Quality]:
        """One entry a day: what was estimated, struck out where labels contradict it, and what was realised."""
        return [self._struck(day) for day in self.days_seen]

    def _struck(self, day: Quality) -> Quality:
        reasons = [strike.reason for strike in self.strikes if day.end > strike.start and day.start < strike.end]
        return quality.strike_out(day, reasons[-1]) if reasons else day

    def watermark(self) -> float:
        """Event time up to which all is judged; minus infinity at the start."""
        return self.days["predictions"].watermark

    def _feed(self, source: Source, rows: Observations) -> list[Incident]:
        found: list[Incident] = []
        for watch in self.watches:
            if watch.detector.source == source:
                found += self._judge(watch, watch.calendar.add(rows))
        self._describe(source, self.days[source].add(rows))
        return found

    def _judge(self, watch: Post, windows: list[Window]) -> list[Incident]:
        found: list[Incident] = []
        for window in windows:
            readings = watch.detector.score(window)
            found += self.incidents.turn(readings, source=watch.name, at=window.end)
            self._strike(window)
        return found

    def _strike(self, window: Window) -> None:
        """Open or end the time in which estimates are struck out."""
        invalid = self.incidents.open.get("estimate:invalid")
        last = self.strikes[-1] if self.strikes else None
        striking = last is not None and last.end == math.inf
        if invalid and not striking:
            self.strikes.append(Strike(window.start, math.inf, invalid.effect))
        elif last is not None and striking and not invalid:
            self.strikes[-1] = last._replace(end=window.end)

    def _describe(self, source: Source, windows: list[Window]) -> None:
        """Keep what the console and the metrics show of each day."""
        for window in windows:
            if source == "predictions":
                known = quality.expected(self.reference, window.rows, start=window.start, end=window.end)
                self.days_seen = [*self.days_seen, known][-KEEP:]
                self.drift = _drift(self.reference, window)
            else:
                self.days_seen = [self._realised(known, window) for known in self.days_seen]

    def _realised(self, known: Quality, window: Window) -> Quality:
        if known.start != window.start:
            return known
        return quality.with_labels(known, self.reference, window.rows)


def open_monitor(endpoint: str, reference: Reference, *, lateness_s: float = LATENESS_S) -> Monitor:
    """A monitor with every detector of the adapters' table.

    Args:
        endpoint: Whose incidents it opens.
        reference: What its version was proved on.
        lateness_s: How far behind the latest row another may come and still count; what comes later is left out, and
            counted in the calendars' ``late``.
    """
    watches = []
    for name in adapters.TABLE["detector"]:
        kind = adapters.load("detector", name)
        for made in [kind(hours) for hours in (DAY_H, 6)] if name == "distribution" else [kind()]:
            made.fit(reference)
            minimum = MIN_ROWS if name in ("distribution", "estimate") else 1
            calendar = Calendar(_bins(reference, made.source), made.hours(), reference.start_h, minimum, lateness_s)
            watches.append(Post(f"{name}/{made.hours()}h", made, calendar))
    days: dict[Source, Calendar] = {
        source: Calendar(_bins(reference, source), DAY_H, reference.start_h, 1, lateness_s) for source in SOURCES
    }
    return Monitor(endpoint, reference, watches, days, Incidents(endpoint))


def _bins(reference: Reference, source: Source) -> Profile:
    """The bins to count in; whoever reads outcomes reads no histograms."""
    return reference.profile if source == "predictions" else Profile(columns={})


def _drift(reference: Reference, window: Window) -> dict[str, float]:
    """PSI of every column of a window; the score's is called ``score``."""
    return {
        "score" if name == SCORE else name: distances.psi(reference.profile.columns[name].body(), seen.body())
        for name, seen in window.profile.columns.items()
    }
