"""Endpoints: what runs, and what was seen of it."""

from __future__ import annotations

from console_for_tests import Home


def test_what_runs_and_what_was_seen_of_it(home: Home) -> None:
    client = home.client("vera")
    endpoint = client.get("/api/v1/endpoints/flights").json()
    assert [variant["share"] for variant in endpoint["live"]] == [0.5, 0.5]
    assert endpoint["observed"]["requests"] == 183_412
    assert set(endpoint["incidents"]) == {"calibration", "schema:temp"}
    assert client.get("/api/v1/endpoints").json()["endpoints"][0]["phase"] == "shifting"
    assert client.get("/api/v1/endpoints/nope").status_code == 404
