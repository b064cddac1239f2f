"""Models and versions: read, approved by another than their author, named by aliases."""

from __future__ import annotations

import pytest

from console_for_tests import Home


def test_what_a_viewer_reads(home: Home) -> None:
    client = home.client("vera")
    models = client.get("/api/v1/models").json()["models"]
    assert [model["name"] for model in models] == ["flights", "taxi"]
    assert client.get("/api/v1/models/flights").json()["aliases"] == {"champion": 1}
    version = client.get("/api/v1/models/flights/versions/4").json()
    assert version["verdict"]["outcome"] == "pass"
    assert version["manifest"]["parity"]["passed"] is True
    assert len(client.get("/api/v1/datasets").json()["datasets"]) == 2


@pytest.mark.parametrize("path", ["nope", "flights/versions/9", "flights/versions/0", "nope/versions/1/report"])
def test_what_is_not_there(home: Home, path: str) -> None:
    answer = home.client("vera").get(f"/api/v1/models/{path}")
    assert (answer.status_code, set(answer.json())) == (404, {"error", "message", "hint", "where", "request_id"})


def test_a_report_to_read_and_to_parse(home: Home) -> None:
    client = home.client("vera")
    place = "/api/v1/models/flights/versions/4/report"
    assert client.get(place).json()["outcome"] == "pass"
    assert "sandbox" in client.get(f"{place}?format=html").headers["content-security-policy"]
    assert client.get(f"{place}?format=pdf").status_code == 422


def test_a_card_to_read_and_to_parse_and_no_bill_of_a_package_from_before(home: Home) -> None:
    client = home.client("vera")
    place = "/api/v1/models/flights/versions/4/card"
    assert client.get(place).json()["sections"][0]["facts"][0]["value"] == "flights@4"
    assert "sandbox" in client.get(f"{place}?format=html").headers["content-security-policy"]
    assert client.get(f"{place}?format=markdown").text.startswith("# flights")
    assert client.get("/api/v1/models/flights/versions/4/sbom").status_code == 404


def test_an_approval_is_a_person_s_and_not_the_author_s(fresh: Home) -> None:
    place = "/api/v1/models/flights/versions/4/approvals"
    assert fresh.client("otto").post(place, json={"role": "operator"}).status_code == 403
    anna = fresh.client("anna")
    assert anna.post(place, json={"role": "approver", "comment": "seen"}).status_code == 201
    assert anna.post(place, json={"role": "approver"}).status_code == 409


def test_an_alias_moves(fresh: Home) -> None:
    otto = fresh.client("otto")
    assert (
        otto.put("/api/v1/models/flights/aliases/challenger", json={"version": 4}).json()["aliases"]["challenger"] == 4
    )
    assert otto.put("/api/v1/models/flights/aliases/challenger", json={"version": 40}).status_code == 404
