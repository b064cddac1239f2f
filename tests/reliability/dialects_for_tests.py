"""Bodies of other dialects as a fuzzer wants them: where each is posted, with what headers, and right ones to spoil.

Two models are meant: ``linear`` takes rows of four numbers, ``flights`` a number, a text and a number that may lack.
"""

from __future__ import annotations

import io
import json
from base64 import b64encode
from typing import NamedTuple

import numpy as np

from penstock.serve.protos.messages import message
from tests.reliability.clients_for_tests import infer_message

ROW = {"distance": 1.0, "carrier": "UA", "delay": None}
_BASE64 = b64encode(json.dumps({"instances": [ROW]}).encode()).decode()
COLUMNS = ["distance", "carrier", "delay"]


class Dialect(NamedTuple):
    """One kind of body; `alone` names the only endpoint where a dialect has no names for them."""

    name: str
    path: str
    lines: str
    seeds: tuple[bytes, ...]
    alone: str = ""


def _json(*bodies: object) -> tuple[bytes, ...]:
    return tuple(json.dumps(body).encode() for body in bodies)


def _npy(*arrays: object) -> tuple[bytes, ...]:
    made = []
    for array in arrays:
        file = io.BytesIO()
        np.save(file, np.asarray(array))
        made.append(file.getvalue())
    return tuple(made)


def _invoked(name: str, kind: str, model: str, seeds: tuple[bytes, ...]) -> Dialect:
    return Dialect(name, "/invocations", f"Content-Type: {kind}\r\n", seeds, model)


DIALECTS = (
    Dialect("TorchServe", "/predictions/flights", "Content-Type: application/json\r\n", _json([ROW], {"data": [ROW]})),
    Dialect(
        "TensorFlow Serving",
        "/v1/models/linear:predict",
        "",
        _json(
            {"signature_name": "serving_default", "inputs": [[1, 2, 3, 4]]},
            {"instances": [{"X": [1, 2, 3, 4]}]},
            {"inputs": {"X": [[1, 2, 3, 4]]}},
        ),
    ),
    Dialect(
        "events",
        "/v1/models/flights:predict",
        "Content-Type: application/cloudevents+json\r\n",
        _json(
            {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"instances": [ROW]}},
            {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data_base64": _BASE64},
        ),
    ),
    Dialect("embeddings", "/v1/embeddings", "", _json({"model": "linear", "input": ["a", "b"], "dimensions": 3})),
    Dialect(
        "Vertex",
        "/v1/endpoints/flights/deployedModels/1:predict",
        "",
        _json({"instances": [ROW], "parameters": {"priority": 5}}),
    ),
    _invoked(
        "data frames",
        "application/json",
        "flights",
        _json(
            {"dataframe_split": {"columns": COLUMNS, "data": [[1.0, "UA", None]]}},
            {"dataframe_records": [ROW]},
            {"instances": [ROW], "params": {}},
            {"inputs": {name: [value] for name, value in ROW.items()}},
        ),
    ),
    _invoked("JSON lines", "application/jsonlines", "flights", (2 * (json.dumps(ROW).encode() + b"\n"),)),
    _invoked("CSV", "text/csv", "flights", (b'distance,carrier,delay\n1.5,UA,\n2,"A,""B",3\r\n', b"1,UA,2\n")),
    _invoked(
        "arrays of numpy",
        "application/x-npy",
        "linear",
        _npy(np.ones((2, 4), np.float32), np.arange(4), np.array([["a"] * 4]), np.asfortranarray(np.ones((3, 4)))),
    ),
)
"""Over HTTP; V1 and V2 have their own."""


def predict_message() -> bytes:
    """A PredictRequest of TensorFlow Serving, of one row."""
    made = message("tensorflow.serving.PredictRequest")()
    made.model_spec.name = "linear"
    tensor = made.inputs["X"]
    tensor.dtype = 1
    for size in (1, 4):
        tensor.tensor_shape.dim.add().size = size
    tensor.float_val.extend([1.0, 2.0, 3.0, 4.0])
    return bytes(made.SerializeToString())


def contents_message() -> bytes:
    """A ModelInferRequest whose numbers stand in it one by one."""
    made = message("inference.ModelInferRequest")()
    made.model_name = "linear"
    tensor = made.inputs.add()
    tensor.name, tensor.datatype = "X", "FP32"
    tensor.shape.extend([1, 4])
    tensor.contents.fp32_contents.extend([1.0, 2.0, 3.0, 4.0])
    return bytes(made.SerializeToString())


INFER_MESSAGES = (infer_message(), contents_message())
