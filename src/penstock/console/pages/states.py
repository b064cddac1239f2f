"""What state a thing is in, for a person: a tone, a sign and a word together, so that no colour is needed.

What comes in: releases, verdicts, incidents. What goes out: the name of a text and of a tone.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from penstock.app.watching import phase_of
from penstock.records import Verdict
from penstock.registry.state import EndpointState, VersionState

_PHASES = MappingProxyType(
    {
        "live": "good",
        "warming": "busy",
        "shifting": "busy",
        "requested": "busy",
        "rolled_back": "warn",
        "failed": "bad",
        "superseded": "quiet",
        "empty": "quiet",
    }
)
_OUTCOMES = MappingProxyType({"pass": "good", "refuse": "bad", "unknown": "warn"})
_SEVERITIES = MappingProxyType({"page": "bad", "ticket": "warn", "record": "quiet"})


@dataclass(frozen=True)
class Badge:
    """A state as it is shown; `text` is the key of its words."""

    tone: str
    text: str


def badge_of_endpoint(endpoint: EndpointState) -> Badge:
    """Where its latest release stands."""
    phase = phase_of(endpoint)
    return badge_of_phase(phase)


def badge_of_phase(phase: str) -> Badge:
    """A step's or a settled release's phase."""
    return Badge(_PHASES.get(phase, "quiet"), f"phase.{phase}")


def badge_of_verdict(verdict: Verdict | None) -> Badge:
    """What the gate said."""
    return Badge("quiet", "verdict.none") if verdict is None else badge_of_outcome(verdict.outcome)


def badge_of_outcome(outcome: str) -> Badge:
    """What one check found."""
    return Badge(_OUTCOMES.get(outcome, "quiet"), f"verdict.{outcome}")


def badge_of_severity(severity: str) -> Badge:
    """How much an incident hurries."""
    return Badge(_SEVERITIES.get(severity, "quiet"), f"severity.{severity}")


def awaits_approval(known: VersionState) -> bool:
    """Whether the gate let it pass and nobody has approved it yet."""
    return known.verdict is not None and known.verdict.outcome == "pass" and not known.approvals


def under_way(endpoint: EndpointState) -> bool:
    """Whether its latest release has not settled yet."""
    return endpoint.current is not None and endpoint.current.revision not in endpoint.settled
