"""States: a tone and words together."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from console_for_tests import Home
from penstock.console.language import TABLES
from penstock.console.pages.states import (
    awaits_approval,
    badge_of_endpoint,
    badge_of_phase,
    badge_of_verdict,
    under_way,
)
from penstock.records import Step
from penstock.registry.state import EndpointState


@pytest.mark.parametrize("phase", [*get_args(get_type_hints(Step)["phase"]), "requested", "empty", "superseded"])
def test_every_phase_has_a_tone_and_words(phase: str) -> None:
    badge = badge_of_phase(phase)
    assert badge.tone in ("good", "busy", "warn", "bad", "quiet")
    assert badge.text in TABLES["zh"]


def test_what_nobody_judged_is_not_passed() -> None:
    assert badge_of_verdict(None).text == "verdict.none"


def test_what_waits_for_an_approval(home: Home) -> None:
    state = home.app.state()
    assert [awaits_approval(one) for one in state.model("flights").versions] == [False, False, False, True]
    assert not awaits_approval(state.version("taxi", 1))


def test_what_is_under_way(home: Home) -> None:
    assert under_way(home.app.state().endpoint("flights"))
    assert not under_way(EndpointState())
    assert badge_of_endpoint(EndpointState()).text == "phase.empty"
