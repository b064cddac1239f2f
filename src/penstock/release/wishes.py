"""Stage 4, release: what a person wishes becomes a revision, if it may go out at all.

In: the registry's state and the wish. Out: the release to append as an event. Nothing is done here: the reconciler
acts on the event, and the registry judges it again when it is written.
"""

from __future__ import annotations

from typing import TypeVar, cast

from penstock.adapters import TABLE, load
from penstock.errors import BadConfig, Forbidden, NotFound
from penstock.records import Guards, Limits, Record, Release, Scalar, Variant, Verdict
from penstock.registry.state import EndpointState, State, VersionState
from penstock.release.routes import standing
from penstock.release.strategy import STABLE, Strategy

T = TypeVar("T")


class ReleaseWish(Record, frozen=True, kw_only=True):
    """How a version should go out.

    Attributes:
        ref: ``name@3``, ``name@champion`` or ``name``.
        endpoint: The model's name where empty.
        limits: None keeps those of the release that runs; so do the three below it.
        policy: Digest of the policy that the verdict must be by; empty takes any.
        approvals: Roles that must have approved this very package.
        by: Who wishes it.
        at: When, in seconds since the epoch.
    """

    ref: str
    by: str
    at: float
    endpoint: str = ""
    strategy: str = "at-once"
    target: str = "local"
    limits: Limits | None = None
    guards: Guards | None = None
    thresholds: dict[str, float] | None = None
    monitors: dict[str, Scalar] | None = None
    reason: str = ""
    policy: str = ""
    approvals: tuple[str, ...] = ()


def request_release(state: State, wish: ReleaseWish) -> Release:
    """The next revision of an endpoint, with that version answering everything in the end.

    Raises:
        NotFound: No such version, alias, strategy or target.
        Forbidden: The gate has not passed it, an approval is missing, or its bypass is over.
        BadConfig: The guards contradict themselves, or the strategy cannot begin here.
    """
    found = state.resolve(wish.ref)
    name = wish.endpoint or found.version.model
    _known("strategy", wish.strategy)
    _known("target", wish.target)
    guards = wish.guards or Guards()
    check_guards(guards)
    bypass = "" if _passed(found, wish) else _bypass(found, name, wish.at)
    if not bypass:
        _require_approvals(found, wish.approvals)
    endpoint = state.endpoints.get(name, EndpointState())
    kept = standing(endpoint)
    version = found.version
    release = Release(
        endpoint=name,
        revision=len(endpoint.releases) + 1,
        variants=(
            Variant(name=STABLE, model=version.model, version=version.version, digest=version.digest, share=1.0),
        ),
        strategy=wish.strategy,
        target=wish.target,
        limits=wish.limits or (kept.limits if kept else Limits()),
        guards=guards,
        thresholds=_or(wish.thresholds, kept.thresholds if kept else {}),
        monitors=_or(wish.monitors, kept.monitors if kept else {}),
        previous=kept.revision if kept else 0,
        reason=wish.reason,
        by=wish.by,
        at=wish.at,
        bypass=bypass,
    )
    # A strategy that cannot bring it about says so now, not in the loop.
    cast("type[Strategy]", load("strategy", wish.strategy))().stages(release, kept.variants if kept else ())
    return release


def request_rollback(state: State, endpoint: str, *, by: str, at: float, to: int = 0, reason: str = "") -> Release:
    """A new revision that equals an earlier release as a whole: variants, limits, thresholds, monitors.

    While a rollout is under way, 0 goes back to what answered before it; else to what was live before the present
    release. It went through the gate then, so it needs nothing now.

    Args:
        state: The registry's.
        endpoint: Which.
        by: Who asks.
        at: When, in seconds since the epoch.
        to: Revision to go back to; 0 finds it.
        reason: In words.

    Raises:
        NotFound: There is no such release, or nothing to go back to.
    """
    found = state.endpoint(endpoint)
    present = standing(found)
    number = to or _before(found)
    if not 1 <= number <= len(found.releases):
        raise NotFound(
            f"there is no release {number} to go back to" if to else "there is nothing to go back to",
            f"the releases are 1 to {len(found.releases)}" if to else "release another version instead",
        )
    back = found.releases[number - 1]
    return Release(
        endpoint=endpoint,
        revision=len(found.releases) + 1,
        variants=back.variants,
        strategy="at-once",
        target=back.target,
        limits=back.limits,
        guards=back.guards,
        thresholds=back.thresholds,
        monitors=back.monitors,
        previous=present.revision if present else 0,
        reason=reason or f"back to release {number}",
        by=by,
        at=at,
    )


