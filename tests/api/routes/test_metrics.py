"""Metrics: Prometheus text."""

from __future__ import annotations

from console_for_tests import Home, observed
from penstock.app.views import EndpointView, Observed, QualityPoint, write_observed


def test_metrics_are_prometheus_text(home: Home) -> None:
    text = home.client("vera").get("/metrics").text
    assert 'penstock_requests{endpoint="flights"} 183412.0' in text
    assert "penstock_drift_psi{" in text


def test_open_incidents_are_counted_by_severity(home: Home) -> None:
    text = home.client("vera").get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith('penstock_incidents_open{endpoint="flights"')]
    counts = {line.split('severity="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1]) for line in lines}
    assert set(counts) == {"page", "ticket", "record"}
    assert sum(counts.values()) == 2.0


def test_an_invalid_estimate_is_left_out_and_the_last_labelled_day_is_told(fresh: Home) -> None:
    points = (
        QualityPoint(at=1.0, rows=10, metric="auc", estimated=0.8, estimated_low=0.7, estimated_high=0.9, realised=0.6),
        QualityPoint(at=2.0, rows=10, metric="auc", estimated=0.9, estimated_low=0.7, estimated_high=0.9, valid=False),
        QualityPoint(at=2.0, rows=10, metric="accuracy", estimated=0.5, estimated_low=0.4, estimated_high=0.6),
    )
    view = EndpointView(endpoint="flights", release=1, quality=points)
    write_observed(fresh.app.home, Observed(at=1.0, endpoints={"flights": view}))
    text = fresh.client("vera").get("/metrics").text
    write_observed(fresh.app.home, observed())
    assert 'penstock_quality_estimated{endpoint="flights",metric="accuracy"} 0.5' in text
    assert 'penstock_quality_estimated{endpoint="flights",metric="auc"}' not in text
    assert 'penstock_quality_realised{endpoint="flights",metric="auc"} 0.6' in text
