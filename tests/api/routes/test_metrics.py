"""Metrics: Prometheus text."""

from __future__ import annotations

from console_for_tests import Home


def test_metrics_are_prometheus_text(home: Home) -> None:
    text = home.client("vera").get("/metrics").text
    assert 'penstock_requests{endpoint="flights"} 183412.0' in text
    assert 'penstock_incidents_open{endpoint="flights"} 2.0' in text
