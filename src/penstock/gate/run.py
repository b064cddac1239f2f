"""Run the gate: a candidate and a policy come in, one verdict goes out (stage 2, gate).

    policy -> check -> findings -> check -> findings -> ... -> Verdict

``refuse`` if a blocking finding refuses; else ``unknown`` if a blocking one does not know; else ``pass``. A check
that raises has not shown what it was asked to show, so it blocks: nothing passes because its judge fell over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from penstock.errors import PenstockError
from penstock.gate.check import Candidate, CheckLimits, Progress
from penstock.gate.policy import Policy, check_type
from penstock.records import Finding, Outcomes, Verdict

_LOG = logging.getLogger(__name__)


def run(
    candidate: Candidate, policy: Policy, *, version: int = 0, at: float = 0.0, progress: Progress | None = None
) -> Verdict:
    """Ask every question of the policy.

    Args:
        candidate: Its precision should be the policy's (`Policy.precision`).
        policy: What it is held to.
        version: The candidate's number in the registry.
        at: Time of the verdict, seconds since the epoch; now where 0.
        progress: Told before each check.

    Returns:
        The verdict, the findings in the policy's order.
    """
    started = time.perf_counter()
    findings: list[Finding] = []
    for index, (name, limits) in enumerate(policy.checks.items()):
        if progress is not None:
            progress(name, index, len(policy.checks))
        findings += _ask(name, limits, candidate)
    return Verdict(
        model=candidate.package.manifest.name,
        version=version,
        digest=candidate.package.digest,
        outcome=outcome_of(findings),
        findings=tuple(findings),
        policy=policy.digest,
        datasets=candidate.data.datasets,
        champion=candidate.champion_name,
        at=at or time.time(),
        seconds=round(time.perf_counter() - started, 3),
    )


def outcome_of(findings: Iterable[Finding]) -> Outcomes:
    """What the blocking findings add up to; without any finding nothing was shown."""
    every = list(findings)
    blocking = {finding.outcome for finding in every if finding.blocking}
    if "refuse" in blocking:
        return "refuse"
    return "unknown" if "unknown" in blocking or not every else "pass"


def _ask(name: str, limits: CheckLimits, candidate: Candidate) -> list[Finding]:
    """One check's findings; its failure is a finding that blocks."""
    check = check_type(name)(limits)
    try:
        return check.check(candidate)
    except PenstockError as error:
        return [_failed(name, f"{error.message} ({error.code})", error.hint)]
    except Exception as error:  # the boundary between the gate and its checks
        _LOG.exception("check %s failed", name)
        return [_failed(name, f"The check failed with {type(error).__name__}", "Read the log, mend it, check again")]


def _failed(name: str, reason: str, remedy: str) -> Finding:
    return Finding(
        check=name,
        title=f"Could {name} be checked?",
        outcome="unknown",
        message=f"{reason[:1].upper()}{reason[1:]}; what it should have shown is not shown.",
        remedy=remedy,
    )
