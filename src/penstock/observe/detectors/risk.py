"""Do the answers do more harm than in the reference? Losses against the reference's mean plus a margin.

Where days do not differ, each label is a bet of the risk e-detector; where they do, the day's mean loss is. All rows
have one budget of false alarms, the slices share another. Only a rise counts, so a harmless shift raises nothing:
this is the alarm that wakes a person.

Source: Podkopaev and Ramdas, Tracking the Risk of a Deployed Model and Detecting Harmful Distribution Shifts, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from penstock.observe.detector import CLOSES, Reading, Source
from penstock.observe.streams import Population, Stream
from penstock.observe.tracks import Track
from penstock.observe.windows import Observations, Window
from penstock.statistics import edetectors
from penstock.statistics.reference import Reference, losses

Floats = npt.NDArray[np.float64]

MARGIN = 0.02
"""A mean loss this far above the reference's is still well, or a tenth of it where that is more."""
LABELS = 1e6
DAYS = 3650.0


@dataclass
class RiskDetector:
    """Overall and by slice."""

    source: Source = "outcomes"
    _reference: Reference | None = None
    _stream: Stream | None = None
    _named: dict[str, bool] = field(default_factory=dict)

    def fit(self, reference: Reference) -> None:
        """Take the mean loss and the days; a reference without labels gives nothing to judge by."""
        self._reference, self._stream = reference, None
        if reference.loss is None:
            return
        parts = [Population("", "", reference.loss)]
        parts += [Population(known.column, known.category, known.loss) for known in reference.slices]
        self._stream = Stream(parts, self._track, self._values, self._factors)

    def hours(self) -> int:
        """A day where days are the unit, else an hour."""
        return self._stream.hours() if self._stream else 24

    def score(self, window: Window) -> list[Reading]:
        """Readings for the whole, and for each slice while the whole is calm."""
        if self._stream is None or not self._stream.turn(window):
            return []
        (_, whole), *slices = self._stream.tracks
        readings = [self._reading(whole, "risk")]
        for _, track in slices:
            hidden = whole.raised and not self._named.get(track.name, False)
            reading = self._reading(track, f"risk:{track.name}")
            readings.append(Reading(cause=reading.cause, raised=False) if hidden else reading)
            self._named[track.name] = readings[-1].raised
        return readings

    def _values(self, rows: Observations) -> Floats:
        return losses(self._reference, rows.scores, rows.labels) if self._reference else rows.labels

    def _factors(self, track: Track, rows: Observations) -> Floats:
        return edetectors.risk_factors(self._values(rows), track.spread.mean + track.tolerance)

    def _track(self, part: Population, by_day: bool) -> Track:
        slices = max(len(self._reference.slices), 1) if self._reference and part.column else 1
        level = (DAYS if by_day else LABELS) * slices
        return Track(part.name, part.spread, max(MARGIN, part.spread.mean / 10, part.spread.error), level)

    def _reading(self, track: Track, cause: str) -> Reading:
        if not track.raised:
            return Reading(cause=cause, raised=False, measured={"log_e": round(track.e_value(), 3)})
        by_day = self._stream is not None and self._stream.by_day
        unit, budget = ("days", DAYS) if by_day else ("labels", LABELS)
        where = f" where {track.name}" if track.name else ""
        now = track.spread.mean + track.off()
        return Reading(
            cause=cause,
            raised=True,
            severity="page",
            title=f"the answers have become worse{where}",
            effect=f"mean loss {now:.3f} over the last windows, {track.spread.mean:.3f} in the reference"
            f" (tolerated {track.spread.mean + track.tolerance:.3f}); found after {track.found_after} {unit}",
            guarantee=f"one false alarm in {budget:,.0f} {unit}, at most, however often one looks",
            closes=CLOSES,
            columns=(track.name,) if track.name else (),
            measured={
                "loss": round(now, 5),
                "reference": round(track.spread.mean, 5),
                "tolerance": round(track.tolerance, 5),
                "found_after": track.found_after,
            },
        )
