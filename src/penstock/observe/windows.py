"""Calendar windows: rows are gathered by their own time, and a window is judged once time has passed it by.

    rows in any order -> gather (by calendar block) -> watermark passes the end -> windows out, in order

What comes in: `Observations`. What goes out: `Window` after `Window`, each once. Time is the rows' own: the watermark
is the latest time seen, less what latecomers are allowed. Nothing here reads a clock, so a replay at any speed and in
any batches gives the same windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from penstock.errors import Conflict
from penstock.statistics import blocks, histograms
from penstock.statistics.histograms import Profile
from penstock.statistics.reference import SCORE
from penstock.tensors import Array, Arrays

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Observations:
    """Predictions, or predictions with their outcomes, as columns.

    Attributes:
        times: Event time of the prediction, or of the outcome; seconds since the epoch, shape ``(rows,)``.
        scores: Shape ``(rows,)``.
        labels: NaN where the outcome is not known, shape ``(rows,)``.
        columns: Inputs by name, each of shape ``(rows,)``.
    """

    times: Floats
    scores: Floats
    labels: Floats
    columns: Arrays

    def __len__(self) -> int:
        return len(self.times)

    def take(self, places: npt.NDArray[np.int64] | slice) -> Observations:
        """The rows at these places; a slice copies nothing."""
        columns = {name: values[places] for name, values in self.columns.items()}
        return Observations(self.times[places], self.scores[places], self.labels[places], columns)

    def table(self) -> dict[str, Array]:
        """Inputs and score, as a profile counts them."""
        return {**self.columns, SCORE: self.scores}


@dataclass(frozen=True)
class Window:
    """What happened between two times.

    Attributes:
        hours: Length of a calendar block; a window of few rows spans several of them.
        start: Seconds since the epoch, included; `end` is not.
        profile: Counts in the reference's bins.
        rows: The rows themselves, in the order of their times.
    """

    hours: int
    start: float
    end: float
    profile: Profile
    rows: Observations


def stack(parts: Iterable[Observations]) -> Observations:
    """Rows under each other; a column that only some have is missing in the others."""
    held = list(parts)
    if len(held) == 1:
        return held[0]
    names = dict.fromkeys(name for part in held for name in part.columns)
    return Observations(
        np.concatenate([part.times for part in held]) if held else np.empty(0),
        np.concatenate([part.scores for part in held]) if held else np.empty(0),
        np.concatenate([part.labels for part in held]) if held else np.empty(0),
        {name: np.concatenate([_column(part, name) for part in held]) for name in names},
    )


def merge(first: Window, second: Window) -> Window:
    """Both windows as one; exact, in any order.

    Raises:
        Conflict: They were counted in different bins, or are of different lengths.
    """
    if first.hours != second.hours:
        raise Conflict("windows of different lengths cannot be merged", "cut both by the same calendar")
    rows = stack(sorted((first.rows, second.rows), key=lambda part: float(part.times.min(initial=np.inf))))
    return Window(
        first.hours,
        min(first.start, second.start),
        max(first.end, second.end),
        histograms.merge(first.profile, second.profile),
        in_order(rows),
    )


def window_of(rows: Observations, bins: Profile, *, hours: int, start: float, end: float) -> Window:
    """Count rows as one window."""
    ordered = in_order(rows)
    return Window(hours, start, end, histograms.count(bins, ordered.table()), ordered)


def in_order(rows: Observations) -> Observations:
    """The rows by time."""
    if (rows.times[1:] >= rows.times[:-1]).all():
        return rows
    return rows.take(np.argsort(rows.times, kind="stable"))


@dataclass
class Calendar:
    """Gathers rows and gives back the windows that time has passed by.

    Attributes:
        bins: The reference's profile.
        hours: Length of a block.
        start_h: Hour (UTC) at which days start.
        minimum: Blocks with fewer rows join the ones after them.
        lateness_s: How far behind the latest row another may come and still count.
        late: Rows that came later than that; they are left out and counted.
    """

    bins: Profile
    hours: int
    start_h: int = 0
    minimum: int = 1
    lateness_s: float = 0.0
    watermark: float = -np.inf
    late: int = 0
    _closed: int | None = None
    _blocks: dict[int, list[Observations]] = field(default_factory=dict)
    _small: list[tuple[int, list[Observations]]] = field(default_factory=list)

    def add(self, rows: Observations) -> list[Window]:
        """Take rows in, give out what is complete."""
        place = blocks.block_of(rows.times, self.hours, self.start_h)
        if self._closed is not None:
            timely = np.flatnonzero(place > self._closed)
            self.late += len(rows) - len(timely)
            rows, place = rows.take(timely), place[timely]
        if not len(rows):
            return []
        order = np.argsort(place, kind="stable")
        rows, place = rows if (order[1:] > order[:-1]).all() else rows.take(order), place[order]
        names, first = np.unique(place, return_index=True)
        for block, start, end in zip(names.tolist(), first.tolist(), [*first.tolist()[1:], len(place)], strict=True):
            self._blocks.setdefault(block, []).append(rows.take(slice(start, end)))
        self.watermark = max(self.watermark, float(rows.times.max(initial=-np.inf)) - self.lateness_s)
        return list(self._complete(self.watermark))

    def flush(self) -> list[Window]:
        """Give out all that is held, complete or not: the stream has ended."""
        found = list(self._complete(np.inf))
        if self._small:
            found.append(self._window())
        return found

    def _complete(self, until: float) -> Iterator[Window]:
        for block in sorted(self._blocks):
            if blocks.start_of(block + 1, self.hours, self.start_h) > until:
                return
            self._small.append((block, self._blocks.pop(block)))
            self._closed = block
            if sum(len(part) for _, parts in self._small for part in parts) >= self.minimum:
                yield self._window()

    def _window(self) -> Window:
        """One window of all blocks held back so far."""
        start = blocks.start_of(self._small[0][0], self.hours, self.start_h)
        end = blocks.start_of(self._small[-1][0] + 1, self.hours, self.start_h)
        rows = stack(part for _, parts in self._small for part in parts)
        self._small.clear()
        return window_of(rows, self.bins, hours=self.hours, start=start, end=end)


def _column(rows: Observations, name: str) -> Array:
    if name in rows.columns:
        return rows.columns[name]
    return np.full(len(rows), None, dtype=object)
