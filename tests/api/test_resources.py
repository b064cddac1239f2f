"""The API's resources on a home that has lived: what is read, what is written, and who was faster."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from console_for_tests import ANSWERED, Home, seeded_home
from penstock.app.outcomes import MOST


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Changed by the tests of this module, in their order or any other."""
    return seeded_home(tmp_path_factory.mktemp("changed"))


def client_of(home: Home, who: str) -> TestClient:
    headers = {"authorization": f"Bearer {home.tokens[who]}"}
    return TestClient(home.web(), base_url="http://localhost", headers=headers)


def test_what_a_viewer_reads(home: Home) -> None:
    client = client_of(home, "vera")
    models = client.get("/api/v1/models").json()["models"]
    assert [model["name"] for model in models] == ["flights", "taxi"]
    version = client.get("/api/v1/models/flights/versions/4").json()
    assert version["verdict"]["outcome"] == "pass"
    assert version["manifest"]["parity"]["passed"] is True
    endpoint = client.get("/api/v1/endpoints/flights").json()
    assert [variant["share"] for variant in endpoint["live"]] == [0.5, 0.5]
    assert endpoint["observed"]["requests"] == 183_412
    assert client.get("/api/v1/endpoints").json()["endpoints"][0]["phase"] == "shifting"
    releases = client.get("/api/v1/endpoints/flights/releases").json()
    assert releases["settled"]["2"]["outcome"] == "rolled_back"
    assert len(client.get("/api/v1/endpoints/flights/releases/3").json()["steps"]) == 3
    assert len(client.get("/api/v1/datasets").json()["datasets"]) == 2


def test_a_report_to_read_and_to_parse(home: Home) -> None:
    client = client_of(home, "vera")
    place = "/api/v1/models/flights/versions/4/report"
    assert client.get(place).json()["outcome"] == "pass"
    assert "sandbox" in client.get(f"{place}?format=html").headers["content-security-policy"]
    assert client.get(f"{place}?format=pdf").status_code == 422


def test_open_incidents_and_those_that_are_over(home: Home) -> None:
    client = client_of(home, "vera")
    assert len(client.get("/api/v1/incidents?endpoint=flights").json()["incidents"]) == 2
    assert len(client.get("/api/v1/incidents?closed=true").json()["incidents"]) == 3
    assert client.get("/api/v1/incidents?endpoint=nope").status_code == 404


def test_events_come_in_pages_that_miss_none(home: Home) -> None:
    client = client_of(home, "vera")
    seen, since = [], 0
    while True:
        page = client.get("/api/v1/events", params={"since": since, "limit": 20}).json()
        seen += [event["seq"] for event in page["events"]]
        since = page["next"]
        if not since:
            break
    assert seen == list(range(1, home.app.state().seq + 1))
    kinds = client.get("/api/v1/events?kind=verdict.given").json()["events"]
    assert {event["kind"] for event in kinds} == {"verdict.given"}


def test_the_chain_is_verified(home: Home) -> None:
    assert client_of(home, "vera").get("/api/v1/verify").json()["ok"] is True


def test_metrics_are_prometheus_text(home: Home) -> None:
    text = client_of(home, "vera").get("/metrics").text
    assert 'penstock_requests{endpoint="flights"} 183412.0' in text
    assert 'penstock_incidents_open{endpoint="flights"} 2.0' in text


def test_a_prediction_is_traced(home: Home) -> None:
    found = client_of(home, "vera").get(f"/api/v1/predictions/{ANSWERED}.0").json()
    assert found["package"] == home.app.state().version("flights", 3).version.digest
    assert found["line"]["outputs"]["probabilities"] == [0.31, 0.69]
    assert found["outcomes"][0]["value"] == "late"


def test_what_is_not_there(home: Home) -> None:
    client = client_of(home, "vera")
    for path in (
        "models/nope",
        "models/flights/versions/9",
        "endpoints/nope",
        "endpoints/flights/releases/9",
        "predictions/x.0",
    ):
        answer = client.get(f"/api/v1/{path}")
        assert (answer.status_code, set(answer.json())) == (404, {"error", "message", "hint", "where", "request_id"})


def test_an_approval_is_a_person_s_and_not_the_author_s(fresh: Home) -> None:
    place = "/api/v1/models/flights/versions/4/approvals"
    assert client_of(fresh, "otto").post(place, json={"role": "operator"}).status_code == 403
    anna = client_of(fresh, "anna")
    assert anna.post(place, json={"role": "approver", "comment": "seen"}).status_code == 201
    assert anna.post(place, json={"role": "approver"}).status_code == 409


def test_whoever_looked_at_an_older_state_is_told(fresh: Home) -> None:
    otto = client_of(fresh, "otto")
    etag = otto.get("/api/v1/endpoints/flights").headers["etag"]
    place = "/api/v1/endpoints/flights/rollback"
    first = otto.post(place, json={"to": 1, "reason": "drill"}, headers={"if-match": etag})
    assert first.status_code == 201, first.text
    assert first.json()["revision"] == 4
    assert otto.post(place, json={"to": 1}, headers={"if-match": etag}).status_code == 409
    assert fresh.app.state().endpoint("flights").current.by == "otto"


def test_a_release_needs_a_verdict(fresh: Home) -> None:
    otto = client_of(fresh, "otto")
    refused = otto.post("/api/v1/endpoints/taxi/releases", json={"version": "taxi@1"})
    assert refused.status_code == 403
    bypassed = otto.post("/api/v1/endpoints/taxi/releases", json={"version": "taxi@1", "bypass": "I am in a hurry"})
    assert (bypassed.status_code, bypassed.json()["error"]) == (403, "access.forbidden")


def test_an_alias_moves(fresh: Home) -> None:
    otto = client_of(fresh, "otto")
    assert (
        otto.put("/api/v1/models/flights/aliases/challenger", json={"version": 4}).json()["aliases"]["challenger"] == 4
    )
    assert otto.put("/api/v1/models/flights/aliases/challenger", json={"version": 40}).status_code == 404


def test_outcomes_are_on_the_disk_when_they_are_acknowledged(fresh: Home) -> None:
    otto = client_of(fresh, "otto")
    sent = [{"prediction": f"abc.{row}", "value": value, "at": 1.5} for row, value in enumerate([1, 0.5, "late", True])]
    answer = otto.post("/api/v1/endpoints/flights/outcomes", json=sent)
    assert (answer.status_code, answer.json()["recorded"]) == (201, 4)
    written = b"".join(path.read_bytes() for path in Path(fresh.app.home, "log", "outcomes").glob("*.wal"))
    assert all(f"abc.{row}".encode() in written for row in range(4))


@pytest.mark.parametrize(
    "outcomes", [[], {}, [{"prediction": "abc.0", "value": 1}], [{"prediction": "", "value": 1, "at": 0}]]
)
def test_outcomes_that_are_none(fresh: Home, outcomes: object) -> None:
    assert client_of(fresh, "otto").post("/api/v1/endpoints/flights/outcomes", json=outcomes).status_code == 422


def test_one_request_takes_no_more_than_the_use_case(fresh: Home) -> None:
    assert MOST == 100_000
