"""How each kind of server is asked for a row, and where the numbers are in its answer.

    Model -> TRAFFIC[name](model) -> Traffic

Servers differ in what they want and answer; all answers come down to the same numbers: two probabilities a row, or
the 1000 outputs of an image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from bench import wire
from bench.models import Model
from bench.traffic import Answer, Floats, Traffic

JSON = {"Content-Type": "application/json"}
V2_PATH = "/v2/models/small/infer"
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"


def rows(model: Model) -> Traffic:
    """``{"inputs": [[...]]}``, as one writes it by hand."""
    bodies = [{"inputs": [row]} for row in _listed(model)]
    return Traffic("/predict", JSON, _texts(bodies), model.expected, lambda answer: _numbers(answer, "probabilities"))


def v2(model: Model) -> Traffic:
    """Open Inference Protocol V2, JSON; a table is one input a column."""
    return Traffic(V2_PATH, JSON, _texts(_v2_bodies(model)), model.expected, _read_v2)


def fixed(model: Model) -> Traffic:
    """The same requests to a limit line, which always answers the same."""
    expected = np.tile([0.25, 0.75], (len(model.expected), 1))
    return v2(model)._replace(expected=expected)


def v2_mlserver(model: Model) -> Traffic:
    """The same; its scikit-learn runtime answers the label unless probabilities are named."""
    bodies = [{**body, "outputs": [{"name": "predict_proba"}]} for body in _v2_bodies(model)]
    return Traffic(V2_PATH, JSON, _texts(bodies), model.expected, _read_v2)


def v2_binary(model: Model) -> Traffic:
    """Open Inference Protocol V2 with raw tensors in and out; reads the last output that is raw."""
    spec = model.package.manifest.signature.inputs[0]
    output = model.package.manifest.signature.outputs[-1].name
    bodies: list[bytes] = []
    head = b""
    for row in np.asarray(model.rows, np.float32):
        size = {"binary_data_size": row.nbytes}
        tensor = {"name": spec.name, "shape": [1, *row.shape], "datatype": "FP32", "parameters": size}
        asked = {"inputs": [tensor], "outputs": [{"name": output, "parameters": {"binary_data": True}}]}
        head = json.dumps(asked).encode()
        bodies.append(head + row.tobytes())
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Traffic(V2_PATH, headers, bodies, model.expected, _read_v2, _tolerance(model))


def raw(model: Model) -> Traffic:
    """The tensor's bytes and nothing else, in and out: the least that a hand-made service can do."""
    bodies = [row.tobytes() for row in np.asarray(model.rows, np.float32)]
    headers = {"Content-Type": "application/octet-stream"}
    return Traffic("/raw", headers, bodies, model.expected, _read_raw, _tolerance(model))


def v2_grpc(model: Model) -> Traffic:
    """Open Inference Protocol V2 over gRPC, raw tensors."""
    spec = model.package.manifest.signature.inputs[0]
    bodies = [wire.infer_request("small", spec.name, row[None]) for row in np.asarray(model.rows, np.float32)]
    return Traffic(GRPC_PATH, {}, bodies, model.expected, lambda answer: wire.last_output(answer.body), grpc=True)


def v1(model: Model) -> Traffic:
    """KServe V1: rows as lists, or as objects by column."""
    bodies = [{"instances": [row]} for row in (_objects(model) if _is_table(model) else _listed(model))]
    return Traffic("/v1/models/small:predict", JSON, _texts(bodies), model.expected, _read_v1)


def record(model: Model) -> Traffic:
    """One object by column, as a pydantic model wants it."""
    bodies = _texts(_objects(model))
    return Traffic("/predict", JSON, bodies, model.expected, lambda answer: _numbers(answer, "probabilities"))


def invocations(model: Model) -> Traffic:
    """MLflow: ``inputs`` for a matrix, ``dataframe_records`` for a table."""
    table = _is_table(model)
    bodies = [{"dataframe_records": [row]} for row in _objects(model)] if table else [
        {"inputs": [row]} for row in _listed(model)
    ]  # fmt: skip
    return Traffic("/invocations", JSON, _texts(bodies), model.expected, lambda answer: _numbers(answer, "predictions"))


TRAFFIC: dict[str, Callable[[Model], Traffic]] = {
    made.__name__: made for made in (rows, v2, fixed, v2_mlserver, v2_binary, raw, v2_grpc, v1, record, invocations)
}


def _is_table(model: Model) -> bool:
    return isinstance(model.rows, pd.DataFrame)


def _tolerance(model: Model) -> float:
    """Sums over an image's thousand products end a little differently from machine to machine."""
    return 1e-2 if model.expected.shape[1] > 2 else 1e-4


def _listed(model: Model) -> Iterator[list[float]]:
    """Rows as lists of the shortest decimal that is the same float32."""
    for row in np.asarray(model.rows, np.float32):
        yield [float(str(value)) for value in row.ravel()]


def _objects(model: Model) -> list[dict[str, float | str]]:
    assert isinstance(model.rows, pd.DataFrame)
    return [{str(name): value for name, value in row.items()} for row in model.rows.to_dict("records")]


def _v2_bodies(model: Model) -> Iterator[dict[str, object]]:
    specs = model.package.manifest.signature.inputs
    if _is_table(model):
        for row in _objects(model):
            yield {
                "inputs": [
                    {"name": one.name, "shape": [1, 1], "datatype": one.datatype, "data": [row[one.name]]}
                    for one in specs
                ]
            }
        return
    shape = [1, *np.shape(model.rows)[1:]]
    for values in _listed(model):
        yield {"inputs": [{"name": specs[0].name, "shape": shape, "datatype": "FP32", "data": values}]}


def _texts(bodies: Iterable[Mapping[str, object]]) -> list[bytes]:
    return [json.dumps(body).encode() for body in bodies]


def _numbers(answer: Answer, key: str) -> Floats:
    return np.array(json.loads(answer.body)[key], np.float64).ravel()


def _read_raw(answer: Answer) -> Floats:
    return np.frombuffer(answer.body, np.float32).astype(np.float64)


def _read_v1(answer: Answer) -> Floats:
    """Probabilities alone, or an object with them."""
    first = json.loads(answer.body)["predictions"][0]
    return np.array(first["probabilities"] if isinstance(first, dict) else first, np.float64).ravel()


def _read_v2(answer: Answer) -> Floats:
    """The last output: the probabilities, or the one there is; raw where the answer says so."""
    length = answer.headers.get("inference-header-content-length")
    if length is None:
        return np.array(json.loads(answer.body)["outputs"][-1]["data"], np.float64).ravel()
    output = json.loads(answer.body[: int(length)])["outputs"][-1]
    size = int(output["parameters"]["binary_data_size"])
    return np.frombuffer(answer.body[-size:], np.dtype({"FP32": "f4", "FP64": "f8"}[output["datatype"]])).astype(
        np.float64
    )
