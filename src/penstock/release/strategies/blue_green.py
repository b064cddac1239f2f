"""Blue-green: one move of all traffic, which counts as done when every worker has made it.

Until then, and for the guards' `wait_s` of event time, a failure of the new version brings the old one back.
"""

from __future__ import annotations

from penstock.records import Release, Variant
from penstock.release.strategy import Stage


class BlueGreen:
    """Two whole sets side by side, and one switch between them."""

    def stages(self, release: Release, stable: tuple[Variant, ...]) -> tuple[Stage, ...]:
        """All traffic on the new version, on probation."""
        return (Stage(variants=release.variants, until="settled"),) if stable else ()
