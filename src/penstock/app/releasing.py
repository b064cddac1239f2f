"""Send traffic to a version, take it back, say yes to it: each is one event that the control loop acts on."""

from __future__ import annotations

import time

from msgspec.structs import replace

from penstock.access.identities import require
from penstock.access.permissions import APPROVE, BYPASS, RELEASE, ROLLBACK
from penstock.app.app import App
from penstock.app.policies import policy_of
from penstock.app.watching import phase_of
from penstock.records import AliasMove, Approval, Bypass, Guards, Limits, Record, Release, Scalar
from penstock.registry.state import EndpointState
from penstock.registry.trust import require_trusted
from penstock.release.routes import standing
from penstock.release.wishes import ReleaseWish, request_release, request_rollback

BYPASS_S = 3600.0
PAUSE_S = 0.02
GRADUAL = ("canary", "shadow")
"""Strategies whose rollout takes as long as the evidence takes: their first traffic is what one waits for."""


class ReleaseRequest(Record, frozen=True, kw_only=True):
    """How a version should go out; None keeps what the running release has.

    Attributes:
        endpoint: The model's name where empty.
        bypass: The reason to release without a passing verdict; good for an hour, and an event of its own.
    """

    endpoint: str = ""
    strategy: str = "at-once"
    target: str = "local"
    guards: Guards | None = None
    limits: Limits | None = None
    thresholds: dict[str, float] | None = None
    monitors: dict[str, Scalar] | None = None
    reason: str = ""
    bypass: str = ""


def plan_release(app: App, ref: str, request: ReleaseRequest | None = None) -> Release:
    """The release that `release` would ask for; nothing is written.

    Raises:
        Forbidden: The gate has not passed it, or an approval is missing.
        Untrusted: Whoever signed it is trusted no longer.
    """
    asked = request or ReleaseRequest()
    require(app.identity, RELEASE, endpoint=asked.endpoint)
    policy = policy_of(app)
    wish = ReleaseWish(
        ref=ref,
        by=app.identity.name,
        at=time.time(),
        endpoint=asked.endpoint,
        strategy=asked.strategy,
        target=asked.target,
        limits=asked.limits or _limits(app, asked.endpoint or app.resolve(ref).version.model),
        guards=asked.guards or app.config.guards,
        thresholds=asked.thresholds,
        monitors=asked.monitors,
        reason=asked.reason,
        policy=policy.digest,
        approvals=tuple(dict.fromkeys((*policy.approvals, *app.config.approvals))),
    )
    planned = request_release(app.state(), wish)
    _require_trusted(app, planned)
    return planned


def release(app: App, ref: str, request: ReleaseRequest | None = None) -> Release:
    """Ask for a version to answer an endpoint; the control loop takes it from there.

    Raises:
        Forbidden: The gate has not passed it, an approval is missing, or the caller may not.
        Conflict: Somebody else released to the endpoint meanwhile.
    """
    asked = request or ReleaseRequest()
    if asked.bypass:
        _break_glass(app, ref, asked)
    made = plan_release(app, ref, asked)
    subject = f"endpoint/{made.endpoint}"
    app.registry.append("release.requested", subject, made, by=app.identity, expect=app.state().generation(subject))
    return made


def rollback(app: App, endpoint: str, *, to: int | None = None, reason: str = "") -> Release:
    """Ask for an earlier release again: variants, limits, thresholds and monitors together.

    Args:
        app: Whose endpoint.
        endpoint: Which.
        to: Release to go back to; None takes the one that was live before.
        reason: For the record.

    Raises:
        NotFound: There is nothing to go back to.
        Untrusted: Whoever signed it is trusted no longer.
        Conflict: Somebody else released to the endpoint meanwhile.
    """
    require(app.identity, ROLLBACK, endpoint=endpoint)
    state = app.state()
    subject = f"endpoint/{endpoint}"
    made = request_rollback(state, endpoint, by=app.identity.name, at=time.time(), to=to or 0, reason=reason)
    _require_trusted(app, made)
    app.registry.append("rollback.requested", subject, made, by=app.identity, expect=state.generation(subject))
    return made


def wait_until_settled(app: App, made: Release, *, timeout_s: float) -> str:
    """Wait until a release has reached its first traffic, or has ended.

    Returns:
        Its phase: ``live``, ``shifting`` (a canary has its share), ``rolled_back``, ``failed``, or what it was when
        the time ran out.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        endpoint = app.state().endpoint(made.endpoint)
        settled = endpoint.settled.get(made.revision)
        steps = endpoint.steps_of(made.revision)
        phase = settled.outcome if settled else steps[-1].phase if steps else phase_of(endpoint)
        # A step is recorded before the workers follow it; settled is what they have done.
        under_way = phase == "shifting" and made.strategy in GRADUAL
        if settled or under_way or time.monotonic() > deadline:
            return phase
        time.sleep(PAUSE_S)


def approve(app: App, ref: str, role: str, *, comment: str = "") -> Approval:
    """Say yes to a version, over the digest of its gate report.

    Raises:
        Forbidden: The caller packaged it, or does not hold the role.
        Conflict: They said so already.
    """
    require(app.identity, APPROVE)
    known = app.resolve(ref)
    approval = Approval(
        model=known.version.model,
        version=known.version.version,
        digest=known.version.digest,
        role=role,
        by=app.identity.name,
        evidence=known.verdict.report if known.verdict else "",
        comment=comment,
    )
    app.registry.append("approval.given", f"model/{known.version.model}", approval, by=app.identity)
    return approval


def move_alias(app: App, model: str, alias: str, version: int, *, reason: str = "") -> AliasMove:
    """Let a movable name mean another version.

    Raises:
        NotFound: There is no such version.
    """
    move = AliasMove(model=model, alias=alias, version=version, reason=reason)
    app.registry.append("alias.moved", f"model/{model}", move, by=app.identity)
    return move


def _require_trusted(app: App, wished: Release) -> None:
    """The data plane would refuse it at its next load; whoever wishes it is told now."""
    state = app.state()
    for digest in dict.fromkeys(variant.digest for variant in wished.variants):
        require_trusted(app.registry.packages.path(digest), digest, state)


def _limits(app: App, endpoint: str) -> Limits:
    """The settings' limits; how the endpoint was tuned goes with it to its next version, unless the settings say."""
    limits = app.config.limits
    kept = standing(app.state().endpoints.get(endpoint, EndpointState()))
    if kept is None or (limits.batching, limits.sizing) != (Limits().batching, Limits().sizing):
        return limits
    return replace(limits, batching=kept.limits.batching, sizing=kept.limits.sizing)


def _break_glass(app: App, ref: str, asked: ReleaseRequest) -> None:
    """Let one version past the gate, to one endpoint, for an hour, with a reason."""
    require(app.identity, BYPASS)
    version = app.resolve(ref).version
    bypass = Bypass(
        model=version.model,
        version=version.version,
        endpoint=asked.endpoint or version.model,
        reason=asked.bypass,
        expires_at=time.time() + BYPASS_S,
    )
    app.registry.append("gate.bypassed", f"model/{version.model}", bypass, by=app.identity)
