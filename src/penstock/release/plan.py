"""Stage 4, release: what next? Pure: the same situation gives the same step.

    release, situation, stages -> failed?  -> the stable version goes on
                               -> harmful? -> rolled back
                               -> ready?   -> warming
                               -> enough known to leave the stage? -> the next stage, or live; else wait

In: the wish, what answered before it, what the target reports, what the guards measured. Out: a step, or why there
is none yet. Without traffic there is no evidence, so the answer is to wait: neither failed nor passed.
"""

from __future__ import annotations

from msgspec.structs import replace

from penstock.records import Measurement, Record, Release, Scalar, Step, Variant
from penstock.release.strategy import Stage
from penstock.release.target import TargetStatus

TERMINAL = frozenset({"live", "rolled_back", "failed"})
REQUIRED = ("error", "latency", "invalid", "shift")
"""Tests that must speak for the candidate; outcomes may come too late to be waited for."""
LEANING = frozenset({"shift"})
"""Moved scores are no harm by themselves: here it is enough that the evidence leans for the candidate."""


class Situation(Record, frozen=True, kw_only=True):
    """All that the next step depends on, beside the wish.

    Attributes:
        stable: The variants that answered before, and will again if this goes wrong; none on a new endpoint.
        status: What the target reports.
        steps: Those of this release, oldest first.
        measurements: One a test; none before the guards saw anything.
        event_time: Up to where the exchanges have been read.
    """

    stable: tuple[Variant, ...]
    status: TargetStatus
    steps: tuple[Step, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    event_time: float = 0.0


class Wait(Record, frozen=True, kw_only=True):
    """No step yet, and why; the commands say it with exit code 3."""

    reason: str


def next_step(release: Release, situation: Situation, stages: tuple[Stage, ...]) -> Step | Wait:
    """The one step to take now.

    Args:
        release: The wish.
        situation: What is known.
        stages: As the release's strategy named them.
    """
    if situation.steps and situation.steps[-1].phase in TERMINAL:
        return Wait(reason=situation.steps[-1].reason)
    return _taken_back(release, situation) or _loading(release, situation) or _onward(release, situation, stages)


def _loading(release: Release, situation: Situation) -> Step | Wait | None:
    """Nothing gets traffic before every worker has proven it."""
    loading = sorted({v.ref for v in release.variants if v.digest not in situation.status.ready})
    if not loading:
        return None
    if situation.steps:
        return Wait(reason=f"loading and proving {', '.join(loading)}")
    return _step(release, situation, "warming", situation.stable, f"loading {', '.join(loading)} beside what runs")


def _onward(release: Release, situation: Situation, stages: tuple[Stage, ...]) -> Step | Wait:
    """The next stage, or live, once the present one may be left."""
    passed = _passed(situation)
    if passed:
        missing = _missing(release, situation, stages[passed - 1])
        if missing:
            return Wait(reason=missing)
        if stages[passed - 1].until == "report":
            return _step(release, situation, "rolled_back", situation.stable, _report(situation))
    if passed < len(stages):
        return _step(release, situation, "shifting", stages[passed].variants, _told(stages[passed]))
    reason = "every test speaks for it" if stages and stages[-1].until == "evidence" else "ready on every worker"
    return _step(release, situation, "live", release.variants, reason)


def _taken_back(release: Release, situation: Situation) -> Step | None:
    """The end of a release that cannot run, or does harm."""
    serving = _passed(situation) > 0
    reason = _broken(release, situation)
    if reason:
        return _step(release, situation, "rolled_back" if serving else "failed", situation.stable, reason)
    reason = _harmful(situation) if serving else ""
    return _step(release, situation, "rolled_back", situation.stable, reason) if reason else None


def _passed(situation: Situation) -> int:
    """How many stages were entered."""
    return sum(step.phase == "shifting" for step in situation.steps)


def _broken(release: Release, situation: Situation) -> str:
    """In words, which package some worker cannot make ready."""
    failed = situation.status.failed
    for variant in release.variants:
        if variant.digest in failed:
            return f"{variant.ref} cannot be made ready: {failed[variant.digest]}"
    return ""


def _harmful(situation: Situation) -> str:
    """In words, which test has enough against the candidate."""
    for one in sorted(situation.measurements, key=lambda m: m.against, reverse=True):
        if one.against >= one.threshold:
            return (
                f"{one.test}: evidence {one.against:.3g} against it, {one.threshold:.3g} is enough "
                f"({_counts(one.failures)} failing routing keys)"
            )
    return ""


def _missing(release: Release, situation: Situation, stage: Stage) -> str:
    """What must still be seen before the stage is left; empty when nothing."""
    guards = release.guards
    if stage.until == "settled":
        if not situation.status.settled:
            return "waiting for every worker to answer by it"
        waited = situation.event_time - situation.steps[-1].at
        return "" if waited >= guards.wait_s else f"on probation for {guards.wait_s - waited:.0f} s more of event time"
    candidate = stage.variants[-1] if stage.until == "report" else stage.variants[0]
    here = [m for m in situation.measurements if abs(m.share - candidate.share) < 1e-9]
    if not here:
        return f"no traffic on {candidate.ref} at this share yet"
    units = min(m.units.get(candidate.name, 0) for m in here)
    if units < guards.min_units:
        return f"{units} of {guards.min_units} routing keys answered by {candidate.ref} at this share"
    waited = max(m.event_time - m.began for m in here)
    if waited < guards.wait_s:
        return f"{guards.wait_s - waited:.0f} s more of event time at this share"
    return _unproven(here, 1.0 / guards.alpha) if stage.until == "evidence" else ""


def _unproven(measurements: list[Measurement], enough: float) -> str:
    """Which test does not speak for the candidate yet; all must, so none needs more than 1 / alpha."""
    by_test = {one.test: one for one in measurements}
    for test in REQUIRED:
        found = by_test[test].supporting if test in by_test else 0.0
        wanted = 1.0 if test in LEANING else enough
        if found < wanted:
            return f"{test}: evidence {found:.3g} for it, {wanted:.3g} is enough"
    return ""


def _step(release: Release, situation: Situation, phase: str, variants: tuple[Variant, ...], reason: str) -> Step:
    measured: dict[str, Scalar] = {}
    for one in situation.measurements:
        measured |= {f"{one.test}.against": one.against, f"{one.test}.supporting": one.supporting}
    if situation.measurements:
        some = situation.measurements[0]
        measured |= {f"requests.{name}": count for name, count in some.requests.items()}
    step = Step(endpoint=release.endpoint, revision=release.revision, phase="live", variants=variants)
    return replace(step, phase=phase, reason=reason, measured=measured, at=situation.event_time)


def _told(stage: Stage) -> str:
    candidate = stage.variants[-1] if stage.until == "report" else stage.variants[0]
    if candidate.shadow:
        return f"{candidate.ref} gets a copy of every request"
    return f"{candidate.share:.0%} of the routing keys to {candidate.ref}"


def _report(situation: Situation) -> str:
    told = "; ".join(
        f"{m.test}: {_counts(m.failures)} failing routing keys, evidence {m.against:.3g} against it"
        for m in situation.measurements
    )
    return f"the shadow's report: {told or 'nothing measured'}; the stable version goes on"


def _counts(by_variant: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(by_variant.items())) or "no"
