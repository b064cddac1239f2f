"""The probe of SageMaker and MLflow: it says yes only while every endpoint answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route
from packages_for_tests import flights_like, linear_package


@pytest.mark.parametrize("environment", [{}, {"SAGEMAKER_REGION": "eu-west-1"}])
def test_it_is_503_while_one_of_several_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    plane = DataPlane(tmp_path)
    linear, flights = plane.add(linear_package, tmp_path / "a"), plane.add(flights_like, tmp_path / "b")
    plane.write(route("linear", linear), route("flights", flights))
    plane.start("--spares", "0", "--allow", "load", workers=1)
    try:
        plane.settled(workers=1)
        assert plane.ask("GET", "/ping")[::2] == (200, b'{"status":"Healthy"}\n')
        plane.ask("POST", "/v2/repository/models/flights/unload")
        assert plane.ask("GET", "/ping")[::2] == (503, b'{"status":"Unhealthy"}\n')
        assert plane.ask("GET", "/v2/health/ready").status == 200, "whoever unloaded it meant it"
        plane.ask("POST", "/v2/repository/models/flights/load")
        assert plane.ask("GET", "/ping").status == 200
        broken = plane.add(linear_package, tmp_path / "c", wrong=True)
        plane.write(route("linear", linear), route("flights", flights), route("new", broken))
        assert plane.ask("GET", "/ping").status in (200, 503)
        for _ in range(200):
            if plane.statuses()[0].failed:
                break
            plane.ask("GET", "/ping")
        assert plane.statuses()[0].failed
        assert plane.ask("GET", "/ping").status == 503
    finally:
        plane.stop()
