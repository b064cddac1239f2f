"""Predictions: traced to all that stands behind them."""

from __future__ import annotations

from console_for_tests import ANSWERED, Home


def test_a_prediction_that_nobody_made(home: Home) -> None:
    assert home.client("vera").get("/api/v1/predictions/x.0").status_code == 404


def test_a_prediction_is_traced(home: Home) -> None:
    found = home.client("vera").get(f"/api/v1/predictions/{ANSWERED}.0").json()
    assert found["package"] == home.app.state().version("flights", 3).version.digest
    assert found["line"]["outputs"]["probabilities"] == [0.31, 0.69]
    assert found["outcomes"][0]["value"] == "late"
