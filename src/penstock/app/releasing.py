"""Send traffic to a version, take it back, say yes to it: each is one event that the control loop acts on."""

from __future__ import annotations

import time

from penstock.access.identities import require
from penstock.access.permissions import APPROVE, BYPASS, RELEASE
from penstock.app.app import App
from penstock.app.checking import policy_of
from penstock.app.watching import phase_of
from penstock.errors import Conflict, TargetFailed
from penstock.records import AliasMove, Approval, Bypass, Guards, Limits, Record, Release
from penstock.release.wishes import ReleaseWish, request_release, request_rollback

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
