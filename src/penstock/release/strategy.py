"""Stage 4, release: the contract of a rollout, the way from what answers now to what should.

In: the release that is wished, and the variants that answer now. Out: the stages to pass through, each with what
must be known before it is left. Pure: a strategy looks at nothing and does nothing.

    warming -> stage 1 -> stage 2 -> ... -> live        (the release's own variants)
"""

from __future__ import annotations

from typing import Literal, Protocol

from penstock.records import Record, Release, Variant

STABLE = "stable"
CANARY = "canary"
SHADOW = "shadow"


class Stage(Record, frozen=True, kw_only=True):
    """Variants that answer for a while, and what ends it.

    Attributes:
        variants: The candidate first, so that a larger share only adds keys to it.
        until: ``settled``: every worker answers so. ``units``: the candidate answered enough routing keys.
            ``evidence``: that, and it is shown to be no worse. ``report``: enough was seen; the stable version goes on.
    """

    variants: tuple[Variant, ...]
    until: Literal["settled", "units", "evidence", "report"]


class Strategy(Protocol):
    """A way to roll out."""

    def stages(self, release: Release, stable: tuple[Variant, ...]) -> tuple[Stage, ...]:
        """What to pass through before the release's own variants answer everything; none where nothing answers yet."""
        ...
