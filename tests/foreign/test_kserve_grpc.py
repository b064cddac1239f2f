"""KServe's gRPC client, unmodified, in its own environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dataplane_for_tests import DataPlane
from packages_for_tests import linear_answers

DRIVES = {"inference": "kserve"}
pytestmark = pytest.mark.foreign
KSERVE = Path(__file__).parents[2] / ".venv" / "kserve" / "bin" / "python"


def test_kserve_asks(plane: DataPlane) -> None:
    if not KSERVE.exists():
        pytest.fail("the KServe client is missing: make .venv/kserve/ready")
    command = [KSERVE, Path(__file__).with_name("kserve_grpc_client.py"), f"127.0.0.1:{plane.grpc_port}", "linear"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["live"], told["ready"], told["model"]) == (True, True, True)
    expected = linear_answers(np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32))
    for form in ("raw", "contents"):
        assert told[form]["label"] == expected["label"].tolist()
        np.testing.assert_allclose(told[form]["probabilities"], expected["probabilities"], atol=1e-6)
        assert told[form]["id"] == "mine"
    assert told["load"] == "NOT_FOUND", "its name stands in another field than Triton's clients put it"
