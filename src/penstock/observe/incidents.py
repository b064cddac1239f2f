"""Readings become incidents: one per endpoint and cause, opened once, closed by themselves.

What comes in: the readings of a window, and where they come from. What goes out: `records.Incident`, opened (no
`closed_at`) or closed. The same cause may be read by several detectors (windows of a day, of six hours): it is open
while any of them raises it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from penstock.observe.detector import Reading
from penstock.records import JSON, Incident, Scalar


@dataclass
class Incidents:
    """What is open at one endpoint.

    Attributes:
        open: By cause.
        raised: By cause, who raises it.
    """

    endpoint: str
    open: dict[str, Incident] = field(default_factory=dict)
    raised: dict[str, set[str]] = field(default_factory=dict)

    def turn(self, readings: Iterable[Reading], *, source: str, at: float) -> list[Incident]:
        """Take in a window's readings.

        Args:
            readings: One per cause; a cause that is not among them stays as it is.
            source: Who reads (``distribution/24h``).
            at: End of the window, event time.

        Returns:
            What opened, what got worse (the same cause again, with more columns or a higher severity), what closed.
        """
        changed = [self._turn_one(reading, source, at) for reading in readings]
        return [incident for incident in changed if incident is not None]

    def _turn_one(self, reading: Reading, source: str, at: float) -> Incident | None:
        sources = self.raised.setdefault(reading.cause, set())
        known = self.open.get(reading.cause)
        if reading.raised:
            sources.add(source)
            return self._raise(reading, known, at)
        sources.discard(source)
        if known is None or sources:
            return None
        del self.open[reading.cause]
        return replace(known, closed_at=at)

    def _raise(self, reading: Reading, known: Incident | None, at: float) -> Incident | None:
        """A new incident, or the known one again where it got worse."""
        incident = Incident(
            endpoint=self.endpoint,
            cause=reading.cause,
            severity=reading.severity,
            title=reading.title,
            effect=reading.effect,
            guarantee=reading.guarantee,
            closes=reading.closes,
            opened_at=known.opened_at if known else at,
            evidence=_evidence(reading),
        )
        if known is not None and not _worse(incident, known):
            return None
        self.open[reading.cause] = incident
        return incident


def _evidence(reading: Reading) -> JSON:
    columns: list[Scalar] = list(reading.columns)
    measured: JSON = dict(reading.measured)
    return {"columns": columns, "measured": measured}


def _worse(now: Incident, before: Incident) -> bool:
    """More severe, or columns that were not in it before."""
    rank = ("record", "ticket", "page")
    if now.severity != before.severity:
        return rank.index(now.severity) > rank.index(before.severity)
    return not _columns(now) <= _columns(before)


def _columns(incident: Incident) -> set[str]:
    found = incident.evidence.get("columns")
    return {str(name) for name in found} if isinstance(found, list) else set()
