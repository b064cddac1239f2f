"""TensorFlow Serving's published stubs, unmodified, in an environment of their own; and our messages beside theirs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import penstock.serve.protos
from dataplane_for_tests import DataPlane, route
from packages_for_tests import flights_answers, flights_like, linear_answers, linear_package, slow_package
from penstock.records import Limits

DRIVES = {"tfserving": "tensorflow-serving-api"}
pytestmark = pytest.mark.foreign
PYTHON = Path(__file__).parents[2] / ".venv" / "tensorflow" / "bin" / "python"
CLIENT = Path(__file__).with_name("tensorflow_client.py")
DESCRIPTORS = Path(penstock.serve.protos.__file__).with_name("services.binpb")
X = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)
ROWS = [{"distance": 100.0, "carrier": "UA", "delay": 0.5}, {"distance": 900.0, "carrier": "B6", "delay": None}]
NOT_FOUND = {
    "unknown model", "unknown version", "negative version", "unknown label", "metadata of an unknown model",
    "status of an unknown model", "status of an unknown version",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """What the client heard of a server with a classifier of each kind and a regression."""
    if not PYTHON.exists():
        pytest.fail("TensorFlow Serving's stubs are missing: make .venv/tensorflow/ready")
    home = tmp_path_factory.mktemp("tensorflow")
    own = DataPlane(home)
    limits = Limits(max_rows=50_000)
    own.write(
        route("linear", own.add(linear_package, home / "linear"), limits=limits),
        route("flights", own.add(flights_like, home / "flights")),
        route("sum", own.add(slow_package, home / "sum", rounds=1)),
    )
    own.start("--spares", "0", "--grpc-port", "0", workers=1)
    try:
        own.settled(workers=1)
        command = [str(PYTHON), str(CLIENT), f"127.0.0.1:{own.grpc_port}", str(DESCRIPTORS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        yield json.loads(done.stdout.splitlines()[-1])
    finally:
        own.stop()


@pytest.mark.parametrize("form", ["content", "values", "integers", "version", "label"])
def test_predict(told: dict, form: str) -> None:
    wanted = linear_answers(X)
    assert told[form]["label"] == wanted["label"].tolist()
    np.testing.assert_allclose(told[form]["probabilities"], wanted["probabilities"], atol=1e-6)


def test_predict_answers_as_their_server_does(told: dict) -> None:
    assert told["spec"] == ["linear", 1, "serving_default"]
    np.testing.assert_allclose(told["float_val"], linear_answers(X)["probabilities"].ravel(), atol=1e-6)
    assert list(told["filtered"]) == ["label"]
    last = linear_answers(np.array([[1, 2, 2, 2]], np.float32))
    np.testing.assert_allclose(told["last repeated"]["probabilities"], last["probabilities"], atol=1e-6)
    assert told["large"] == pytest.approx(20_000, rel=1e-5)


def test_text_and_what_is_missing(told: dict) -> None:
    wanted = flights_answers(ROWS)
    assert told["flights"]["label"] == wanted["label"].tolist()
    np.testing.assert_allclose(told["flights"]["probabilities"], wanted["probabilities"])


def test_examples(told: dict) -> None:
    wanted = flights_answers(ROWS)["probabilities"]
    assert [[label for label, _ in row] for row in told["classes"]] == [["on time", "late"]] * 2
    np.testing.assert_allclose([[score for _, score in row] for row in told["classes"]], wanted, rtol=1e-6)
    np.testing.assert_allclose([[score for _, score in row] for row in told["context"]], wanted[:1], rtol=1e-6)
    assert told["regressions"] == [10.0]
    assert told["tasks"] == [["0", "1"]]


def test_metadata_and_status(told: dict) -> None:
    assert told["metadata"] == {
        "distance": ["DT_DOUBLE", [-1, 1]],
        "carrier": ["DT_STRING", [-1, 1]],
        "delay": ["DT_DOUBLE", [-1, 1]],
        "label": ["DT_STRING", [-1]],
        "probabilities": ["DT_DOUBLE", [-1, 2]],
    }
    assert told["method"] == "tensorflow/serving/predict"
    assert told["status"] == [[1, "AVAILABLE", 0]]


def test_bad_requests_have_a_status_each(told: dict) -> None:
    wanted = {
        name: "NOT_FOUND" if name in NOT_FOUND else "UNIMPLEMENTED" if name == "another configuration" else
        "INVALID_ARGUMENT"
        for name in told["refused"]
    }  # fmt: skip
    assert len(wanted) >= 30
    assert {name: status for name, (status, _) in told["refused"].items()} == wanted
    assert all(text for _, text in told["refused"].values())


def test_our_messages_are_numbered_and_typed_as_published(told: dict) -> None:
    assert told["differences"] == []
