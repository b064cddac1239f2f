"""What a browser may be talked into: nothing that another site asks for."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from console_for_tests import Home
from penstock.web.sessions import COOKIE
from penstock.web.shield import MOST_BYTES

OURS = "http://localhost:8470"


@pytest.fixture(scope="module")
def client(home: Home) -> TestClient:
    return TestClient(home.web(), base_url=OURS, follow_redirects=False)


@pytest.fixture
def signed_in(home: Home, client: TestClient) -> TestClient:
    client.cookies.clear()
    assert client.post("/login", data={"token": home.tokens["root"]}, headers={"origin": OURS}).status_code == 303
    return client


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:8470", "[::1]:8470", "LOCALHOST:8470"])
def test_loopback_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1:8470", "", "[::1", "localhost@evil"],
)
def test_another_name_is_dns_rebinding(client: TestClient, host: str) -> None:
    answer = client.get("/api/v1/health", headers={"host": host})
    assert (answer.status_code, answer.json()["error"]) == (403, "web.host")
    assert "evil" not in answer.text


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://localhost:9999",
        "http://127.0.0.1:8470",
        "http://localhost:8470.evil.example",
        "",
    ],
)
def test_a_change_asked_for_elsewhere_is_refused(signed_in: TestClient, origin: str) -> None:
    answer = signed_in.post("/endpoints/flights/rollback", data={}, headers={"origin": origin})
    assert (answer.status_code, answer.json()["error"]) == (403, "web.origin")


def test_a_cookie_without_an_origin_changes_nothing(signed_in: TestClient) -> None:
    answer = signed_in.post("/endpoints/nope/rollback", data={})
    assert (answer.status_code, answer.json()["error"]) == (403, "web.origin")
    assert signed_in.post("/endpoints/nope/rollback", data={}, headers={"origin": OURS}).status_code == 404


def test_a_program_needs_no_origin(home: Home, client: TestClient) -> None:
    client.cookies.clear()
    headers = {"authorization": f"Bearer {home.tokens['root']}"}
    assert client.post("/api/v1/endpoints/nope/rollback", json={}, headers=headers).status_code == 404
    crossing = headers | {"sec-fetch-site": "cross-site"}
    assert client.post("/api/v1/endpoints/nope/rollback", json={}, headers=crossing).status_code == 403


def test_looking_needs_no_origin(signed_in: TestClient) -> None:
    assert signed_in.get("/models", headers={"origin": "https://evil.example"}).status_code == 200


def test_the_cookie_is_for_the_server_alone(home: Home, client: TestClient) -> None:
    client.cookies.clear()
    answer = client.post("/login", data={"token": home.tokens["root"]}, headers={"origin": OURS})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert home.tokens["root"] not in cookie


@pytest.mark.parametrize("path", ["/", "/login", "/static/console.css", "/api/v1/health", "/api/v1/models", "/nowhere"])
def test_every_answer_is_armed(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert "script-src 'self';" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"]
    assert "access-control-allow-origin" not in headers
    if not path.startswith("/static/"):
        assert headers["cache-control"] == "no-store"


def test_a_body_too_large_is_refused_unread(home: Home, client: TestClient) -> None:
    client.cookies.clear()
    headers = {"authorization": f"Bearer {home.tokens['root']}", "content-type": "application/json"}
    said = client.post(
        "/api/v1/endpoints/flights/outcomes", content=b"x", headers=headers | {"content-length": str(MOST_BYTES + 1)}
    )
    assert said.status_code == 413
    chunks = (b" " * (1 << 20) for _ in range(MOST_BYTES // (1 << 20) + 1))
    streamed = client.post("/api/v1/endpoints/flights/outcomes", content=chunks, headers=headers)
    assert streamed.status_code == 413
