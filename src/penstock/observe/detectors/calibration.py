"""Does a forecast of 30 % still come true three times in ten? Labels against the reference's calibration curve.

Where days do not differ, each label is a bet of the likelihood-ratio e-detector (odds x1.5, x2, x3 and inverses);
where they do, the day's mean of label less forecast is. All rows have one budget of false alarms, the slices share
another. A ticket: recalibrate or retrain. The same evidence, at a lower level, strikes out the label-free estimate,
whose assumption it contradicts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from penstock.observe.detector import CLOSES, Reading, Source
from penstock.observe.streams import Population, Stream
from penstock.observe.tracks import Track
from penstock.observe.windows import Observations, Window
from penstock.statistics import calibration, edetectors
from penstock.statistics.reference import Reference

Floats = npt.NDArray[np.float64]

TOLERANCE = 0.02
LABELS = 1e6
"""Row by row: labels between false alarms, at least, on average."""
DAYS = 365.0
"""Day by day: days between false alarms, at least, on average."""
STRIKE_LABELS, STRIKE_DAYS = 1e5, 60.0
"""The same for striking out the estimate, which costs less than a ticket."""


@dataclass
class CalibrationDetector:
    """Overall and by slice; and whether the label-free estimate may be shown."""

    source: Source = "outcomes"
    _reference: Reference | None = None
    _stream: Stream | None = None
    _strike: Stream | None = None
    _named: dict[str, bool] = field(default_factory=dict)

    def fit(self, reference: Reference) -> None:
        """Take the curve and the days; a reference without labels, or of a regression, gives nothing to judge by."""
        self._reference, self._stream, self._strike = reference, None, None
        if reference.residual is None:
            return
        whole = Population("", "", reference.residual)
        slices = [Population(known.column, known.category, known.residual) for known in reference.slices]
        self._stream = Stream([whole, *slices], self._track, self._values, self._factors)
        self._strike = Stream([whole], self._strike_track, self._values, self._factors)

    def hours(self) -> int:
        """A day where days are the unit, else an hour."""
        return self._stream.hours() if self._stream else 24

    def score(self, window: Window) -> list[Reading]:
        """Readings for the whole, for each slice while the whole is calm, and for the estimate."""
        if self._stream is None or self._strike is None:
            return []
        self._strike.turn(window)
        if not self._stream.turn(window):
            return []
        (_, whole), *slices = self._stream.tracks
        readings = [self._reading(whole, "calibration", window)]
        for _, track in slices:
            hidden = whole.raised and not self._named.get(track.name, False)
            reading = self._reading(track, f"calibration:{track.name}", window)
            readings.append(Reading(cause=reading.cause, raised=False) if hidden else reading)
            self._named[track.name] = readings[-1].raised
        return [*readings, self._estimate_reading()]

    def _values(self, rows: Observations) -> Floats:
        return rows.labels - self._forecast(rows)

    def _factors(self, track: Track, rows: Observations) -> Floats:
        # The slice's own offset in the reference is ordinary for it.
        forecast = np.clip(self._forecast(rows) + track.spread.mean, 1e-6, 1 - 1e-6)
        rate = float(np.clip(forecast.mean(), 0.01, 0.99))
        odds = 1 + track.tolerance / (rate * (1 - rate))
        return edetectors.calibration_factors(rows.labels, forecast, tolerance=odds)

    def _forecast(self, rows: Observations) -> Floats:
        curve = self._reference.curve if self._reference else None
        return rows.scores if curve is None else calibration.apply(curve, rows.scores)

    def _reading(self, track: Track, cause: str, window: Window) -> Reading:
        if not track.raised:
            return Reading(cause=cause, raised=False, measured={"log_e": round(track.e_value(), 3)})
        forecast = float(np.mean(self._forecast(window.rows)))
        over = "low" if track.shift > 0 else "high"
        where = f" where {track.name}" if track.name else ""
        return Reading(
            cause=cause,
            raised=True,
            severity="ticket",
            title=f"forecasts are too {over}{where}",
            effect=f"the truth lies {track.off():+.1%} from the forecast over the last windows (last forecast"
            f" {forecast:.1%}), and decisions by threshold with it; found after {track.found_after} {self._unit()}",
            guarantee=f"one false alarm in {self._budget():,.0f} {self._unit()}, at most, however often one looks",
            closes=CLOSES,
            columns=(track.name,) if track.name else (),
            measured={"shift": round(track.off(), 5), "found_after": track.found_after, "tolerance": track.tolerance},
        )

    def _estimate_reading(self) -> Reading:
        """Whether the labels contradict P(y|x) being unchanged."""
        track = self._strike.tracks[0][1] if self._strike and self._strike.tracks else None
        if track is None or not track.raised:
            return Reading(cause="estimate:invalid", raised=False)
        return Reading(
            cause="estimate:invalid",
            raised=True,
            title="the estimate without labels is struck out",
            effect=f"labels contradict its assumption by {track.off():+.1%}; only realised figures are shown",
            guarantee=f"one false strike in {self._budget(strike=True):,.0f} {self._unit()}, at most",
            closes=CLOSES,
            measured={"shift": round(track.off(), 5)},
        )

    def _track(self, part: Population, by_day: bool) -> Track:
        slices = max(len(self._reference.slices), 1) if self._reference and part.column else 1
        level = (DAYS if by_day else LABELS) * slices
        return Track(part.name, part.spread, max(TOLERANCE, part.spread.error), level, two_sided=True)

    def _strike_track(self, part: Population, by_day: bool) -> Track:
        level = STRIKE_DAYS if by_day else STRIKE_LABELS
        return Track("", part.spread, max(TOLERANCE, part.spread.error), level, two_sided=True)

    def _by_day(self) -> bool:
        return self._stream is not None and self._stream.by_day

    def _unit(self) -> str:
        return "days" if self._by_day() else "labels"

    def _budget(self, strike: bool = False) -> float:
        if strike:
            return STRIKE_DAYS if self._by_day() else STRIKE_LABELS
        return DAYS if self._by_day() else LABELS
