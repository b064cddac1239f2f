"""When an endpoint is looked at: when its incidents or its live version changed, and not all the time."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from chain_for_tests import put
from penstock.app import feedback as module
from penstock.app.app import App
from penstock.app.feedback import Feedback
from penstock.errors import NotReady
from taught_for_tests import ENDPOINT, START, live_home, make_live, raise_incident


@pytest.fixture
def app(tmp_path: Path) -> App:
    return live_home(tmp_path)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The event time of each look."""
    found: list[float] = []

    def look(app: App, endpoint: str, *, at: float) -> None:
        found.append(at)
        if at < 0:
            raise NotReady("not yet", "later")

    monkeypatch.setattr(module, "make_proposals", look)
    return found


def turn(feedback: Feedback, app: App, at: float, endpoint: str = ENDPOINT) -> None:
    feedback.turn(app.state(), {endpoint: at})
    assert feedback.wait(endpoint, 30.0)


def test_only_what_changed_is_looked_at(app: App, looks: list[float]) -> None:
    feedback = Feedback(app)
    turn(feedback, app, 1.0)
    turn(feedback, app, 2.0)
    assert looks == [1.0]
    opened = raise_incident(app)
    turn(feedback, app, 3.0)
    turn(feedback, app, 4.0)
    put(app.registry, "incident.closed", replace(opened, closed_at=START + 1), by=app.identity)
    turn(feedback, app, 5.0)
    make_live(app, app.state().version(ENDPOINT, 1).version)
    turn(feedback, app, 6.0)
    turn(feedback, app, 7.0, "nobody")
    assert looks == [1.0, 3.0, 5.0, 6.0]


def test_what_had_to_wait_is_looked_at_again(app: App, looks: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    feedback = Feedback(app)
    turn(feedback, app, -1.0)
    turn(feedback, app, 2.0)
    turn(feedback, app, 3.0)
    assert looks == [-1.0, 2.0]


def test_after_the_end_nothing_begins(app: App, looks: list[float]) -> None:
    feedback = Feedback(app)
    feedback.finish()
    turn(feedback, app, 1.0)
    assert looks == []
