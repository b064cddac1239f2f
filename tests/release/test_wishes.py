"""What may go out, and what a rollback goes back to."""

from __future__ import annotations

from pathlib import Path

import pytest
from home_for_tests import Home
from msgspec.structs import replace

from chain_for_tests import approval, put, verdict, version
from penstock.errors import BadConfig, Forbidden, NotFound
from penstock.records import Bypass, Guards, Settled, Step
from penstock.registry.state import State
from penstock.release.wishes import ReleaseWish, request_release, request_rollback

WISH = ReleaseWish(ref="m@1", endpoint="e", by="ann", at=1_000.0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """``m@1`` and ``m@2`` passed; ``m@3`` was refused, ``m@4`` not checked; 1 and 2 went live, ``bob`` approved 2."""
    made = Home(tmp_path_factory.mktemp("wishes") / "home", 0.0, 0.5)
    ann, who = made.who["ann"], made.who
    for number, digest in ((3, made.digests[0]), (4, made.digests[1])):
        put(made.registry, "version.registered", version(number, digest=digest), by=ann)
    put(made.registry, "verdict.given", verdict(3, digest=made.digests[0], outcome="refuse"), by=ann)
    put(made.registry, "approval.given", approval(2, digest=made.digests[1]), by=who["bob"])
    broken = Bypass(model="m", version=4, endpoint="e", reason="fire", expires_at=4e9)
    put(made.registry, "gate.bypassed", broken, by=who["bob"])
    for number in (1, 2):
        release = made.wish(number)
        step = Step(endpoint="e", revision=number, phase="live", variants=release.variants)
        put(made.registry, "release.stepped", step, by=who["penstock"])
        put(
            made.registry, "release.settled", Settled(endpoint="e", revision=number, outcome="live"), by=who["penstock"]
        )
    return made


@pytest.fixture
def state(home: Home) -> State:
    return home.registry.state()


def test_a_release_is_the_next_revision_and_ends_with_all_traffic(state: State) -> None:
    made = request_release(state, WISH)
    assert (made.revision, made.previous, made.bypass) == (3, 2, "")
    assert [(variant.ref, variant.share) for variant in made.variants] == [("m@1", 1.0)]


def test_what_is_not_said_stays_as_it_is(state: State) -> None:
    loud = request_release(state, replace(WISH, thresholds={"1": 0.7}, monitors={"drift": True}))
    assert (loud.thresholds, loud.monitors) == ({"1": 0.7}, {"drift": True})
    assert request_release(state, WISH).thresholds == {}


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"ref": "m@3"}, Forbidden, "gate.no_verdict"),
        ({"ref": "m@4", "endpoint": "elsewhere"}, Forbidden, "gate.no_verdict"),
        ({"ref": "m@4", "at": 5e9}, Forbidden, "gate.bypass_expired"),
        ({"policy": "sha256:another"}, Forbidden, "gate.no_verdict"),
        ({"approvals": ("approver",)}, Forbidden, "release.not_approved"),
        ({"ref": "m@9"}, NotFound, "registry.not_found"),
        ({"ref": "n"}, NotFound, "registry.not_found"),
        ({"strategy": "hope"}, NotFound, "registry.not_found"),
        ({"target": "moon"}, NotFound, "registry.not_found"),
    ],
)
def test_what_may_not_go_out(state: State, changes: dict, error: type[Exception], code: str) -> None:
    with pytest.raises(error) as refused:
        request_release(state, replace(WISH, **changes))
    assert refused.value.code == code  # type: ignore[attr-defined]
    assert refused.value.hint  # type: ignore[attr-defined]


def test_a_strategy_that_cannot_begin_is_refused_before_anything_is_written(state: State) -> None:
    with pytest.raises(BadConfig, match="answers"):
        request_release(state, replace(WISH, endpoint="elsewhere", strategy="shadow"))


def test_an_approval_of_these_bytes_by_another_lets_it_out(state: State) -> None:
    assert request_release(state, replace(WISH, ref="m@2", approvals=("approver",))).revision == 3


def test_broken_glass_is_written_on_the_release(state: State) -> None:
    assert request_release(state, replace(WISH, ref="m@4")).bypass == "fire"


@pytest.mark.parametrize(
    "guards",
    [
        {"alpha": 0.0}, {"alpha": 1.0}, {"share": 0.0}, {"share": 1.0}, {"steps": (0.5, 0.2)}, {"steps": (1.5,)},
        {"min_units": 0}, {"latency_s": -1.0}, {"margin": 0.9}, {"margin": float("inf")}, {"shift": 0.5},
        {"floor": 0.0}, {"floor": 1.0}, {"wait_s": -1.0}, {"alpha": float("nan")},
    ],
)  # fmt: skip
def test_guards_that_could_not_decide_are_refused_by_name(state: State, guards: dict) -> None:
    with pytest.raises(BadConfig) as refused:
        request_release(state, replace(WISH, guards=Guards(**guards)))
    assert refused.value.where == f"guards.{next(iter(guards))}"


def test_back_to_what_was_live_before(state: State) -> None:
    back = request_rollback(state, "e", by="ann", at=1.0)
    assert (back.variants[0].ref, back.revision, back.previous, back.strategy) == ("m@1", 3, 2, "at-once")


def test_back_to_a_release_by_its_number(state: State) -> None:
    assert request_rollback(state, "e", by="ann", at=1.0, to=2).variants[0].ref == "m@2"
    with pytest.raises(NotFound):
        request_rollback(state, "e", by="ann", at=1.0, to=7)


def test_there_may_be_nothing_to_go_back_to(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", 0.0)
    home.wish(1)
    with pytest.raises(NotFound, match="nothing"):
        request_rollback(home.registry.state(), "e", by="ann", at=1.0)
    with pytest.raises(NotFound):
        request_rollback(home.registry.state(), "nowhere", by="ann", at=1.0)
