"""Incidents: open ones, and those that are over."""

from __future__ import annotations

from console_for_tests import Home


def test_open_incidents_and_those_that_are_over(home: Home) -> None:
    client = home.client("vera")
    assert len(client.get("/api/v1/incidents?endpoint=flights").json()["incidents"]) == 2
    assert len(client.get("/api/v1/incidents?closed=true").json()["incidents"]) == 3
    assert client.get("/api/v1/incidents?endpoint=nope").status_code == 404
