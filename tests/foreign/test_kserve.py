"""KServe's client, unmodified, in an environment of its own: its pins do not agree with ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane

DRIVES = {"v2": "kserve", "v1": "kserve"}
pytestmark = pytest.mark.foreign
CLIENT = Path(__file__).parent / "kserve_client.py"
PYTHON = Path(__file__).parents[2] / ".venv" / "kserve" / "bin" / "python"


@pytest.mark.skipif(not PYTHON.exists(), reason="make test sets its environment up")
def test_v2_and_v1_over_rest(plane: DataPlane) -> None:
    row = {"distance": 100.0, "carrier": "UA", "delay": 0.5}
    command = [str(PYTHON), str(CLIENT), f"http://127.0.0.1:{plane.port}", "flights", json.dumps(row)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["v2"]["label"] == ["late"]
    assert answer["v1"][0]["label"] == "late"
    assert answer["v1"][0]["probabilities"] == pytest.approx(answer["v2"]["probabilities"])
    (explained,) = answer["explanations"]
    assert list(explained["values"]) == ["distance", "carrier", "delay"]
    assert explained["base"] + sum(explained["values"].values()) == pytest.approx(explained["answer"])
    assert explained["answer"] == pytest.approx(answer["v1"][0]["probabilities"][1])
    assert answer["ready"] is True
    assert answer["live"] is True
    assert answer["index"] == ["flights", "linear"]
    assert answer["metadata"] == ["distance", "carrier", "delay"]
