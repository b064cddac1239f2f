"""Which of the monitors' incidents are news to the registry: one is open per cause, however often it is raised.

What comes in: what the registry knows of a cause, and what a monitor says now. What goes out: the event to write, or
none. A cause that is raised again while it is open is written only where it became more severe. After a restart the
monitors say everything again from the start of the journals, and nothing of that is news.
"""

from __future__ import annotations

from msgspec.structs import replace

from penstock.records import Incident

OPENED, CLOSED = "incident.opened", "incident.closed"
RANK = ("record", "ticket", "page")


def news_of(known: Incident | None, said: Incident) -> tuple[str, Incident] | None:
    """The kind and record of the event to write.

    Args:
        known: The latest incident of this cause that the registry has.
        said: By a monitor, opened or closed.
    """
    if said.closed_at:
        return _closing(known, said)
    if known is None or known.closed_at:
        is_new = known is None or said.opened_at > known.opened_at
        return (OPENED, said) if is_new else None
    if RANK.index(said.severity) <= RANK.index(known.severity) or said.opened_at < known.opened_at:
        return None
    return OPENED, replace(said, opened_at=known.opened_at)


def _closing(known: Incident | None, said: Incident) -> tuple[str, Incident] | None:
    """An open incident closes; a closing from before it was opened is an old one, said again."""
    if known is None or known.closed_at:
        return None
    if said.opened_at != known.opened_at and said.closed_at <= known.opened_at:
        return None
    return CLOSED, replace(known, closed_at=said.closed_at)
