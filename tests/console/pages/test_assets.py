"""The console's own files, and no other."""

from __future__ import annotations

from fastapi.testclient import TestClient

from console_for_tests import Home


def test_an_unknown_asset_is_not_looked_for(home: Home) -> None:
    client = TestClient(home.web(), base_url="http://localhost")
    assert client.get("/static/console.css").status_code == 200
    assert client.get("/static/..%2f..%2f__init__.py").status_code == 404
    assert client.get("/static/en.json").status_code == 404
