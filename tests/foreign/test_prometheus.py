"""Prometheus' own parser on ``/metrics``: what it reads agrees with what was asked."""

from __future__ import annotations

import pytest

from dataplane_for_tests import DataPlane, v2

pytestmark = pytest.mark.foreign
parser = pytest.importorskip("prometheus_client.parser")
ROW = v2([[1.0, 2.0, 3.0, 4.0]])


def samples(plane: DataPlane) -> dict[tuple[str, str], float]:
    """Sum by name and code."""
    answer = plane.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: dict[tuple[str, str], float] = {}
    for family in parser.text_string_to_metric_families(answer.body.decode()):
        assert family.type in ("counter", "gauge", "histogram"), family.name
        for sample in family.samples:
            if sample.labels.get("endpoint", "linear") == "linear":
                key = (sample.name, sample.labels.get("code", ""))
                found[key] = found.get(key, 0.0) + sample.value
    return found


def test_counts_agree_with_the_clients_own(plane: DataPlane) -> None:
    before = samples(plane)
    for _ in range(7):
        assert plane.ask("POST", "/v2/models/linear/infer", ROW).status == 200
    for _ in range(3):
        assert plane.ask("POST", "/v2/models/linear/infer", "{}").status == 400
    after = samples(plane)

    def more(name: str, code: str = "") -> float:
        return after[name, code] - before.get((name, code), 0.0)

    assert more("penstock_requests_total", "ok") == 7
    assert more("penstock_rows_total", "ok") == 7
    assert more("penstock_latency_seconds_count", "ok") == 7
    assert more("penstock_errors_total", "input.invalid") == 3
    assert more("penstock_engine_rows_total") == 7
    assert 1 <= more("penstock_engine_runs_total") <= 7
    assert more("penstock_engine_seconds_total") > 0
