"""Incidents: one per cause, opened once, closed by themselves."""

from __future__ import annotations

from penstock.observe.detector import Persistence, Reading
from penstock.observe.incidents import Incidents


def raised(cause: str, *columns: str, severity: str = "record") -> Reading:
    return Reading(cause=cause, raised=True, columns=columns, severity=severity, title="t", effect="e")


def calm(cause: str) -> Reading:
    return Reading(cause=cause, raised=False)


def test_one_cause_opens_once_and_closes_once() -> None:
    incidents = Incidents("e")
    opened = incidents.turn([raised("drift", "a", "b")], source="24h", at=10.0)
    assert [(known.cause, known.opened_at, known.closed_at) for known in opened] == [("drift", 10.0, 0.0)]
    assert incidents.turn([raised("drift", "b")], source="24h", at=20.0) == []
    closed = incidents.turn([calm("drift")], source="24h", at=30.0)
    assert [(known.opened_at, known.closed_at) for known in closed] == [(10.0, 30.0)]
    assert incidents.open == {}
    assert incidents.turn([calm("drift")], source="24h", at=40.0) == []


def test_it_stays_open_while_anybody_raises_it() -> None:
    incidents = Incidents("e")
    incidents.turn([raised("drift", "a")], source="24h", at=1.0)
    incidents.turn([raised("drift", "a")], source="6h", at=1.0)
    assert incidents.turn([calm("drift")], source="6h", at=2.0) == []
    assert len(incidents.turn([calm("drift")], source="24h", at=3.0)) == 1


def test_it_is_told_again_only_when_it_gets_worse() -> None:
    incidents = Incidents("e")
    incidents.turn([raised("schema:missing", "a")], source="s", at=1.0)
    more = incidents.turn([raised("schema:missing", "a", "b")], source="s", at=2.0)
    assert [known.opened_at for known in more] == [1.0]
    worse = incidents.turn([raised("schema:missing", "a", severity="page")], source="s", at=3.0)
    assert [known.severity for known in worse] == ["page"]
    assert incidents.turn([raised("schema:missing", "z", severity="record")], source="s", at=4.0) == []


def test_a_cause_nobody_judged_stays_as_it_is() -> None:
    incidents = Incidents("e")
    incidents.turn([raised("risk")], source="r", at=1.0)
    assert incidents.turn([], source="r", at=2.0) == []
    assert set(incidents.open) == {"risk"}


def test_two_of_three_open_and_two_clean_close() -> None:
    state, states = Persistence(), []
    for moved in (True, False, False, True, False, True, False, True, False, False):
        state = state.turn(moved)
        states.append(state.raised)
    assert states == [False, False, False, False, False, True, True, True, True, False]
