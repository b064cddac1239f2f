"""What should be done about it: proposals, which are records and never acts.

What comes in: open incidents and realised scores. What goes out: `records.Proposal`, the gravest first. Who takes one
up goes through package, gate and rollout like anybody else.

    risk page, a version to go back to that did better  -> rollback
    risk page                                           -> retrain
    calibration, whole                                  -> recalibrate; retrain where a recalibration came before
    calibration of a slice, estimate                    -> retrain
    drift and schema                                    -> nothing: mend the data, or set a new reference
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from penstock.feedback.score import Score
from penstock.records import Incident, Proposal, Scalar

LABELS = 200
"""A version with fewer labels is not said to have done better."""

BETTER = 2.0
"""Standard errors by which its loss has to be lower."""


def propose(
    incidents: Iterable[Incident], scores: Sequence[Score], *, current: int, earlier: Iterable[Proposal] = (), at: float
) -> tuple[Proposal, ...]:
    """One proposal per endpoint and action at most, for what is open and was not proposed before.

    Args:
        incidents: Open ones.
        scores: Realised quality of the versions.
        current: The version that answers.
        earlier: Proposals made since the current version was released; they are not repeated.
        at: Event time.
    """
    made = list(earlier)
    done: set[tuple[str, str]] = {(proposal.endpoint, proposal.action) for proposal in made}
    found: dict[tuple[str, str], Proposal] = {}
    for incident in incidents:
        if incident.closed_at:
            continue
        proposal = _answer(incident, scores, current, done, at)
        if proposal is not None and (proposal.endpoint, proposal.action) not in done:
            found.setdefault((proposal.endpoint, proposal.action), proposal)
    rank = ("rollback", "retrain", "recalibrate")
    return tuple(sorted(found.values(), key=lambda proposal: rank.index(proposal.action)))


def _answer(
    incident: Incident, scores: Sequence[Score], current: int, done: set[tuple[str, str]], at: float
) -> Proposal | None:
    cause, _, part = incident.cause.partition(":")
    evidence: dict[str, Scalar] = {"cause": incident.cause, "effect": incident.effect, "since": incident.opened_at}
    if cause == "risk":
        better = _better(scores, current)
        if better is not None:
            evidence |= {"version": better.version, "loss": better.loss, "labels": better.labelled}
            reason = f"{incident.title}; version {better.version} did better on the same days"
            return Proposal(endpoint=incident.endpoint, action="rollback", reason=reason, evidence=evidence, at=at)
    recalibrated = (incident.endpoint, "recalibrate") in done
    if cause == "calibration" and not part and not recalibrated:
        reason = f"{incident.title}; the order of the scores may still be right, so their curve comes first"
        return Proposal(endpoint=incident.endpoint, action="recalibrate", reason=reason, evidence=evidence, at=at)
    if cause in ("risk", "calibration") or incident.cause == "estimate":
        reason = f"{incident.title}; {incident.effect}"
        return Proposal(endpoint=incident.endpoint, action="retrain", reason=reason, evidence=evidence, at=at)
    return None


def _better(scores: Sequence[Score], current: int) -> Score | None:
    """Another version that did clearly better on answers of the same age."""
    mine = {known.maturity: known for known in scores if known.version == current and known.labelled >= LABELS}
    others = [
        known
        for known in scores
        if known.version < current
        and known.labelled >= LABELS
        and known.maturity in mine
        and known.loss + BETTER * (known.error**2 + mine[known.maturity].error ** 2) ** 0.5 < mine[known.maturity].loss
    ]
    return min(others, key=lambda known: known.loss, default=None)
