"""Verify: the whole chain."""

from __future__ import annotations

from console_for_tests import Home


def test_the_chain_is_verified(home: Home) -> None:
    assert home.client("vera").get("/api/v1/verify").json()["ok"] is True
