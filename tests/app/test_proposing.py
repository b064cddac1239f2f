"""Proposals: once per cause, with the realised quality of the versions, forgotten when another version goes live."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.journeys.conftest import customers, trained

from chain_for_tests import put
from penstock.app.app import App
from penstock.app.packaging import PackageRequest, package
from penstock.app.proposing import make_proposals, realised_scores
from taught_for_tests import DAY, ENDPOINT, START, WEAK, answer, learn, live_home, make_live, passed, raise_incident


@pytest.fixture
def app(tmp_path: Path) -> App:
    return live_home(tmp_path)


def actions(app: App) -> list[str]:
    return [one.action for one in app.state().endpoint(ENDPOINT).proposals]


def test_a_cause_is_answered_once(app: App) -> None:
    opened = raise_incident(app, "calibration")
    (made,) = make_proposals(app, ENDPOINT, at=START + 5)
    assert (made.action, made.at, made.evidence["cause"]) == ("recalibrate", START + 5, "calibration")
    assert make_proposals(app, ENDPOINT, at=START + 6) == ()
    raise_incident(app, "drift", at=START + 7)
    assert make_proposals(app, ENDPOINT, at=START + 8) == ()
    put(app.registry, "incident.closed", replace(opened, closed_at=START + 9), by=app.identity)
    raise_incident(app, "calibration", at=START + 10)
    make_proposals(app, ENDPOINT, at=START + 11)
    assert actions(app) == ["recalibrate", "retrain"], "a recalibration was proposed before"


def test_versions_are_compared_by_what_came_true(app: App) -> None:
    frame = customers(1000, seed=3)
    poor, good = trained(customers(1500), WEAK), trained(customers(1500))
    ids = answer(app, frame, poor, days=1)
    learn(app, ids, frame["churned"].to_numpy(), days=1)
    better = answer(app, frame, good, days=1, version=2, seed=1)
    learn(app, better, frame["churned"].to_numpy(), days=1)
    stable = app.state().endpoint(ENDPOINT).stable
    assert stable is not None
    first, second = realised_scores(app, ENDPOINT, stable.variants[0], now=START + DAY)
    assert (first.version, first.labelled, second.version, second.labelled) == (1, 1000, 2, 1000)
    assert second.loss < first.loss
    expected = ((good.predict_proba(frame.drop(columns="churned"))[:, 1] - frame["churned"]) ** 2).mean()
    assert second.loss == pytest.approx(expected)
    assert first.rate == pytest.approx(frame["churned"].mean())


def test_back_to_the_version_before_that_did_better(app: App, tmp_path: Path) -> None:
    frame = customers(1000, seed=3)
    good, poor = trained(customers(1500)), trained(customers(1500), WEAK)
    ids = answer(app, frame, good, days=1)
    learn(app, ids, frame["churned"].to_numpy(), days=1)
    tables = {"validation": customers(1500, seed=1)}
    version, _ = package(app, PackageRequest(name=ENDPOINT, model=poor, tables=tables, label="churned"))
    passed(app, version)
    make_live(app, version)
    worse = answer(app, frame, poor, days=1, version=2, seed=1)
    learn(app, worse, 1 - frame["churned"].to_numpy(), days=1)
    raise_incident(app, "risk")
    (made,) = make_proposals(app, ENDPOINT, at=START + DAY)
    assert (made.action, made.evidence["version"]) == ("rollback", 1)


def test_another_live_version_begins_anew(app: App) -> None:
    opened = raise_incident(app, "risk")
    assert [one.action for one in make_proposals(app, ENDPOINT, at=START)] == ["retrain"]
    put(app.registry, "incident.closed", replace(opened, closed_at=START + 1), by=app.identity)
    make_live(app, app.state().version(ENDPOINT, 1).version)
    raise_incident(app, "risk", at=START + 2)
    assert [one.action for one in make_proposals(app, ENDPOINT, at=START + 3)] == ["retrain"]
