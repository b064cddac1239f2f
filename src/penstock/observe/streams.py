"""The labelled stream as a whole: one track for all rows and one for each slice, and which unit they share.

What comes in: windows of rows whose outcomes are known, and a way to turn them into values and bets. What goes out:
the tracks. A reference that cannot say how its days differ (no times, or too few) is completed from the first ten
days of production; their level is still held against the reference's mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.observe.tracks import Track
from penstock.observe.windows import Observations, Window
from penstock.statistics import blocks
from penstock.statistics.blocks import MIN_DAYS, Spread

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """A slice of the rows (all of them where it has no column) and its reference."""

    column: str
    category: str
    spread: Spread

    @property
    def name(self) -> str:
        """``carrier=EV``; empty for all rows."""
        return f"{self.column}={self.category}" if self.column else ""

    def rows(self, rows: Observations) -> npt.NDArray[np.int64]:
        """Places of its rows."""
        if not self.column:
            return np.arange(len(rows))
        if self.column not in rows.columns:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(rows.columns[self.column].astype(str) == self.category)


@dataclass
class Stream:
    """Tracks over the same labelled rows.

    Attributes:
        parts: What to track, all rows first.
        open_track: Makes the track of a part, once its spread and the unit (by day or not) are known.
        values: Turns rows into residuals or losses.
        row_factors: Turns rows into bets, one row each; used where days do not differ.
    """

    parts: Sequence[Population]
    open_track: Callable[[Population, bool], Track]
    values: Callable[[Observations], Floats]
    row_factors: Callable[[Track, Observations], Floats]
    tracks: list[tuple[Population, Track]] = field(default_factory=list)
    _learning: list[Observations] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.parts and self.parts[0].spread.known:
            by_day = self.parts[0].spread.clustered
            self.tracks = [(part, self.open_track(part, by_day)) for part in self.parts if part.spread.known]

    @property
    def by_day(self) -> bool:
        """Whether the day is the unit, of all rows and so of every slice; it is until the days are known."""
        return not self.tracks or self.tracks[0][0].spread.clustered

    def hours(self) -> int:
        """Windows of a day where days are the unit, else of an hour."""
        return 24 if not self.parts or self.parts[0].spread.clustered else 1

    def turn(self, window: Window) -> bool:
        """Take in a window; whether the tracks say anything of it."""
        known = np.isfinite(window.rows.labels) & np.isfinite(window.rows.scores)
        rows = window.rows if known.all() else window.rows.take(np.flatnonzero(known))
        if not len(rows) or not self.parts:
            return False
        if not self.tracks:
            self._learn(rows)
            return False
        values = self.values(rows)
        for part, track in self.tracks:
            places = part.rows(rows)
            if len(places):
                mine = values[places]
                factors = track.day_factors(mine) if self.by_day else self.row_factors(track, _bare(rows, places))
                track.turn(mine, factors)
        return True

    def _learn(self, rows: Observations) -> None:
        """Remember a day; after enough of them, complete the reference's spreads."""
        self._learning.append(rows)
        if len(self._learning) < MIN_DAYS:
            return
        learned = [replace(part, spread=self._spread(part)) for part in self.parts]
        by_day = learned[0].spread.clustered
        self.tracks = [(part, self.open_track(part, by_day)) for part in learned if part.spread.known]
        self._learning = []

    def _spread(self, part: Population) -> Spread:
        """How the days seen so far differ, around the reference's mean."""
        places = [part.rows(day) for day in self._learning]
        values = np.concatenate([self.values(day)[at] for day, at in zip(self._learning, places, strict=True)])
        days = np.repeat(np.arange(len(places)), [len(at) for at in places])
        return msgspec.structs.replace(blocks.spread(values, days), mean=part.spread.mean)


def _bare(rows: Observations, places: npt.NDArray[np.int64]) -> Observations:
    """Scores and labels at these places; bets need no inputs."""
    return Observations(rows.times[places], rows.scores[places], rows.labels[places], {})
