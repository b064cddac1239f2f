"""The CloudEvents SDK, unmodified: what it sends is predicted, what it is answered it reads as an event."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane
from packages_for_tests import flights_answers

DRIVES = {"v1": "CloudEvents SDK"}
pytestmark = pytest.mark.foreign
CLIENT = Path(__file__).parent / "cloudevents_client.py"
# KServe's environment: KServe speaks CloudEvents by this SDK.
PYTHON = Path(__file__).parents[2] / ".venv" / "kserve" / "bin" / "python"


def test_an_event_is_answered_as_an_event(plane: DataPlane) -> None:
    if not PYTHON.exists():
        pytest.fail("the CloudEvents SDK is missing: make .venv/kserve/ready")
    row = {"distance": 100.0, "carrier": "UA", "delay": 0.5}
    url = f"http://127.0.0.1:{plane.port}/v1/models/flights:predict"
    done = subprocess.run([PYTHON, CLIENT, url, json.dumps(row)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    wanted = flights_answers([row])["probabilities"].tolist()[0]
    for mode, kind in (("binary", "application/json"), ("structured", "application/cloudevents+json")):
        event = told[mode]
        assert (event["status"], event["kind"]) == (200, kind)
        assert event["type"] == "io.kserve.inference.response"
        assert event["source"] == "io.kserve.inference.flights"
        assert event["specversion"] == "1.0"
        assert event["id"] == event["data"]["prediction_id"]
        assert event["data"]["predictions"][0]["label"] == "late"
        assert event["data"]["predictions"][0]["probabilities"] == pytest.approx(wanted)
    assert told["without time"]["data"]["predictions"][0]["label"] == "late"
