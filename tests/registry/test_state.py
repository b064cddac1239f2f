"""What is true now: names resolve, refusals help, nothing that was handed out changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_for_tests import DIGEST, put, variant, version, write_history
from penstock.access.identities import Identity
from penstock.errors import NotFound
from penstock.records import AliasMove
from penstock.registry.events import KINDS
from penstock.registry.fold import FOLDS, fold
from penstock.registry.registry import Registry
from penstock.registry.state import ModelState, State, VersionState

TWO = ModelState(versions=(VersionState(version=version(1)), VersionState(version=version(2))), aliases={"champion": 1})
STATE = State(models={"flights": TWO})


def test_every_kind_has_a_fold() -> None:
    assert set(FOLDS) == set(KINDS)


@pytest.mark.parametrize(
    ("ref", "number"), [("flights", 2), ("flights@1", 1), ("flights@02", 2), ("flights@champion", 1)]
)
def test_a_ref_resolves(ref: str, number: int) -> None:
    assert STATE.resolve(ref).version.version == number


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("flihgts", "did you mean flights?"),
        ("flights@3", "1 to 2"),
        ("flights@0", "1 to 2"),
        ("flights@99999999999999999999", "1 to 2"),
        ("flights@champoin", "did you mean champion?"),
        ("zzz", "there are flights"),
        ("flights@-1", "there are champion"),
    ],
)
def test_what_does_not_is_refused_with_help(ref: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        STATE.resolve(ref)
    assert hint in caught.value.hint


@given(st.text())
def test_any_text_is_a_version_or_not_found(ref: str) -> None:
    with pytest.raises(NotFound, match=r"there is no|no such version"):
        STATE.resolve(f"{ref}!")


def test_a_state_that_was_handed_out_never_changes(registry: Registry, who: dict[str, Identity]) -> None:
    put(registry, "version.registered", version(), by=who["ann"])
    before = registry.state()
    put(registry, "alias.moved", AliasMove(model="m", alias="champion", version=1), by=who["ann"])
    assert before.models["m"].aliases == {}
    assert registry.state().models["m"].aliases == {"champion": 1}


def test_folding_in_pieces_is_folding_at_once(registry: Registry, tmp_path: Path) -> None:
    write_history(registry, tmp_path / "package")
    events = registry.events()
    for cut in range(0, len(events), 7):
        assert fold(fold(State(), events[:cut]), events[cut:]) == registry.state()


def test_an_endpoint_tells_its_story(registry: Registry, tmp_path: Path) -> None:
    write_history(registry, tmp_path / "package")
    state = registry.state()
    endpoint = state.endpoint("e")
    digest = state.resolve("m@champion").version.digest
    assert digest != DIGEST
    assert [release.revision for release in endpoint.releases] == [1, 2, 3]
    assert endpoint.current == endpoint.releases[2]
    assert endpoint.stable == endpoint.releases[0]
    assert endpoint.live == (variant(digest=digest),)
    assert [step.phase for step in endpoint.steps_of(1)] == ["live"]
    assert endpoint.steps_of(2) == ()
    assert endpoint.incidents["schema"].closed_at == 9.0
    assert endpoint.open_incidents() == {}
    assert [proposal.action for proposal in endpoint.proposals] == ["retrain"]
    assert state.version("m", 2).bypasses["e"].reason == "fire"
    assert [given.by for given in state.version("m", 1).approvals] == ["bob"]
    assert len(state.datasets["d0"]) == 1
    assert state.policies["gate"].text == "checks: []"
