"""Shadow: the candidate gets a copy of every request and answers nobody.

It ends with a report; the stable version goes on. Who wants the candidate to answer asks for another release.
"""

from __future__ import annotations

from msgspec.structs import replace

from penstock.errors import BadConfig
from penstock.records import Release, Variant
from penstock.release.strategy import SHADOW, Stage


class Shadow:
    """A rehearsal on real traffic."""

    def stages(self, release: Release, stable: tuple[Variant, ...]) -> tuple[Stage, ...]:
        """What runs, with the candidate's copies beside it.

        Raises:
            BadConfig: Nothing runs yet, so there is nothing to copy.
        """
        if not stable:
            raise BadConfig("a shadow needs a version that answers", "release one at once first")
        copies = (
            replace(variant, name=SHADOW if number == 0 else f"{SHADOW}-{number}", share=0.0, shadow=True)
            for number, variant in enumerate(variant for variant in release.variants if not variant.shadow)
        )
        answering = tuple(variant for variant in stable if not variant.shadow)
        return (Stage(variants=(*answering, *copies), until="report"),)
