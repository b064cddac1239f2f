"""What is told on is what was asked and answered: a rebuilt request, asked again, gets the rebuilt response."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, v2
from penstock.observe.payloads import Form, request_body, response_body
from penstock.packages.read import open_package
from penstock.records import Exchange
from penstock.tensors import Signature, TensorSpec

FLIGHTS = [{"distance": 100.0, "carrier": "UA", "delay": None}, {"distance": 900.5, "carrier": "Ü", "delay": -0.25}]
ASKED = {
    "linear": v2([[1.5, -2.0, 3.0, 0.1], [0.0, 0.0, 1.0, 9.0]], id="mine"),
    "flights": json.dumps({"instances": FLIGHTS}),
}


def signature(plane: DataPlane, name: str) -> Signature:
    return open_package(Path(next(one for one in plane.packages.values() if one.endswith(name)))).manifest.signature


@pytest.mark.parametrize("form", ["v1", "v2"])
@pytest.mark.parametrize("name", ["linear", "flights"])
def test_asked_again_it_is_answered_the_same(plane: DataPlane, name: str, form: Form) -> None:
    path = f"/v2/models/{name}/infer" if name == "linear" else f"/v1/models/{name}:predict"
    first = plane.ask("POST", path, ASKED[name])
    own_id = first.headers["x-prediction-id"]
    (exchange,) = [one for one in plane.exchanges() if one.id == own_id]
    spec = signature(plane, name)
    again = plane.ask(
        "POST",
        f"/v2/models/{name}/infer" if form == "v2" else f"/v1/models/{name}:predict",
        request_body(exchange, spec, form),
    )
    assert again.status == 200, again.body
    told, answered = json.loads(response_body(exchange, spec, form)), again.json
    if form == "v1":
        assert told["predictions"] == answered["predictions"]
        return
    assert (told["model_name"], told["model_version"]) == (name, "1")
    assert told["id"] == (answered["id"] if name == "linear" else own_id)
    assert told["outputs"] == answered["outputs"]


def test_matrices_of_any_rank_keep_their_shape() -> None:
    spec = Signature(
        inputs=(
            TensorSpec(name="x", datatype="FP32", shape=(-1, 2, 2)),
            TensorSpec(name="free", datatype="INT64", shape=(-1, -1)),
        ),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 3)),),
    )
    exchange = Exchange(
        id="a", endpoint="e", release=1, model="m", version=7, variant="stable", share=1.0, key="k", event_time=1.0,
        received_at=1.0, latency_s=0.1, code="ok", rows=2,
        inputs={"x": [[[1, 2], [3, 4]], [[5, 6], [7, float("nan")]]], "free": [[1, 2, 3], [4, 5, 6]]},
        outputs={"y": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]},
    )  # fmt: skip
    asked = json.loads(request_body(exchange, spec, "v2"))
    assert asked == {
        "id": "a",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [2, 2, 2], "data": [1, 2, 3, 4, 5, 6, 7, None]},
            {"name": "free", "datatype": "INT64", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]},
        ],
    }
    assert json.loads(request_body(exchange, spec, "v1"))["instances"][0] == {"x": [[1, 2], [3, 4]], "free": [1, 2, 3]}
    assert json.loads(response_body(exchange, spec, "v1")) == {"predictions": [[1, 2, 3], [4, 5, 6]]}
