"""Canary: a growing share of the routing keys, taken back on evidence of harm, promoted on evidence of none."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.errors import BadConfig
from penstock.records import Release, Variant
from penstock.release.strategy import CANARY, STABLE, Stage


class Canary:
    """The candidate beside what runs, on shares that grow."""

    def stages(self, release: Release, stable: tuple[Variant, ...]) -> tuple[Stage, ...]:
        """The guards' shares in turn; the last is left for all traffic."""
        if not stable:
            return ()
        guards = release.guards
        shares = (guards.share, *(share for share in guards.steps if share > guards.share))
        below_all = [share for share in shares if 0.0 < share < 1.0]
        return tuple(
            Stage(
                variants=beside(release.variants, stable, share),
                until="evidence" if share == below_all[-1] else "units",
            )
            for share in below_all
        )


def beside(candidate: tuple[Variant, ...], stable: tuple[Variant, ...], share: float) -> tuple[Variant, ...]:
    """The candidate on a share of the keys, what runs on the rest.

    Raises:
        BadConfig: One side has several answering variants.
    """
    return (replace(_only(candidate), name=CANARY, share=share), replace(_only(stable), name=STABLE, share=1.0 - share))


def _only(variants: tuple[Variant, ...]) -> Variant:
    answering = [variant for variant in variants if not variant.shadow]
    if len(answering) != 1:
        raise BadConfig("a canary compares one version with one", "release one version at once first")
    return answering[0]
