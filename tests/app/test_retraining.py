"""A proposed retraining is carried out as far as anybody may go, step by step, and what fails is on the record."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.journeys.conftest import customers, trained

from penstock.access.identities import SYSTEM_NAME
from penstock.app.app import App
from penstock.app.feedback import Feedback
from penstock.app.opening import load_settings
from penstock.app.retraining import CAUSE, carry_on
from penstock.app.views import Observed
from penstock.console.language import Texts
from penstock.console.pages.overview import attention
from penstock.errors import NotReady
from penstock.records import Incident, Proposal
from penstock.registry.state import VersionState
from taught_for_tests import DAY, ENDPOINT, START, WEAK, answer, example, learn, live_home, raise_incident

COMMAND = "feedback: {retrain: [python, retrain.py]}\n"
APPROVALS = "approvals: [approver]\n"
NOW = START + 8 * DAY


@pytest.fixture
def app(tmp_path: Path) -> App:
    """Eight days of answers with what came true, and an incident that calls for a retraining."""
    app = live_home(tmp_path, COMMAND)
    (tmp_path / "retrain.py").write_text(example())
    frame = customers(2400, seed=5)
    ids = answer(app, frame, trained(customers(1500), WEAK), days=8)
    learn(app, ids, frame["churned"].to_numpy(), days=8)
    raise_incident(app, "risk")
    return app


def settle(app: App) -> None:
    feedback = Feedback(app)
    feedback.turn(app.state(), {ENDPOINT: NOW})
    assert feedback.wait(ENDPOINT, 120.0)


def with_settings(app: App, settings: str) -> App:
    (app.home.parent / "penstock.yaml").write_text(settings)
    return dataclasses.replace(app, config=load_settings(app.home))


def proposals(app: App) -> tuple[Proposal, ...]:
    return app.state().endpoint(ENDPOINT).proposals


def versions(app: App) -> list[VersionState]:
    return list(app.state().model(ENDPOINT).versions)


def failure(app: App) -> Incident:
    return app.state().endpoint(ENDPOINT).open_incidents()[CAUSE]


def test_from_an_incident_to_a_canary(app: App) -> None:
    settle(app)
    assert [one.action for one in proposals(app)] == ["retrain"]
    champion, made = versions(app)
    assert made.version.author == SYSTEM_NAME
    assert made.version.parent == champion.version.digest
    assert made.verdict is not None
    assert (made.verdict.outcome, made.verdict.champion) == ("pass", f"{ENDPOINT}@1")
    assert {one.role: one.rows for one in made.version.datasets} == {"train": 1800, "validation": 600}
    assert CAUSE not in app.state().endpoint(ENDPOINT).open_incidents()
    current = app.state().endpoint(ENDPOINT).current
    assert current is not None
    assert (current.strategy, current.variants[0].version, current.by) == ("canary", 2, SYSTEM_NAME)
    assert "loss 0.2" in current.reason
    acts = [(e.kind, e.actor) for e in app.registry.events() if e.actor == SYSTEM_NAME]
    kinds = [kind for kind, _ in acts]
    assert kinds[-5:] == [
        "dataset.registered", "dataset.registered", "version.registered", "verdict.given", "release.requested",
    ]  # fmt: skip
    log = next((app.home / "retraining").glob("*/train.log"))
    assert "trained on 1800 rows" in log.read_text()
    settle(app)
    assert len(versions(app)) == 2, "what is done is not done again"
    assert len(app.state().endpoint(ENDPOINT).releases) == 2


def test_what_needs_an_approval_waits_for_a_person(app: App) -> None:
    careful = with_settings(app, COMMAND + APPROVALS)
    settle(careful)
    made = versions(careful)[-1]
    assert made.verdict is not None
    assert made.verdict.outcome == "pass"
    assert made.approvals == ()
    assert len(careful.state().endpoint(ENDPOINT).releases) == 1
    titles = [one.title for one in attention(careful.state(), Observed(at=time.time()), Texts("en"))]
    assert any(f"{ENDPOINT}@2" in title for title in titles), titles
    assert CAUSE not in careful.state().endpoint(ENDPOINT).open_incidents()


def test_without_a_command_there_is_a_proposal_and_nothing_more(app: App) -> None:
    settle(with_settings(app, ""))
    assert [one.action for one in proposals(app)] == ["retrain"]
    assert len(versions(app)) == 1


def test_a_failing_command_is_an_incident_for_the_record_and_not_tried_again(app: App) -> None:
    ran = app.home.parent / "ran"
    script = f"open({str(ran)!r}, 'a').write('x'); raise SystemExit('no luck today')"
    (app.home.parent / "retrain.py").write_text(script)
    settle(app)
    assert (failure(app).severity, failure(app).opened_at) == ("record", NOW)
    assert "no luck today" in failure(app).effect
    settle(app)
    assert ran.read_text() == "x"
    assert len(versions(app)) == 1


def test_a_model_the_gate_refuses_goes_nowhere(app: App) -> None:
    upside_down = example().replace('truth = rows[os.environ["PENSTOCK_LABEL"]]', 'truth = 1 - rows["churned"]')
    assert upside_down != example()
    (app.home.parent / "retrain.py").write_text(upside_down)
    settle(app)
    made = versions(app)[-1]
    assert made.verdict is not None
    assert made.verdict.outcome == "refuse"
    assert "did not pass the gate" in failure(app).effect
    assert len(app.state().endpoint(ENDPOINT).releases) == 1


def test_a_model_that_takes_other_inputs_goes_nowhere(app: App) -> None:
    fewer = example().replace("inputs = rows[json", "inputs = rows[['age', 'plan']] if True else rows[json")
    (app.home.parent / "retrain.py").write_text(fewer)
    settle(app)
    assert "income" in failure(app).effect
    assert len(app.state().endpoint(ENDPOINT).releases) == 1


def test_it_waits_for_outcomes_of_enough_days(tmp_path: Path) -> None:
    app = live_home(tmp_path, COMMAND)
    frame = customers(200, seed=5)
    ids = answer(app, frame, trained(customers(1500), WEAK), days=2)
    learn(app, ids, np.ones(200, int), days=2)
    raise_incident(app, "risk")
    settle(app)
    assert [one.action for one in proposals(app)] == ["retrain"]
    assert CAUSE not in app.state().endpoint(ENDPOINT).open_incidents()
    with pytest.raises(NotReady, match="days"):
        carry_on(app, ENDPOINT, at=NOW, stopped=threading.Event())


def test_it_is_stopped_with_the_control_plane_and_done_by_the_next(app: App) -> None:
    begun = app.home.parent / "begun"
    (app.home.parent / "retrain.py").write_text(f"import time; open({str(begun)!r}, 'w'); time.sleep(600)")
    feedback = Feedback(app)
    feedback.turn(app.state(), {ENDPOINT: NOW})
    deadline = time.monotonic() + 60
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    raise_incident(app, "drift", at=START + 1)
    feedback.turn(app.state(), {ENDPOINT: NOW})
    assert len([one for one in threading.enumerate() if one.name == f"feedback-{ENDPOINT}"]) == 1
    feedback.finish()
    assert feedback.wait(ENDPOINT, 120.0)
    assert CAUSE not in app.state().endpoint(ENDPOINT).open_incidents()
    (app.home.parent / "retrain.py").write_text(example())
    settle(app)
    assert versions(app)[-1].version.version == 2
