"""What SageMaker's headers carry: attributes and ids come back, the target chooses, the log has the id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route, until
from packages_for_tests import flights_like, linear_package

ATTRIBUTES = 'trace=1234; user="a b"'
ROW = {"distance": 100.0, "carrier": "UA", "delay": 0.5}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    home: Path = tmp_path_factory.mktemp("sagemaker")
    plane = DataPlane(home)
    linear, flights = plane.add(linear_package, home / "linear"), plane.add(flights_like, home / "flights")
    plane.write(route("linear", linear), route("flights", flights))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")
        plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        yield plane
    finally:
        plane.stop()


@pytest.mark.parametrize("v2", [False, True])
def test_attributes_and_inference_id_come_back(two: DataPlane, v2: bool) -> None:
    headers = {
        "X-Amzn-SageMaker-Target-Model": "linear",
        "X-Amzn-SageMaker-Custom-Attributes": ATTRIBUTES,
        "X-Amzn-SageMaker-Inference-Id": f"mine-{v2}",
        "Content-Type": "application/json",
    }
    tensor = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    answer = two.ask("POST", "/invocations", json.dumps({"inputs": [tensor]} if v2 else [[1, 2, 3, 4]]), headers)
    assert answer.status == 200
    assert answer.headers["x-amzn-sagemaker-custom-attributes"] == ATTRIBUTES
    assert answer.headers["x-amzn-sagemaker-inference-id"] == f"mine-{v2}"
    assert "x-prediction-id" in answer.headers
    until(lambda: any(one.client_id == f"mine-{v2}" for one in two.exchanges()))


def test_the_usual_answer_is_what_the_environment_says(two: DataPlane) -> None:
    headers = {"X-Amzn-SageMaker-Target-Model": "flights", "Content-Type": "application/json"}
    body = json.dumps({"dataframe_records": [ROW], "params": {"outputs": "label"}})
    assert two.ask("POST", "/invocations", body, headers).body == b"late\n"
    assert two.ask("POST", "/invocations", body, {**headers, "Accept": "application/json"}).json == {
        "predictions": ["late"]
    }


def test_mlflow_keeps_the_paths_that_are_its_own(two: DataPlane) -> None:
    assert two.ask("GET", "/health").status == two.ask("GET", "/version").status == 200
