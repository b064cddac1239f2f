"""The contract of a detector: it is fitted to a reference, then it reads windows, in the order of time.

    fit(reference)      once
    score(window)       -> Readings: for each cause it knows, raised or calm

`windows.merge` joins windows, in any order, so a detector sees the same whoever counted them. A detector remembers
what it must (the last windows, an e-value) and is rebuilt by reading the same windows again. What it raises is
stated with its guarantee; a window that it cannot judge (empty, no labels) gives no reading.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from penstock.observe.windows import Window
from penstock.records import Record, Scalar
from penstock.statistics.reference import Reference

Severity = Literal["page", "ticket", "record"]
Source = Literal["predictions", "outcomes"]


class Reading(Record, frozen=True, kw_only=True):
    """What a detector says of one cause in one window.

    Attributes:
        cause: Stable key of the incident (``drift``, ``missing:temp``, ``calibration``).
        raised: A person should know; stays so until the cause has been calm long enough.
        effect: What it does to answers, with figures.
        guarantee: How often such an alarm is false, in words.
        closes: What has to be seen for it to close by itself.
        columns: Inputs or slices it is about, the strongest first.
        measured: The figures behind it, by name.
    """

    cause: str
    raised: bool
    severity: Severity = "record"
    title: str = ""
    effect: str = ""
    guarantee: str = ""
    closes: str = ""
    columns: tuple[str, ...] = ()
    measured: dict[str, Scalar] = {}


class Detector(Protocol):
    """One way of looking at windows.

    Attributes:
        source: Whether it reads predictions by event time, or outcomes by the time they became true.
    """

    source: Source

    def fit(self, reference: Reference) -> None:
        """Take the limits from a reference and forget everything else."""
        ...

    def hours(self) -> int:
        """Length of the windows it wants; known once it is fitted."""
        ...

    def score(self, window: Window) -> list[Reading]:
        """Read the next window."""
        ...


class Persistence(NamedTuple):
    """A cause opens when it moved in `needs` of the last three windows and closes after two clean ones."""

    needs: int = 2
    last: tuple[bool, ...] = ()
    raised: bool = False

    def turn(self, moved: bool) -> Persistence:
        """The state after one more window."""
        last = (*self.last, moved)[-3:]
        if self.raised:
            return self._replace(last=last, raised=any(last[-2:]))
        return self._replace(last=last, raised=moved and sum(last) >= self.needs)


CLOSES = "two clean windows in a row"
