"""gRPC inference messages: every datatype in both forms, what is refused, and that REST says the same."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.serve.calls import Call
from penstock.serve.infermessage import read_request, write_response
from penstock.serve.protocol import Prediction, Request
from penstock.serve.protocols.v2 import V2Protocol
from penstock.serve.protos.messages import message
from penstock.serve.tensordata import to_raw
from penstock.tensors import DTYPES, Signature, TensorSpec

InferRequest, InferResponse = (message(f"inference.ModelInfer{half}") for half in ("Request", "Response"))
FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def signature(datatype: str = "FP32") -> Signature:
    return Signature(
        inputs=(TensorSpec(name="x", datatype=datatype, shape=(-1, 2)),),
        outputs=(TensorSpec(name="y", datatype=datatype, shape=(-1, 2)),),
    )


def request(
    datatype: str = "FP32", shape: tuple[int, ...] = (1, 2), raw: bytes | None = None, **more: object
) -> object:
    made = InferRequest(model_name="m", **more)
    made.inputs.add(name="x", datatype=datatype, shape=shape)
    if raw is not None:
        made.raw_input_contents.append(raw)
    return made


def read(made: object, datatype: str = "FP32") -> Request:
    return read_request(made.SerializeToString(), ("m", ""), signature(datatype))


def values(datatype: str) -> np.ndarray:
    if datatype == "BYTES":
        return np.array([["a", "Ünï"]], object)
    dtype = DTYPES[datatype]
    if dtype.kind in "iu":
        return np.array([[np.iinfo(dtype).min, np.iinfo(dtype).max]], dtype)
    return np.array([[0, 1]], dtype)


@pytest.mark.parametrize("datatype", [*FIELDS, "FP16"])
def test_raw_tensors(datatype: str) -> None:
    array = values(datatype)
    found = read(request(datatype, raw=to_raw(array)), datatype).arrays["x"]
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()


@pytest.mark.parametrize("datatype", FIELDS)
def test_contents(datatype: str) -> None:
    array = values(datatype)
    made = request(datatype)
    given_values = [text.encode() for text in array.ravel()] if datatype == "BYTES" else array.ravel().tolist()
    getattr(made.inputs[0].contents, FIELDS[datatype]).extend(given_values)
    found = read(made, datatype).arrays["x"]
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("datatype", [*FIELDS, "FP16"])
def test_an_answer_comes_in_the_form_of_its_request(datatype: str, raw: bool) -> None:
    array = values(datatype)
    made = request(raw=b"\0" * 8) if raw else request()
    if not raw:
        made.inputs[0].contents.fp32_contents.extend([0, 0])
    data = write_response(read(made), Prediction("our", "m", "3", {"y": array}))
    answer = InferResponse.FromString(data)
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "3", "our")
    assert answer.parameters["prediction_id"].string_param == "our"
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == (datatype, [1, 2])
    if raw or datatype == "FP16":
        assert answer.raw_output_contents[0] == to_raw(array)
        assert not answer.outputs[0].HasField("contents"), "contents and raw exclude each other"
    else:
        found = list(getattr(answer.outputs[0].contents, FIELDS[datatype]))
        assert found == ([text.encode() for text in array.ravel()] if datatype == "BYTES" else array.ravel().tolist())


def both(made: object) -> None:
    made.inputs[0].contents.fp32_contents.extend([1, 2])


BAD = {
    "contents and raw": (request(raw=b"\0" * 8), both, "do not match"),
    "raw too short": (request(raw=b"\0" * 7), None, "end inside"),
    "raw too long": (request(raw=b"\0" * 16), None, "elements"),
    "another shape": (request(shape=(2, 2), raw=b"\0" * 8), None, "elements"),
    "a negative dimension": (request(shape=(-1, 2), raw=b"\0" * 8), None, "elements"),
    "an overflowing shape": (request(shape=(2**62, 2**62), raw=b"\0" * 8), None, "elements"),
    "no datatype": (request(datatype="", raw=b"\0" * 8), None, "no such datatype"),
    "an unknown datatype": (request(datatype="float", raw=b"\0" * 8), None, "no such datatype"),
    "FP16 as contents": (request(datatype="FP16"), both, "no contents"),
    "no data": (request(), None, "elements"),
    "more raw tensors than inputs": (
        request(raw=b"\0" * 8), lambda made: made.raw_input_contents.append(b""), "more raw tensors"),
    "an input twice": (
        request(raw=b"\0" * 8), lambda made: made.inputs.add(name="x", datatype="FP32", shape=[1]), "twice"),
    "INT8 out of range": (
        request(datatype="INT8"), lambda made: made.inputs[0].contents.int_contents.extend([1, 200]), "do not fit"),
    "text that is no UTF-8": (
        request(datatype="BYTES"), lambda made: made.inputs[0].contents.bytes_contents.extend([b"\xff", b""]), "UTF-8"),
    "an unknown output": (request(raw=b"\0" * 8), lambda made: made.outputs.add(name="z"), "no such output"),
    "another model further on": (request(raw=b"\0" * 8, model_version="2"), None, "named twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str) -> None:
    made, change, words = BAD[name]
    made = InferRequest.FromString(made.SerializeToString())
    if change is not None:
        change(made)
    with pytest.raises(PenstockError, match=words):
        read(made)


def test_hints_are_those_of_rest() -> None:
    made = request(raw=b"\0" * 8, id="mine")
    made.parameters["routing_key"].string_param = "k"
    made.parameters["timeout"].int64_param = 2_000_000
    made.parameters["priority"].uint64_param = 2
    made.parameters["event_time"].double_param = 7.5
    found = read(made)
    assert (found.client_id, found.key, found.timeout_s, found.priority, found.event_time) == ("mine", "k", 2.0, 2, 7.5)
    made.parameters["timeout"].string_param = "soon"
    with pytest.raises(PenstockError, match=r"parameters\.timeout"):
        read(made)


@given(st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=1, max_size=5), st.text(max_size=8))
def test_rest_and_grpc_read_the_same(rows: list[tuple[float, float]], client_id: str) -> None:
    array = np.array(rows, np.float32)
    head = {
        "name": "x",
        "shape": list(array.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": array.nbytes},
    }
    text = json.dumps({"id": client_id, "inputs": [head]}).encode()
    headers = {b"inference-header-content-length": b"%d" % len(text)}
    rest = V2Protocol().decode(Call("POST", "/", headers, text + array.tobytes(), 0.0, 0.0), signature())
    grpc = read(request(shape=array.shape, raw=array.tobytes(), id=client_id))
    np.testing.assert_array_equal(rest.arrays["x"], grpc.arrays["x"])
    assert rest.client_id == grpc.client_id


@given(st.sampled_from([b"", b"\n\x01m"]), st.binary(max_size=200))
def test_bytes_whatever_are_read_or_refused(head: bytes, tail: bytes) -> None:
    """No other exception than our own."""
    with contextlib.suppress(PenstockError):
        assert isinstance(read_request(head + tail, ("m", ""), signature()), Request)