def check_guards(guards: Guards) -> None:
    """Refuse guards that could never decide, or would decide wrongly.

    Raises:
        BadConfig: With the field's name.
    """
    shares = (guards.share, *guards.steps)
    rules = {
        "alpha": 0.0 < guards.alpha < 1.0,
        "share": 0.0 < guards.share < 1.0,
        "steps": all(0.0 < share < 1.0 for share in shares) and list(guards.steps) == sorted(guards.steps),
        "min_units": guards.min_units >= 1,
        "latency_s": guards.latency_s >= 0.0,
        "margin": 1.0 <= guards.margin < float("inf"),
        "shift": 1.0 <= guards.shift < float("inf"),
        "floor": 0.0 < guards.floor < 1.0,
        "wait_s": 0.0 <= guards.wait_s < float("inf"),
    }
    for field, holds in rules.items():
        if not holds:
            raise BadConfig(_WANTED[field], "change the rollout's guards", where=f"guards.{field}")


_WANTED = {
    "alpha": "the chance of a false rollback lies between 0 and 1",
    "share": "the first share lies between 0 and 1",
    "steps": "the shares lie between 0 and 1 and grow",
    "min_units": "at least one routing key must be answered",
    "latency_s": "a time limit is not negative; 0 takes the stable version's own 95 % quantile",
    "margin": "a ratio of harm is finite and at least 1",
    "shift": "a ratio of shift is finite and at least 1",
    "floor": "the part that may fail lies between 0 and 1",
    "wait_s": "a time is finite and not negative",
}


def _before(endpoint: EndpointState) -> int:
    """The release to go back to; 0 where there is none."""
    current, stable = endpoint.current, endpoint.stable
    if current is None or stable is None:
        return 0
    if current.revision not in endpoint.settled:
        return stable.revision
    return stable.previous


def _passed(found: VersionState, wish: ReleaseWish) -> bool:
    """Whether a verdict of that policy on these very bytes lets it pass."""
    verdict: Verdict | None = found.verdict
    return (
        verdict is not None
        and verdict.outcome == "pass"
        and verdict.digest == found.version.digest
        and wish.policy in ("", verdict.policy)
    )


def _bypass(found: VersionState, endpoint: str, now: float) -> str:
    """The reason the glass was broken for.

    Raises:
        Forbidden: It was not, or it is over.
    """
    ref = found.version.ref
    bypass = found.bypasses.get(endpoint)
    if bypass is None:
        refused = found.verdict is not None and found.verdict.outcome == "refuse"
        message = f"{ref} was refused by the gate" if refused else f"{ref} has not passed the gate under this policy"
        raise Forbidden(message, f"run `penstock check {ref}` and mend what it finds", code="gate.no_verdict")
    if bypass.expires_at <= now:
        raise Forbidden(f"the bypass of {ref} is over", f"run `penstock check {ref}`", code="gate.bypass_expired")
    return bypass.reason


def _require_approvals(found: VersionState, roles: tuple[str, ...]) -> None:
    version = found.version
    given = {a.role for a in found.approvals if a.digest == version.digest and a.by != version.author}
    missing = [role for role in roles if role not in given]
    if missing:
        raise Forbidden(
            f"{version.ref} needs the approval of {', '.join(missing)}",
            f"run `penstock approve {version.ref} --as {missing[0]}` as somebody who did not package it",
            code="release.not_approved",
        )


def _known(kind: str, name: str) -> None:
    if name not in TABLE[kind]:
        raise NotFound(f"there is no {kind} of that name", f"there are {', '.join(TABLE[kind])}")


def _or(wished: dict[str, T] | None, kept: dict[str, T]) -> dict[str, T]:
    return kept if wished is None else wished
