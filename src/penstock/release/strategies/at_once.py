"""All at once: as soon as the new version is ready everywhere, it answers everything."""

from __future__ import annotations

from penstock.records import Release, Variant
from penstock.release.strategy import Stage


class AtOnce:
    """One move, decided when it is made: how rollbacks and first releases go."""

    def stages(self, release: Release, stable: tuple[Variant, ...]) -> tuple[Stage, ...]:
        """None."""
        return ()
