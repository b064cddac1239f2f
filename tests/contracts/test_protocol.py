"""Every dialect keeps the contract; what V2 and V1 answer beside the rows of ``matrix_v2.json``."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dataplane_for_tests import DataPlane, v2
from listener_for_tests import Listener, route
from packages_for_tests import linear_answers, linear_package
from penstock.adapters import TABLE, load
from penstock.errors import InvalidInput, PenstockError
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Card, Catalogue
from penstock.serve.flow import Flow
from penstock.serve.protocol import Operation, Prediction, Request, ServingProtocol
from penstock.serve.tensordata import parse
from penstock.tensors import Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec(name="X", datatype="FP32", shape=(-1, 2)),),
    outputs=(TensorSpec(name="prediction", datatype="FP32", shape=(-1,)),),
)
DIALECTS = {
    path.stem: json.loads(path.read_text())["contract"] for path in (Path(__file__).parent / "dialects").glob("*.json")
}
TEXTS = Signature(
    inputs=(TensorSpec(name="X", datatype="BYTES", shape=(-1,)),),
    outputs=(TensorSpec(name="prediction", datatype="FP32", shape=(-1, 2)),),
)


@pytest.fixture(params=sorted(TABLE["protocol"]))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def protocol(name: str) -> ServingProtocol:
    return load("protocol", name)()


@pytest.fixture
def asked(name: str) -> Call:
    """A prediction as the dialect asks for it."""
    contract = DIALECTS[name]
    method, _, path = contract["ask"].partition(" ")
    headers = {key.lower().encode(): value.encode() for key, value in contract.get("headers", {}).items()}
    return Call(method, path, headers, json.dumps(contract["json"]).encode(), 0.0, 0.0)


@pytest.fixture
def signature(name: str) -> Signature:
    """Of a model of numbers, or of texts where the dialect asks for nothing else."""
    return TEXTS if "texts" in DIALECTS[name] else SIGNATURE


def call(body: bytes) -> Call:
    return Call("POST", "/", {}, body, 0.0, 0.0)


def test_knows_its_own_paths_and_no_others(protocol: ServingProtocol, name: str, asked: Call) -> None:
    assert protocol.match(asked.method, asked.path) == Operation("predict", DIALECTS[name].get("endpoint", "m"))
    assert protocol.match("DELETE", asked.path) is None
    assert protocol.match("GET", "/console") is None


def test_decodes_what_it_was_sent(protocol: ServingProtocol, name: str, asked: Call, signature: Signature) -> None:
    request = protocol.decode(asked, signature)
    if signature is TEXTS:
        assert request.arrays["X"].tolist() == DIALECTS[name]["texts"]
        return
    assert request.arrays["X"].tolist() == [[1.0, 2.5]]
    assert request.arrays["X"].dtype == np.float32


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 250_000, b'{"a":' * 250_000, b'"x"'])
def test_refuses_what_is_no_request(protocol: ServingProtocol, asked: Call, signature: Signature, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        protocol.decode(msgspec.structs.replace(asked, body=body), signature)


def test_writes_what_json_cannot_say_as_null(protocol: ServingProtocol, asked: Call, signature: Signature) -> None:
    values = np.array([1.5, np.nan], np.float32)
    outputs = {"prediction": values[None] if signature is TEXTS else values}
    reply = protocol.encode(protocol.decode(asked, signature), Prediction("abc", "m", "3", outputs))
    assert reply.status == 200
    assert b"1.5,null" in reply.body.replace(b" ", b"")


@pytest.mark.parametrize("name", ["v1", "v2"], indirect=True)
def test_answers_with_our_prediction_id(protocol: ServingProtocol) -> None:
    reply = protocol.encode(Request({}), Prediction("abc", "m", "3", {"prediction": np.array([1.5], np.float32)}))
    assert b'"prediction_id":"abc"' in reply.body


@pytest.mark.parametrize("name", ["v1", "v2"], indirect=True)
def test_says_whether_an_endpoint_is_ready(protocol: ServingProtocol) -> None:
    catalogue = Catalogue({"m": Card("m"), "n": Card("n", ("1",), ready=True)}, ready=False)
    assert protocol.describe(Operation("model_ready", "m"), catalogue, call(b"")).status == 503
    assert protocol.describe(Operation("model_ready", "n"), catalogue, call(b"")).status == 200
    assert json.loads(protocol.describe(Operation("list"), catalogue, call(b"")).body)["models"] == ["m", "n"]


INFER = "/v2/models/linear/infer"
ROW = [[1.0, 2.0, 3.0, 4.0]]


def tensor(**changes: object) -> str:
    return json.dumps({"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": ROW[0], **changes}]})


ASKED = {
    # what is asked: method, path, body, status, a part of the answer
    "list": ("GET", "/v2/models", "", 200, b'"linear"'),
    "flat data": ("POST", INFER, tensor(), 200, b'"outputs"'),
    "nested data": ("POST", INFER, tensor(data=ROW), 200, b'"outputs"'),
    "another width": ("POST", INFER, tensor(shape=[2, 2]), 400, b'"where":"inputs.X.shape"'),
    "one output": ("POST", INFER, v2(ROW, outputs=[{"name": "label"}]), 200, b'"outputs":[{"name":"label"'),
    "NaN token": ("POST", INFER, '{"inputs":[{"name":"X","shape":[1,4],"datatype":"FP32","data":[NaN,1,1,1]}]}', 400,
                  b'"where":"inputs.X.data[0]"'),
    "load by nobody": ("POST", "/v2/repository/models/linear/load", "", 403, b"--allow load"),
    "unload by nobody": ("POST", "/v2/repository/models/linear/unload", "", 403, b"--allow load"),
    "unknown model": ("POST", "/v2/models/nothing/infer", v2(ROW), 404, b'"error"'),
    "another method": ("GET", INFER, "", 405, b'"error"'),
    "no such path": ("GET", "/v3", "", 404, b'"error"'),
    "V1 alive": ("GET", "/", "", 200, b'{"status":"alive"}'),
    "V1 list": ("GET", "/v1/models", "", 200, b'"linear"'),
    "V1 status": ("GET", "/v1/models/linear", "", 200, b'"ready":true'),
    "V1 predict": ("POST", "/v1/models/linear:predict", json.dumps({"instances": ROW}), 200, b'"predictions":[{"l'),
    "V1 no instances": ("POST", "/v1/models/linear:predict", "{}", 400, b'"where":"instances"'),
    "V1 no list": ("POST", "/v1/models/linear:predict", '{"instances":1}', 400, b'"where":"instances"'),
    "V1 a string": ("POST", "/v1/models/linear:predict", '{"instances":[[1,2,"x",4]]}', 400, b"instances[0][2]"),
    "V1 not JSON": ("POST", "/v1/models/linear:predict", "{", 400, b"not valid JSON"),
    "V1 by inputs": ("POST", "/v1/models/linear:predict", json.dumps({"inputs": ROW}), 200, b'"predictions"'),
    "V1 status of an unknown model": ("GET", "/v1/models/nothing", "", 404, b'"error"'),
    "V1 predict of an unknown model": ("POST", "/v1/models/nothing:predict", "{}", 404, b'"error"'),
    "V1 explain": ("POST", "/v1/models/linear:explain", json.dumps({"instances": ROW}), 200, b'"explanations":[{"'),
    "V1 by column": (
        "POST", "/v1/models/flights:predict",
        json.dumps({"instances": [{"distance": 10, "carrier": "UA", "delay": None}]}), 200, b'"label":"late"',
    ),
    "V1 column missing": (
        "POST", "/v1/models/flights:predict", '{"instances":[{"distance":10,"delay":1}]}', 400, b"instances[0].carrier",
    ),
    "null where nullable": (
        "POST", "/v2/models/flights/infer",
        json.dumps({"inputs": [
            {"name": "distance", "shape": [1], "datatype": "FP64", "data": [10]},
            {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["UA"]},
            {"name": "delay", "shape": [1], "datatype": "FP64", "data": [None]},
        ]}), 200, b'"data":["late"]',
    ),
    "NaN token where nullable": (
        "POST", "/v2/models/flights/infer",
        '{"inputs":[{"name":"distance","shape":[1],"datatype":"FP64","data":[10]},'
        '{"name":"carrier","shape":[1],"datatype":"BYTES","data":["NaN"]},'
        '{"name":"delay","shape":[1],"datatype":"FP64","data":[NaN]}]}', 200, b'"data":["on time"]',
    ),
    "null in text": (
        "POST", "/v2/models/flights/infer",
        '{"inputs":[{"name":"distance","shape":[1],"datatype":"FP64","data":[10]},'
        '{"name":"carrier","shape":[1],"datatype":"BYTES","data":[null]},'
        '{"name":"delay","shape":[1],"datatype":"FP64","data":[1]}]}', 400, b'"where":"inputs.carrier',
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ASKED)
def test_asked_and_answered(plane: DataPlane, row: str) -> None:
    method, path, body, status, part = ASKED[row]
    answer = plane.ask(method, path, body)
    assert answer.status == status, answer.body
    assert part in answer.body
    if status >= 400:
        assert {"error", "code"} <= answer.json.keys()


def binary(arrays: dict[str, np.ndarray], size: int | None = None, **more: object) -> tuple[bytes, dict[str, str]]:
    tail = b"".join(array.tobytes() for array in arrays.values())
    inputs = [
        {"name": k, "shape": list(a.shape), "datatype": "FP32",
         "parameters": {"binary_data_size": a.nbytes if size is None else size}}
        for k, a in arrays.items()
    ]  # fmt: skip
    head = json.dumps({"inputs": inputs, **more}).encode()
    return head + tail, {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}


X = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)


def test_binary_in_json_out(plane: DataPlane) -> None:
    body, headers = binary({"X": X})
    answer = plane.ask("POST", INFER, body, headers)
    assert answer.status == 200
    assert answer.json["outputs"][0]["data"] == linear_answers(X)["label"].tolist()


@pytest.mark.parametrize("raw_body", [False, True])
def test_binary_out(plane: DataPlane, raw_body: bool) -> None:
    if raw_body:
        body, headers = X.tobytes(), {"Inference-Header-Content-Length": "0"}
    else:
        body, headers = binary({"X": X}, parameters={"binary_data_output": True})
    answer = plane.ask("POST", INFER, body, headers)
    assert answer.status == 200, answer.body
    length = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.body[:length])["outputs"]
    assert [output["parameters"]["binary_data_size"] for output in outputs] == [16, 16]
    probabilities = np.frombuffer(answer.body[length + 16 :], np.float32).reshape(2, 2)
    np.testing.assert_allclose(probabilities, linear_answers(X)["probabilities"], atol=1e-6)


@pytest.mark.parametrize(
    "fault", ["no length header", "length too long", "no number", "size too long", "size too short"]
)
def test_binary_faults(plane: DataPlane, fault: str) -> None:
    body, headers = binary({"X": X}, {"size too long": 4000, "size too short": 16}.get(fault))
    if fault == "no length header":
        del headers["Inference-Header-Content-Length"]
    if fault in ("length too long", "no number"):
        headers["Inference-Header-Content-Length"] = "99999" if fault == "length too long" else "-x"
    assert plane.ask("POST", INFER, body, headers).status == 400


def test_gzip(plane: DataPlane) -> None:
    answer = plane.ask("POST", INFER, gzip.compress(v2(ROW).encode()), {"Content-Encoding": "gzip"})
    assert answer.status == 200


def test_text_tensors_in_binary(plane: DataPlane) -> None:
    texts = b"".join(struct.pack("<I", len(t)) + t for t in (b"UA", "Ü".encode()))
    numbers = np.array([[10.0], [10.0]])
    parts = {"distance": ("FP64", numbers.tobytes()), "carrier": ("BYTES", texts), "delay": ("FP64", numbers.tobytes())}
    inputs = [
        {"name": k, "shape": [2, 1], "datatype": t, "parameters": {"binary_data_size": len(b)}}
        for k, (t, b) in parts.items()
    ]
    head = json.dumps({"inputs": inputs, "outputs": [{"name": "label", "parameters": {"binary_data": True}}]}).encode()
    body = head + b"".join(data for _, data in parts.values())
    answer = plane.ask("POST", "/v2/models/flights/infer", body, {"Inference-Header-Content-Length": str(len(head))})
    assert answer.status == 200, answer.body
    assert answer.body.endswith(struct.pack("<I", 4) + b"late")


class Score(ServingProtocol):
    """A dialect as a cloud's would be: one path that names no endpoint, and errors in words of its own."""

    def match(self, method: str, path: str) -> Operation | None:
        return {("POST", "/score"): Operation("predict"), ("GET", "/ping"): Operation("ready")}.get((method, path))

    def decode(self, call: Call, signature: Signature) -> Request:
        rows = parse(call.body, msgspec.json.Decoder(list[list[float]]).decode)
        return Request({signature.inputs[0].name: np.array(rows, np.float32)})

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        return Reply(200, msgspec.json.encode({name: array.tolist() for name, array in prediction.outputs.items()}))

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        return Reply(200 if catalogue.ready else 503)

    def refuse(self, error: PenstockError, reference: str = "") -> Reply:
        return Reply(424, msgspec.json.encode({"message": error.message}))


async def test_a_further_dialect_is_one_file(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    try:
        digest = linear_package(tmp_path / "p")
        await listener.show(route("linear", digest), packages={digest: str(tmp_path / "p")})
        flow = Flow(listener.board, listener.flow.desk, (Score(),))

        async def asked(method: str, path: str, body: bytes) -> Reply:
            heard: list[Reply] = []
            flow.handle(Call(method, path, {}, body, time.time(), time.perf_counter()), heard.append)
            for _ in range(100):
                if heard:
                    return heard[0]
                await asyncio.sleep(0)
            raise AssertionError("not answered")

        answer = await asked("POST", "/score", json.dumps(X.tolist()).encode())
        assert json.loads(answer.body)["label"] == linear_answers(X)["label"].tolist()
        assert (await asked("GET", "/ping", b"")).status == 200
        for body in (b"[[1]]", b"{", b"[]"):
            refused = await asked("POST", "/score", body)
            assert refused.status == 424
            assert json.loads(refused.body).keys() == {"message"}
    finally:
        listener.close()
