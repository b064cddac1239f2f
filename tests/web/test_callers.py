"""Who is calling is asked of the registry at every request: what was taken away is gone at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from console_for_tests import Home, seeded_home
from penstock.access.tokens import token_sha256
from penstock.web.links import login_link

ORIGIN = {"origin": "http://localhost"}


@pytest.fixture
def fresh(tmp_path: Path) -> Home:
    return seeded_home(tmp_path)


def test_rights_are_read_at_every_request(fresh: Home) -> None:
    client = TestClient(fresh.web(), base_url="http://localhost", follow_redirects=False)
    client.post("/login", data={"token": fresh.tokens["otto"]}, headers=ORIGIN)
    assert "release" in client.get("/api/v1/me").json()["permissions"]
    fresh.app.registry.add_identity("otto", ("viewer",), by=fresh.app.identity)
    assert client.get("/api/v1/me").json()["permissions"] == ["read"]
    fresh.app.registry.revoke(token_sha256(fresh.tokens["otto"]), by=fresh.app.identity)
    assert client.get("/api/v1/me").status_code == 401
    assert client.get("/").headers["location"] == "/login?next=/"


def test_a_link_s_session_ends_with_its_identity(fresh: Home) -> None:
    fresh.app.registry.add_identity("root2", ("admin",), by=fresh.app.identity)
    client = TestClient(fresh.web(), base_url="http://localhost", follow_redirects=False)
    client.get(login_link(fresh.app))
    assert client.get("/api/v1/me").status_code == 200
    fresh.app.registry.add_identity("admin", (), by=fresh.app.identity)
    assert client.get("/api/v1/me").status_code == 401


def test_signing_out_ends_the_session_here_too(fresh: Home) -> None:
    client = TestClient(fresh.web(), base_url="http://localhost", follow_redirects=False)
    client.post("/login", data={"token": fresh.tokens["vera"]}, headers=ORIGIN)
    kept = dict(client.cookies)
    client.post("/logout", headers=ORIGIN)
    client.cookies.update(kept)
    assert client.get("/api/v1/me").status_code == 401
