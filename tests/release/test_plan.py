"""The plan as a table, and as a machine that tries every order of events."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace
from traffic_for_tests import NEW, OLD, release

from penstock.adapters import load
from penstock.records import Measurement, Release, Step, Variant
from penstock.release.plan import Situation, Wait, next_step
from penstock.release.strategy import Stage
from penstock.release.target import TargetStatus

READY = TargetStatus(ready=(OLD.digest, NEW.digest), settled=True)


def stages(wish: Release, stable: tuple[Variant, ...] = (OLD,)) -> tuple[Stage, ...]:
    return load("strategy", wish.strategy)().stages(wish, stable)


def measurements(
    share: float,
    *,
    units: int = 1_000,
    supporting: float = 100.0,
    against: float = 0.5,
    test: str = "error",
    waited: float = 100.0,
    name: str = "canary",
) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(
            endpoint="e", release=2, test=one, against=against if one == test else 0.5,
            supporting=supporting if one == test else 100.0, threshold=100.0, units={name: units, "stable": 9_000},
            failures={name: 1, "stable": 2}, requests={name: 5, "stable": 50}, event_time=waited, share=share,
        )
        for one in ("error", "latency", "invalid", "shift", "outcome_loss")
    )  # fmt: skip


def planned(
    wish: Release,
    phases: Sequence[str] = (),
    *,
    status: TargetStatus = READY,
    measured: tuple[Measurement, ...] = (),
    stable: tuple[Variant, ...] = (OLD,),
    event_time: float = 0.0,
) -> Step | Wait:
    way = stages(wish, stable)
    steps: list[Step] = []
    for phase in phases:
        entered = sum(step.phase == "shifting" for step in steps)
        variants = way[entered].variants if phase == "shifting" else stable
        steps.append(Step(endpoint="e", revision=2, phase=phase, variants=variants))  # type: ignore[arg-type]
    situation = Situation(
        stable=stable, status=status, steps=tuple(steps), measurements=measured, event_time=event_time
    )
    return next_step(wish, situation, way)


def shares(step: Step | Wait) -> list[tuple[str, float]]:
    assert isinstance(step, Step)
    return [(variant.ref, round(variant.share, 9)) for variant in step.variants]


CANARY = release()
ONE = ("warming", "shifting")
TWO = ("warming", "shifting", "shifting")
OLD_ONLY = replace(READY, ready=(OLD.digest,))


@pytest.mark.parametrize(
    ("wish", "phases", "options", "expected"),
    [
        # nothing gets traffic before it is ready
        (CANARY, (), {"status": OLD_ONLY}, "warming"),
        (CANARY, ("warming",), {"status": OLD_ONLY}, "wait: loading"),
        (CANARY, ("warming",), {}, "shifting"),
        (CANARY, (), {}, "shifting"),
        (release(strategy="at-once"), (), {}, "live"),
        (release(strategy="blue-green"), ("warming",), {}, "shifting"),
        # a package that cannot be made ready ends the release, whenever that shows
        (CANARY, ("warming",), {"status": replace(READY, failed={NEW.digest: "golden"})}, "failed"),
        (CANARY, ONE, {"status": replace(READY, failed={NEW.digest: "golden"})}, "rolled_back"),
        (CANARY, ONE, {"status": replace(READY, failed={"sha256:other": "golden"})}, "wait: no traffic"),
        # no traffic is neither failed nor passed
        (CANARY, ONE, {}, "wait: no traffic"),
        (CANARY, ONE, {"measured": measurements(0.1, units=99)}, "wait: 99 of 100 routing keys"),
        (CANARY, ONE, {"measured": measurements(0.1)}, "shifting"),
        (CANARY, TWO, {"measured": measurements(0.1)}, "wait: no traffic"),
        # the last share is left on evidence only
        (CANARY, TWO, {"measured": measurements(0.5, supporting=19.0)}, "wait: error: evidence 19"),
        (CANARY, TWO, {"measured": measurements(0.5)[1:]}, "wait: error: evidence 0"),
        (CANARY, TWO, {"measured": measurements(0.5, test="shift", supporting=1.5)}, "live"),
        (CANARY, TWO, {"measured": measurements(0.5, test="shift", supporting=0.5)}, "wait: shift"),
        (CANARY, TWO, {"measured": measurements(0.5, test="outcome_loss", supporting=0.0)}, "live"),
        (CANARY, TWO, {"measured": measurements(0.5)}, "live"),
        (CANARY, TWO, {"measured": measurements(0.5), "status": OLD_ONLY}, "wait: loading"),
        # harm takes it back at once, whatever else is true
        (CANARY, ONE, {"measured": measurements(0.1, units=3, against=100.0)}, "rolled_back"),
        (CANARY, TWO, {"measured": measurements(0.5, against=1e9), "status": OLD_ONLY}, "rolled_back"),
        (CANARY, ONE, {"measured": measurements(0.1, units=3, against=99.0)}, "wait: 3 of 100"),
        # time is the exchanges' own
        (release(wait_s=60.0), ONE, {"measured": measurements(0.1, waited=59.0)}, "wait: 1 s more"),
        (release(wait_s=60.0), ONE, {"measured": measurements(0.1, waited=60.0)}, "shifting"),
        (release(strategy="blue-green"), ONE, {}, "live"),
        (release(strategy="blue-green"), ONE, {"status": replace(READY, settled=False)}, "wait: waiting for every"),
        (release(strategy="blue-green", wait_s=60.0), ONE, {"event_time": 59.0}, "wait: on probation"),
        (release(strategy="blue-green", wait_s=60.0), ONE, {"event_time": 61.0}, "live"),
        # a shadow ends with a report and the stable version
        (release(strategy="shadow"), ONE, {}, "wait: no traffic"),
        (release(strategy="shadow"), ONE, {"measured": measurements(0.0, name="shadow")}, "rolled_back"),
        # the end is the end
        (CANARY, (*TWO, "live"), {}, "wait"),
        (CANARY, (*ONE, "rolled_back"), {"measured": measurements(0.5)}, "wait"),
        (CANARY, ("failed",), {}, "wait"),
        # a first release has nothing to be compared with
        (CANARY, ("warming",), {"stable": ()}, "live"),
    ],
)  # fmt: skip
def test_the_table(wish: Release, phases: tuple[str, ...], options: dict, expected: str) -> None:
    step = planned(wish, phases, **options)
    found = f"wait: {step.reason}" if isinstance(step, Wait) else step.phase
    assert found.startswith(expected), found


def test_the_stable_version_answers_again_after_harm() -> None:
    assert shares(planned(CANARY, ONE, measured=measurements(0.1, against=1e6))) == [("m@1", 1.0)]


def test_shares_grow_and_the_candidate_lies_first() -> None:
    assert shares(planned(CANARY, ("warming",))) == [("m@2", 0.1), ("m@1", 0.9)]
    assert shares(planned(CANARY, ONE, measured=measurements(0.1))) == [("m@2", 0.5), ("m@1", 0.5)]
    assert shares(planned(CANARY, TWO, measured=measurements(0.5))) == [("m@2", 1.0)]


def test_a_step_says_what_it_was_decided_on() -> None:
    step = planned(CANARY, ONE, measured=measurements(0.1, against=1e6), event_time=7.0)
    assert isinstance(step, Step)
    assert step.measured["error.against"] == 1e6
    assert step.measured["requests.canary"] == 5
    assert step.at == 7.0
    assert "error" in step.reason


def test_the_same_situation_gives_the_same_step() -> None:
    assert planned(CANARY, ONE, measured=measurements(0.1)) == planned(CANARY, ONE, measured=measurements(0.1))


class Rollout(RuleBasedStateMachine):
    """Packages become ready, break, traffic comes or does not, harm shows or does not, in every order."""

    def __init__(self) -> None:
        super().__init__()
        self.wish = CANARY
        self.ready = {OLD.digest}
        self.failed: dict[str, str] = {}
        self.steps: list[Step] = []
        self.answering: tuple[Variant, ...] = (OLD,)
        self.measured: tuple[Measurement, ...] = ()
        self.proven_when_given_traffic = True

    @rule(strategy=st.sampled_from(["at-once", "blue-green", "canary", "shadow"]))
    def wish_anew(self, strategy: str) -> None:
        if self.steps and self.steps[-1].phase in ("live", "rolled_back", "failed"):
            self.steps, self.failed, self.answering, self.measured = [], {}, (OLD,), ()
            self.wish = release(strategy=strategy)

    @rule()
    def load(self) -> None:
        self.ready.add(NEW.digest)

    @rule()
    def lose_a_worker(self) -> None:
        self.ready.discard(NEW.digest)

    @rule()
    def break_package(self) -> None:
        self.failed = {NEW.digest: "its golden examples are wrong"}

    @rule(
        share=st.sampled_from([0.0, 0.1, 0.5]),
        units=st.integers(0, 300),
        against=st.sampled_from([0.5, 99.0, 1e6]),
        supporting=st.sampled_from([0.5, 100.0]),
    )
    def see_traffic(self, share: float, units: int, against: float, supporting: float) -> None:
        name = "shadow" if self.wish.strategy == "shadow" else "canary"
        self.measured = measurements(share, units=units, against=against, supporting=supporting, name=name)

    @rule()
    def turn(self) -> None:
        status = TargetStatus(ready=tuple(self.ready), failed=self.failed, settled=True)
        situation = Situation(stable=(OLD,), status=status, steps=tuple(self.steps), measurements=self.measured)
        step = next_step(self.wish, situation, stages(self.wish))
        if isinstance(step, Step):
            before = {variant.digest for variant in self.answering}
            added = {variant.digest for variant in step.variants} - before - {OLD.digest}
            self.proven_when_given_traffic &= added <= self.ready
            self.steps.append(step)
            self.answering = step.variants

    @rule()
    def roll_back_by_hand(self) -> None:
        """Always reachable: a new revision whose variants are the old ones, which are warm."""
        wish = release(strategy="at-once", variants=(OLD,), revision=3)
        situation = Situation(stable=(OLD,), status=TargetStatus(ready=tuple(self.ready)))
        step = next_step(wish, situation, stages(wish))
        assert isinstance(step, Step)
        assert (step.phase, step.variants) == ("live", (OLD,))

    @invariant()
    def shares_add_to_one(self) -> None:
        assert sum(variant.share for variant in self.answering if not variant.shadow) == pytest.approx(1.0)

    @invariant()
    def only_proven_packages_get_traffic(self) -> None:
        assert self.proven_when_given_traffic

    @invariant()
    def the_end_is_the_end(self) -> None:
        assert not any(step.phase in ("live", "rolled_back", "failed") for step in self.steps[:-1])

    @invariant()
    def the_old_one_answers_unless_it_went_live(self) -> None:
        if not self.steps or self.steps[-1].phase != "live":
            blue_green = self.wish.strategy == "blue-green" and self.steps and self.steps[-1].phase == "shifting"
            assert blue_green or OLD.digest in {variant.digest for variant in self.answering}


TestRollout = Rollout.TestCase
TestRollout.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
