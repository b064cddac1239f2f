"""Signing in: to a page of ours; settings stay with the browser."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from console_for_tests import Home
from penstock.console.language import TABLES


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_signing_in_goes_to_no_other_site(home: Home, wanted: str) -> None:
    client = TestClient(home.web(), base_url="http://localhost", follow_redirects=False)
    form = {"token": home.tokens["vera"], "next": wanted}
    answer = client.post("/login", data=form, headers={"origin": "http://localhost"})
    assert answer.headers["location"] == "/"


def test_settings_are_remembered(home: Home) -> None:
    client = TestClient(home.web(), base_url="http://localhost")
    answer = client.post("/settings", data={"language": "zh", "next": "/login"}, headers={"origin": "http://localhost"})
    assert TABLES["zh"]["login.lead"] in answer.text
    client.post("/settings", data={"theme": "dark"}, headers={"origin": "http://localhost"})
    assert 'data-theme="dark"' in client.get("/login").text
