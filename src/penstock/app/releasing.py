"""Send traffic to a version, take it back, say yes to it: each is one event that the control loop acts on."""

from __future__ import annotations

from penstock.records import Guards, Limits, Record

BYPASS_S = 3600.0
PAUSE_S = 0.02
SETTLED = ("live", "rolled_back", "failed", "shifting")


class Wish(Record, frozen=True, kw_only=True):
    """How a version should go out.

    Attributes:
        endpoint: The model's name where empty.
        bypass: The reason to release without a passing verdict; good for an hour, and an event of its own.
    """

    endpoint: str = ""
    strategy: str = "at-once"
    target: str = "local"
    guards: Guards | None = None
    limits: Limits | None = None
    reason: str = ""
    bypass: str = ""
