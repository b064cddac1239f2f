"""Proposals: what an incident calls for, once, and never an act."""

from __future__ import annotations

from penstock.feedback.propose import propose
from penstock.feedback.score import Score
from penstock.records import Incident, Proposal


def incident(cause: str, **changes: object) -> Incident:
    known = {"severity": "ticket", "title": "t", "effect": "12 %", "guarantee": "g", "closes": "c", "opened_at": 5.0}
    return Incident(endpoint="e", cause=cause, **{**known, **changes})  # type: ignore[arg-type]


def score(version: int, loss: float, labelled: int = 1000) -> Score:
    return Score(
        model="m", version=version, variant="stable", maturity="up to 7 d", answered=2000, labelled=labelled, loss=loss,
        error=0.01,
    )  # fmt: skip


def actions(*incidents: Incident, scores: tuple[Score, ...] = (), earlier: tuple[Proposal, ...] = ()) -> list[str]:
    return [one.action for one in propose(incidents, scores, current=2, earlier=earlier, at=9.0)]


def test_what_calls_for_what() -> None:
    assert actions(incident("calibration")) == ["recalibrate"]
    assert actions(incident("calibration:carrier=EV")) == ["retrain"]
    assert actions(incident("estimate")) == ["retrain"]
    assert actions(incident("risk")) == ["retrain"]
    assert actions(incident("drift"), incident("schema:missing"), incident("estimate:invalid")) == []


def test_back_to_a_version_that_did_better() -> None:
    assert actions(incident("risk"), scores=(score(1, 0.1), score(2, 0.3))) == ["rollback"]
    assert actions(incident("risk"), scores=(score(1, 0.29), score(2, 0.3))) == ["retrain"], "not clearly better"
    assert actions(incident("risk"), scores=(score(1, 0.1, 50), score(2, 0.3))) == ["retrain"], "too few labels"
    assert actions(incident("risk"), scores=(score(3, 0.1), score(2, 0.3))) == ["retrain"], "not an earlier one"


def test_nothing_is_proposed_twice_and_recalibration_comes_before_retraining() -> None:
    first = propose([incident("calibration")], (), current=2, at=1.0)
    assert actions(incident("calibration"), earlier=first) == ["retrain"]
    second = propose([incident("calibration")], (), current=2, earlier=first, at=2.0)
    assert actions(incident("calibration"), earlier=(*first, *second)) == []
    assert actions(incident("risk"), incident("risk:x=1")) == ["retrain"]


def test_what_is_closed_calls_for_nothing() -> None:
    assert actions(incident("risk", closed_at=7.0)) == []


def test_a_proposal_says_why() -> None:
    (found,) = propose([incident("calibration")], (), current=2, at=9.0)
    assert found.at == 9.0
    assert found.evidence == {"cause": "calibration", "effect": "12 %", "since": 5.0}
    assert found.reason
