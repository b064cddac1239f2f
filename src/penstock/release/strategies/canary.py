"""Canary: a growing share of the routing keys, taken back on evidence of harm, promoted on evidence of none."""

from __future__ import annotations

from msgspec.structs import replace

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
    """The candidate on a share of the keys, what runs on the rest; each side's own shares in proportion."""
    return (*_scaled(candidate, CANARY, share), *_scaled(stable, STABLE, 1.0 - share))


def _scaled(variants: tuple[Variant, ...], name: str, share: float) -> tuple[Variant, ...]:
    answering = [variant for variant in variants if not variant.shadow]
    names = [name] if len(answering) == 1 else [f"{name}-{variant.name}" for variant in answering]
    return tuple(
        replace(variant, name=new, share=variant.share * share) for variant, new in zip(answering, names, strict=True)
    )
