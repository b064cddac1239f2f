"""Stage 4, release: what the data plane should be told, given what is recorded. Pure.

    EndpointState (+ a step about to be recorded) -> Route: who answers, what is kept warm beside them

A release's limits and thresholds hold once it is live; on the way there, the stable release's do, for both.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.records import Release, Route, Step, Variant
from penstock.registry.state import EndpointState, State


def routes(state: State, coming: Mapping[str, Step] | None = None) -> tuple[Route, ...]:
    """All endpoints' routes, by name.

    Args:
        state: What is recorded.
        coming: Steps by endpoint that are about to be.
    """
    made = (route(name, state.endpoints[name], (coming or {}).get(name)) for name in sorted(state.endpoints))
    return tuple(one for one in made if one is not None)


def route(name: str, endpoint: EndpointState, coming: Step | None = None) -> Route | None:
    """One endpoint's route; None while nothing was ever wished of it, or where its first release came to nothing."""
    current, stable = endpoint.current, endpoint.stable
    if current is None:
        return None
    step = coming or last_step(endpoint, current)
    phase = step.phase if step else "warming"
    wanted = current.variants if phase in ("warming", "shifting", "live") else ()
    if step is not None and phase == "live":
        return _route(name, current, current, step.variants, _warm(endpoint, stable, ()))
    if step is not None and phase == "shifting":
        return _route(name, current, stable or current, step.variants, _warm(endpoint, stable, wanted))
    if stable is not None:
        return _route(name, stable, stable, stable.variants, _warm(endpoint, stable, wanted))
    return _route(name, current, current, (), _warm(endpoint, None, wanted)) if wanted else None


def last_step(endpoint: EndpointState, release: Release) -> Step | None:
    """The latest step of a release."""
    return next((step for step in reversed(endpoint.steps) if step.revision == release.revision), None)


def standing(endpoint: EndpointState) -> Release | None:
    """The release that answers everything: the stable one, or the present one if it just went live."""
    current = endpoint.current
    step = last_step(endpoint, current) if current is not None else None
    gone_live = step is not None and step.phase == "live" and step.revision not in endpoint.settled
    return current if gone_live else endpoint.stable


def _warm(endpoint: EndpointState, stable: Release | None, wanted: tuple[Variant, ...]) -> tuple[str, ...]:
    """What may have to answer next: what is wished, what is stable, and what was stable before that."""
    before = endpoint.releases[stable.previous - 1].variants if stable is not None and stable.previous else ()
    kept = (*wanted, *(stable.variants if stable is not None else ()), *before)
    return tuple(dict.fromkeys(variant.digest for variant in kept))


def _route(name: str, shown: Release, ruled: Release, variants: tuple[Variant, ...], warm: tuple[str, ...]) -> Route:
    answering = {variant.digest for variant in variants}
    return Route(
        endpoint=name,
        release=shown.revision,
        variants=variants,
        warm=tuple(digest for digest in warm if digest not in answering),
        salt=salt_of(name, shown.revision),
        limits=ruled.limits,
        thresholds=ruled.thresholds,
    )


def salt_of(endpoint: str, revision: int) -> str:
    """What is mixed into the routing keys' hash: fixed for a rollout, fresh for the next."""
    return f"{endpoint}/{revision}"
