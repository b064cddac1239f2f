"""Health, the caller themselves, the description."""

from __future__ import annotations

from fastapi.testclient import TestClient

from console_for_tests import Home


def test_health_tells_nobody_anything(home: Home) -> None:
    client = TestClient(home.web(), base_url="http://localhost")
    assert client.get("/api/v1/health").json() == {"status": "ok"}


def test_who_am_i(home: Home) -> None:
    me = home.client("anna").get("/api/v1/me").json()
    assert (me["name"], me["roles"]) == ("anna", ["approver"])
    assert "approve" in me["permissions"]
    assert "release" not in me["permissions"]


def test_the_description_tells_each_permission(home: Home) -> None:
    paths = home.client("vera").get("/api/v1/openapi.json").json()["paths"]
    assert paths["/api/v1/endpoints/{endpoint}/rollback"]["post"]["x-permission"] == "rollback"
    assert "/" not in paths
