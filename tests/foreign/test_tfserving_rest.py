"""TensorFlow Serving's REST as its documents show it: their model, their requests, their answers.

Bodies go as ``curl -d`` sends them, with the content type of a form. Source: TensorFlow Serving's ``api_rest`` and
``tensorflow_model_server_test.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from dataplane_for_tests import DataPlane, route
from packages_for_tests import flights_like, half_plus_two_package

DRIVES = {"tfs": "TensorFlow Serving's documented requests"}
pytestmark = pytest.mark.foreign
MODEL = "/v1/models/half_plus_two"
DOCUMENTED = {
    "predict by row": (f"{MODEL}:predict", {"instances": [1.0, 2.0, 5.0]}, {"predictions": [2.5, 3.0, 4.5]}),
    "predict by column": (f"{MODEL}:predict", {"inputs": [1.0, 2.0, 5.0]}, {"outputs": [2.5, 3.0, 4.5]}),
    "predict with a signature": (
        f"{MODEL}:predict", {"signature_name": "serving_default", "instances": [2.0]}, {"predictions": [3.0]},
    ),
    "predict by named column": (f"{MODEL}:predict", {"inputs": {"x": [2.0, 3.0]}}, {"outputs": [3.0, 3.5]}),
    "predict by named row": (f"{MODEL}:predict", {"instances": [{"x": 2.0}, {"x": 3.0}]}, {"predictions": [3.0, 3.5]}),
    "a version": (f"{MODEL}/versions/1:predict", {"instances": [2.0]}, {"predictions": [3.0]}),
    "a label": (f"{MODEL}/labels/stable:predict", {"instances": [2.0]}, {"predictions": [3.0]}),
    "regress": (f"{MODEL}:regress", {"examples": [{"x": 2.0}, {"x": [3.0]}]}, {"results": [3.0, 3.5]}),
}  # fmt: skip


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("tfserving")
    own = DataPlane(home)
    own.write(
        route("half_plus_two", own.add(half_plus_two_package, home / "half")),
        route("flights", own.add(flights_like, home / "flights")),
    )
    own.start("--spares", "0", workers=1)
    try:
        own.settled(workers=1)
        yield f"http://127.0.0.1:{own.port}"
    finally:
        own.stop()


@pytest.mark.parametrize("row", DOCUMENTED)
def test_requests_as_documented(url: str, row: str) -> None:
    path, body, wanted = DOCUMENTED[row]
    answer = json.load(urlopen(url + path, json.dumps(body).encode(), timeout=20))
    assert {name: answer[name] for name in wanted} == wanted


def test_classes_as_documented(url: str) -> None:
    body = {"examples": [{"distance": 100.0, "carrier": {"b64": "VUE="}, "delay": 0.5}]}
    answer = json.load(urlopen(f"{url}/v1/models/flights:classify", json.dumps(body).encode(), timeout=20))
    ((first, second),) = answer["results"]
    assert (first[0], second[0]) == ("on time", "late")
    assert first[1] + second[1] == pytest.approx(1)


def test_status_as_documented(url: str) -> None:
    wanted = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert json.load(urlopen(f"{url}{MODEL}", timeout=20))["model_version_status"] == [wanted]
    assert json.load(urlopen(f"{url}{MODEL}/versions/1", timeout=20)) == {"model_version_status": [wanted]}


def test_metadata_as_documented(url: str) -> None:
    said = json.load(urlopen(f"{url}{MODEL}/metadata", timeout=20))
    assert said["model_spec"] == {"name": "half_plus_two", "signature_name": "", "version": "1"}
    one = said["metadata"]["signature_def"]["signature_def"]["serving_default"]
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert one["inputs"] == {"x": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "x:0"}}
    assert one["outputs"] == {"y": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "y:0"}}
    assert one["method_name"] == "tensorflow/serving/predict"


def test_metrics_count_under_their_names(url: str) -> None:
    def counted() -> dict[str, float]:
        lines = urlopen(f"{url}/monitoring/prometheus/metrics", timeout=20).read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    names = (
        ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"}',
        ':tensorflow:serving:request_latency_count{model_name="half_plus_two",API="predict"}',
        ':tensorflow:core:graph_runs{model_name="half_plus_two"}',
    )
    before = counted()
    json.load(urlopen(f"{url}{MODEL}:predict", b'{"instances": [1.0]}', timeout=20))
    after = counted()
    assert [after[name] - before[name] for name in names] == [1, 1, 1]
    time = ':tensorflow:core:graph_run_time_usecs{model_name="half_plus_two"}'
    assert after[time] > before[time]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{MODEL}:predict", b'{"instances": ["a"]}', 400),
        (f"{MODEL}:predict", b'{"instances": [1], "inputs": [1]}', 400),
        (f"{MODEL}/versions/9:predict", b'{"instances": [1]}', 404),
        ("/v1/models/other:predict", b'{"instances": [1]}', 404),
    ],
)
def test_errors_are_text_under_error(url: str, path: str, body: bytes, status: int) -> None:
    with pytest.raises(HTTPError) as found:
        urlopen(Request(url + path, body), timeout=20)
    assert found.value.code == status
    assert isinstance(json.load(found.value)["error"], str)
