"""Releases: only through the gate, and not on an older state."""

from __future__ import annotations

from console_for_tests import Home


def test_every_revision_and_what_came_of_it(home: Home) -> None:
    client = home.client("vera")
    releases = client.get("/api/v1/endpoints/flights/releases").json()
    assert [release["revision"] for release in releases["releases"]] == [1, 2, 3]
    assert releases["settled"]["2"]["outcome"] == "rolled_back"
    assert len(client.get("/api/v1/endpoints/flights/releases/3").json()["steps"]) == 3
    assert client.get("/api/v1/endpoints/flights/releases/9").status_code == 404


def test_whoever_looked_at_an_older_state_is_told(fresh: Home) -> None:
    otto = fresh.client("otto")
    etag = otto.get("/api/v1/endpoints/flights").headers["etag"]
    place = "/api/v1/endpoints/flights/rollback"
    first = otto.post(place, json={"to": 1, "reason": "drill"}, headers={"if-match": etag})
    assert first.status_code == 201, first.text
    assert first.json()["revision"] == 4
    assert otto.post(place, json={"to": 1}, headers={"if-match": etag}).status_code == 409
    assert fresh.app.state().endpoint("flights").current.by == "otto"


def test_a_release_needs_a_verdict(fresh: Home) -> None:
    otto = fresh.client("otto")
    refused = otto.post("/api/v1/endpoints/taxi/releases", json={"version": "taxi@1"})
    assert refused.status_code == 403
    bypassed = otto.post("/api/v1/endpoints/taxi/releases", json={"version": "taxi@1", "bypass": "I am in a hurry"})
    assert (bypassed.status_code, bypassed.json()["error"]) == (403, "access.forbidden")
