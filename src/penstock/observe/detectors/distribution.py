"""Has a column moved? Bins of a window against the reference's, with limits from the reference's own windows.

Two gates, both of which must open: a chi-square test, Benjamini-Hochberg over the columns at 1 %, and an effect: the
bias-corrected PSI must exceed 0.02 and one and a half times the largest that any window of the reference shows. A
season that the reference knows is thereby ordinary. A column counts as moved after two of three windows. That inputs
move says nothing of harm: they are recorded; a score that moves is a ticket.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from penstock.observe.detector import CLOSES, Persistence, Reading, Severity, Source
from penstock.observe.windows import Window
from penstock.statistics import distances
from penstock.statistics.histograms import Histogram, Profile
from penstock.statistics.reference import MIN_WINDOWS, SCORE, Reference, Windows, windows_of

GUARANTEE = (
    "at most 1 % of the columns named in a window are named by chance, and two of three windows have to agree; "
    "on seeded streams without drift: none in 1,000 windows"
)


@dataclass
class DistributionDetector:
    """Columns and scores against the reference's bins.

    Attributes:
        window_hours: Length of its windows: 24 or 6.
        rate: Benjamini-Hochberg rate in a window.
        floor: Smallest PSI that counts.
        factor: Times the reference's largest window.
    """

    window_hours: int = 24
    rate: float = 0.01
    floor: float = 0.02
    factor: float = 1.5
    source: Source = "predictions"
    _reference: Reference | None = None
    _limits: Windows | None = None
    _learning: list[Profile] = field(default_factory=list)
    _columns: dict[str, Persistence] = field(default_factory=dict)

    def fit(self, reference: Reference) -> None:
        """Take the limits; without windows in the reference the first ten of production set them."""
        self._reference, self._limits = reference, reference.window(self.window_hours)
        self._learning, self._columns = [], {}

    def hours(self) -> int:
        """Length of its windows."""
        return self.window_hours

    def score(self, window: Window) -> list[Reading]:
        """One reading for the inputs together, one for the score."""
        if self._reference is None or not len(window.rows):
            return []
        if self._limits is None:
            self._learn(window.profile)
            return []
        distance = self._distances(self._reference.profile, window.profile)
        limits = {name: self._limit(name) for name in distance}
        rejected = distances.benjamini_hochberg([p for _, p in distance.values()], self.rate)
        for (name, (psi, _)), low in zip(distance.items(), rejected.tolist(), strict=True):
            self._columns[name] = self._columns.get(name, Persistence()).turn(bool(low) and psi > limits[name])
        raised = [name for name, state in self._columns.items() if state.raised and name in distance]
        ranked = sorted(raised, key=lambda name: -distance[name][0] / limits[name])
        figures = {name: round(psi, 4) for name, (psi, _) in distance.items()}
        return [
            self._reading("drift", [name for name in ranked if name != SCORE], window, figures),
            self._reading("drift:score", [name for name in ranked if name == SCORE], window, figures),
        ]

    def _distances(self, reference: Profile, window: Profile) -> dict[str, tuple[float, float]]:
        """PSI and p-value of every column that the window has."""
        found = {}
        for name, seen in window.columns.items():
            known = reference.columns[name]
            if seen.rows:
                found[name] = (
                    distances.psi(known.body(), seen.body()),
                    distances.chi2(known.body(), seen.body()).p,
                )
        return found

    def _limit(self, name: str) -> float:
        largest = self._limits.largest.get(name, 0.0) if self._limits else 0.0
        return max(self.floor, self.factor * largest)

    def _learn(self, profile: Profile) -> None:
        self._learning.append(profile)
        if len(self._learning) >= MIN_WINDOWS:
            self._limits = windows_of(self._learning, self.window_hours)
            self._learning = []

    def _reading(self, cause: str, columns: list[str], window: Window, figures: dict[str, float]) -> Reading:
        if not columns or self._reference is None:
            return Reading(cause=cause, raised=False)
        severity: Severity = "ticket" if cause == "drift:score" else "record"
        names = "the score" if cause == "drift:score" else ", ".join(columns)
        shift = _largest_shift(self._reference.profile.columns[columns[0]], window.profile.columns[columns[0]])
        harm = "" if severity == "ticket" else "; inputs that move need not harm the answers: see calibration and risk"
        return Reading(
            cause=cause,
            raised=True,
            severity=severity,
            title=f"{names} moved away from the reference",
            effect=f"{shift} (PSI {figures[columns[0]]:.3g}, limit {self._limit(columns[0]):.3g}){harm}",
            guarantee=GUARANTEE,
            closes=CLOSES,
            columns=tuple(columns),
            measured={f"psi {name}": figures[name] for name in columns},
        )


def _largest_shift(known: Histogram, seen: Histogram) -> str:
    """The bin that gained or lost most, in words."""
    before, now = known.body() / max(known.rows, 1), seen.body() / max(seen.rows, 1)
    place = int(np.abs(now - before).argmax())
    return f"{known.labels()[place]}: {before[place]:.1%} of the rows before, {now[place]:.1%} now"
