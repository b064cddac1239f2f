"""TensorFlow Serving's forms mean the same: rows, columns, tensors of gRPC; labels, classes, base64, events."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener_for_tests import Heard, Listener
from packages_for_tests import echo_package, flights_like, linear_answers, linear_package
from penstock.errors import InvalidInput, NotFound, NotReady, PenstockError
from penstock.records import Limits, Route, Variant
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Card, Catalogue
from penstock.serve.protocol import Prediction, Request
from penstock.serve.protocols.tfs import TfsProtocol
from penstock.serve.protos.messages import message
from penstock.serve.service import METHOD
from penstock.serve.services.tfserving import TfServingService
from penstock.serve.tensorproto import tensor_parts
from penstock.serve.tfcards import signature_defs, version_statuses
from penstock.tensors import Signature, TensorSpec, conform

Predict, Predicted = (message(f"tensorflow.serving.Predict{half}") for half in ("Request", "Response"))
PREDICT = "/tensorflow.serving.PredictionService/Predict"
ROW = [1.0, 2.0, 3.0, 4.0]
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)


class Serving:
    """A listener with a loop of its own, asked from plain tests."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.listener = self.loop.run_until_complete(self._started(folder))

    async def _started(self, folder: Path) -> Listener:
        listener = Listener(folder)
        old, new = linear_package(folder / "old"), linear_package(folder / "new", bias=1.0)
        flights, echo = flights_like(folder / "flights"), echo_package(folder / "echo")
        stable = Variant(name="stable", model="m", version=3, digest=old, share=1.0)
        canary = Variant(name="canary", model="m", version=4, digest=new, share=0.0)
        shadow = Variant(name="shadow", model="m", version=5, digest=new, shadow=True)
        one = {"model": "m", "version": 1, "name": "stable"}
        await listener.show(
            Route(endpoint="linear", release=1, variants=(canary, stable, shadow)),
            Route(endpoint="flights", release=1, variants=(Variant(digest=flights, **one),)),
            Route(endpoint="echo", release=1, variants=(Variant(digest=echo, **one),), limits=Limits(nan="token")),
            packages={
                old: str(folder / "old"), new: str(folder / "new"), flights: str(folder / "flights"),
                echo: str(folder / "echo"),
            },
        )  # fmt: skip
        return listener

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[bytes, bytes] | None = None) -> Reply:
        return self.loop.run_until_complete(self._ask(method, path, body, headers or {}))

    async def _ask(self, method: str, path: str, body: bytes, headers: dict[bytes, bytes]) -> Reply:
        if method == METHOD:
            (path,) = [
                rpc.path(body)
                for one in self.listener.protocols
                for p, rpc in getattr(one, "rpcs", {}).items()
                if p == path
            ]
        heard: list[Reply] = []
        call = Call(method, path, headers, body, time.time(), time.perf_counter())
        self.listener.flow.handle(call, heard.append)
        for _ in range(10_000):
            if heard:
                return heard[0]
            await asyncio.sleep(0)
        raise AssertionError("not answered")

    def post(self, path: str, body: object) -> dict:
        reply = self.ask("POST", path, json.dumps(body).encode())
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def usual(self, path: str, body: object) -> dict:
        """By the listener, as usual requests go."""
        return json.loads(self.heard(path, body).body)

    def heard(self, path: str, body: object, lines: str = "") -> Heard:
        """The second answer of a connection: the first request with a head goes the complete way."""
        client, data = self.listener.client(), json.dumps(body).encode()
        for _ in range(2):
            heard = self.loop.run_until_complete(client.ask(path, data, lines))
        assert heard.status == 200, heard.body
        return heard

    def predict(self, name: str, tensors: dict[str, bytes], **spec: object) -> dict[str, np.ndarray]:
        request = Predict(model_spec={"name": name, **spec})
        for key, tensor in tensors.items():
            request.inputs[key].ParseFromString(tensor)
        reply = self.ask(METHOD, PREDICT, request.SerializeToString())
        assert reply.status == 0, reply.body
        return {key: array_of(tensor) for key, tensor in Predicted.FromString(reply.body).outputs.items()}

    def close(self) -> None:
        self.listener.close()
        self.loop.close()


def array_of(tensor: object) -> np.ndarray:
    """By the fields that a client reads."""
    fields = {1: ("float_val", np.float32), 2: ("double_val", np.float64), 9: ("int64_val", np.int64)}
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype == 7:
        return np.array([one.decode() for one in tensor.string_val], object).reshape(shape)
    field, dtype = fields[tensor.dtype]
    return np.array(getattr(tensor, field), dtype).reshape(shape)


def tensor(array: np.ndarray, *, content: bool) -> bytes:
    if not content or array.dtype == object:
        return b"".join(tensor_parts(array))
    made = message("tensorflow.TensorProto")(dtype={"f4": 1, "f8": 2}[array.dtype.str[1:]])
    for size in array.shape:
        made.tensor_shape.dim.add(size=size)
    made.tensor_content = array.tobytes()
    return made.SerializeToString()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    started = Serving(tmp_path_factory.mktemp("tfserving"))
    try:
        yield started
    finally:
        started.close()


ROWS = st.lists(
    st.fixed_dictionaries({"distance": NUMBERS, "carrier": st.text(max_size=3), "delay": NUMBERS | st.none()}),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60)
@given(rows=ROWS, encoded=st.booleans(), nested=st.booleans(), content=st.booleans())
def test_rows_columns_and_tensors_mean_the_same(
    serving: Serving, rows: list[dict], encoded: bool, nested: bool, content: bool
) -> None:
    texts = [{"b64": base64.b64encode(row["carrier"].encode()).decode()} if encoded else row["carrier"] for row in rows]
    instances = [{**row, "carrier": text} for row, text in zip(rows, texts, strict=True)]
    by_row = serving.post("/v1/models/flights:predict", {"instances": instances})["predictions"]
    columns = {name: [row[name] for row in instances] for name in instances[0]}
    if nested:
        instances = [{name: [value] for name, value in row.items()} for row in instances]
        assert serving.post("/v1/models/flights:predict", {"instances": instances})["predictions"] == by_row
        columns = {name: [[value] for value in column] for name, column in columns.items()}
    by_column = serving.post("/v1/models/flights/versions/1:predict", {"inputs": columns})["outputs"]
    numbers = {
        name: np.array([[np.nan if row[name] is None else row[name]] for row in rows]) for name in ("distance", "delay")
    }
    carriers = np.array([[row["carrier"]] for row in rows], object)
    tensors = {name: tensor(array, content=content) for name, array in {**numbers, "carrier": carriers}.items()}
    by_tensor = serving.predict("flights", tensors, version_label="stable")
    assert [row["label"] for row in by_row] == by_column["label"] == by_tensor["label"].tolist()
    assert [row["probabilities"] for row in by_row] == by_column["probabilities"] == by_tensor["probabilities"].tolist()


@settings(max_examples=60)
@given(rows=st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4), min_size=1, max_size=4),
       content=st.booleans())  # fmt: skip
def test_a_matrix_means_the_same(serving: Serving, rows: list[list[float]], content: bool) -> None:
    path = "/v1/models/linear/labels/stable:predict"
    by_row = serving.post(path, {"instances": rows})["predictions"]
    by_column = serving.post(path, {"inputs": {"X": rows}})["outputs"]
    alone = serving.post(path, {"inputs": rows})
    by_tensor = serving.predict(
        "linear", {"X": tensor(np.array(rows, np.float32), content=content)}, version={"value": 3}
    )
    assert alone["outputs"] == by_column
    assert alone["predictions"] == by_row
    assert serving.post(path, {"instances": [{"X": row} for row in rows]})["predictions"] == by_row
    assert [row["probabilities"] for row in by_row] == by_column["probabilities"] == by_tensor["probabilities"].tolist()
    assert [row["label"] for row in by_row] == by_tensor["label"].tolist()
    if len(rows) == 1:
        usual = serving.usual("/v1/models/linear:predict", {"instances": rows})["predictions"]
        np.testing.assert_allclose(usual[0]["probabilities"], by_row[0]["probabilities"], atol=1e-6)


def test_a_label_is_the_name_of_a_variant(serving: Serving) -> None:
    wanted = linear_answers(np.array([ROW], np.float32), bias=1.0)["probabilities"].tolist()
    for named in ("labels/canary", "versions/4"):
        answer = serving.post(f"/v1/models/linear/{named}:predict", {"inputs": [ROW]})
        assert answer["model_version"] == "4"
        np.testing.assert_allclose(answer["outputs"]["probabilities"], wanted, atol=1e-6)
    by_tensor = serving.predict(
        "linear", {"X": tensor(np.array([ROW], np.float32), content=True)}, version_label="canary"
    )
    np.testing.assert_allclose(by_tensor["probabilities"], wanted, atol=1e-6)
    said = json.loads(serving.ask("GET", "/v1/models/linear/labels/canary").body)
    assert [one["version"] for one in said["model_version_status"]] == ["4"]
    said = json.loads(serving.ask("GET", "/v1/models/linear").body)
    assert [one["version"] for one in said["model_version_status"]] == ["4", "3"]


@pytest.mark.parametrize("named", ["labels/shadow", "versions/5", "labels/old", "versions/canary"])
def test_only_what_answers_can_be_named(serving: Serving, named: str) -> None:
    assert serving.ask("GET", f"/v1/models/linear/{named}").status == 404
    assert serving.ask("POST", f"/v1/models/linear/{named}:predict", b'{"instances":[[1,2,3,4]]}').status == 404


def test_one_output_stands_alone_and_tokens_pass_both_ways(serving: Serving) -> None:
    body = b'{"inputs": {"x": [[NaN, 1], [2, 3]]}}'
    reply = serving.ask("POST", "/v1/models/echo/versions/1:predict", body)
    assert b'"outputs":[[NaN,1.0],[2.0,3.0]]' in reply.body
    reply = serving.ask("POST", "/v1/models/echo:predict", b'{"instances": [[NaN, 1], [2, 3]]}')
    assert b'"predictions":[[NaN,1.0],[2.0,3.0]]' in reply.body


def test_text_under_a_name_of_bytes_leaves_as_base64() -> None:
    outputs = {"image_bytes": np.array(["ü", "b"], object), "label": np.array(["c", "d"], object)}
    reply = TfsProtocol().encode(Request({}), Prediction("id", "m", "1", outputs))
    assert json.loads(reply.body)["predictions"] == [
        {"image_bytes": {"b64": "w7w="}, "label": "c"},
        {"image_bytes": {"b64": "Yg=="}, "label": "d"},
    ]


def test_usual_requests_with_other_keys_or_in_events_go_the_complete_way(serving: Serving) -> None:
    path, rows = "/v1/models/flights:predict", [{"distance": 100.0, "carrier": "UA", "delay": 0.5}]
    plain = serving.usual(path, {"instances": rows})["predictions"]
    assert serving.usual(path, {"signature_name": "serving_default", "instances": rows})["predictions"] == plain
    lines = "ce-specversion: 1.0\r\nce-id: 7\r\nce-source: /s\r\nce-type: t\r\n"
    heard = serving.heard(path, {"instances": rows}, lines)
    assert b"ce-type: io.kserve.inference.response\r\n" in heard.head
    assert b"ce-source: io.kserve.inference.flights\r\n" in heard.head


@pytest.mark.parametrize(
    ("state", "told"), [("LOADING", "LOADING"), ("UNLOADING", "UNLOADING"), ("UNAVAILABLE", "END")]
)
def test_what_is_not_ready_says_so(state: str, told: str) -> None:
    card = Card("m", ("1", "10", "9"), state=state, reason="unloaded", labels={"stable": "9"})
    statuses = version_statuses(card, "")
    assert [one["version"] for one in statuses] == ["10", "9", "1"]
    assert {one["state"] for one in statuses} == {told}
    assert {one["status"]["error_code"] for one in statuses} == {"UNAVAILABLE" if told == "END" else "OK"}
    assert [one["version"] for one in version_statuses(card, "@stable")] == ["9"]
    with pytest.raises(NotReady):
        signature_defs(card)


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3)
JSON = st.recursive(
    SCALARS | st.sampled_from([{"b64": "VUE="}, {"b64": "?"}, {"b64": 1}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c", "b64"]), inner),
    max_leaves=8,
)
SIGNATURES = [
    Signature(
        inputs=tuple(TensorSpec(name=name, datatype=kind, shape=shape, nullable=True) for name, kind, shape in inputs),
        outputs=(
            TensorSpec(name="label", datatype="INT64", shape=(-1,)),
            TensorSpec(name="prediction", datatype="FP32", shape=(-1,)),
        ),
    )
    for inputs in (
        [("a", "FP32", (-1, 2))],
        [("a", "BYTES", (-1, 1)), ("b", "FP64", (-1, 1)), ("c", "BOOL", (-1,))],
        [("a", "BYTES", (-1, 2, 1))],
        [("a", "INT8", (-1, -1, -1))],
        [("a", "UINT64", (-1,)), ("b", "FP16", (-1, 3))],
    )
]


@settings(max_examples=500)
@given(
    bodies=st.dictionaries(st.sampled_from(["instances", "inputs", "examples", "context", "signature_name"]), JSON),
    signature=st.sampled_from(SIGNATURES),
    verb=st.sampled_from(["predict", "classify", "regress"]),
    event=st.booleans(),
)
def test_no_json_does_harm(bodies: dict, signature: Signature, verb: str, event: bool) -> None:
    headers: dict[bytes, bytes] = {}
    if event:
        headers = {b"content-type": b"application/cloudevents+json"}
        bodies = {"specversion": "1.0", "id": "1", "source": "/", "type": "t", "data": bodies}
    call = Call("POST", f"/v1/models/m:{verb}", headers, json.dumps(bodies).encode(), 0.0, 0.0)
    try:
        conform(signature, TfsProtocol().decode(call, signature).arrays)
    except InvalidInput:
        return


def whole_messages() -> dict[str, bytes]:
    """A good request of each method."""
    spec = {"name": "m", "version": {"value": 1}, "signature_name": "serving_default"}
    examples = message("tensorflow.serving.Input")()
    features = examples.example_list_with_context.examples.add().features.feature
    features["a"].float_list.value.extend([1, 2])
    examples.example_list_with_context.context.features.feature["b"].bytes_list.value.append(b"x")
    predict = Predict(model_spec=spec, output_filter=["label"])
    predict.inputs["a"].ParseFromString(tensor(np.ones((2, 2), np.float32), content=True))
    task = {"model_spec": spec, "method_name": "tensorflow/serving/classify"}
    made = {
        "PredictionService/Predict": predict,
        "PredictionService/Classify": asked_kind("Classification")(model_spec=spec, input=examples),
        "PredictionService/Regress": asked_kind("Regression")(model_spec=spec, input=examples),
        "PredictionService/MultiInference": asked_kind("MultiInference")(tasks=[task, task], input=examples),
        "PredictionService/GetModelMetadata": asked_kind("GetModelMetadata")(
            model_spec=spec, metadata_field=["signature_def"]
        ),
        "ModelService/GetModelStatus": asked_kind("GetModelStatus")(model_spec=spec),
        "ModelService/HandleReloadConfigRequest": asked_kind("ReloadConfig")(),
    }
    return {f"/tensorflow.serving.{path}": one.SerializeToString() for path, one in made.items()}


def test_a_context_and_tasks_do_not_multiply_without_end() -> None:
    examples = message("tensorflow.serving.Input")()
    part = examples.example_list_with_context
    part.context.features.feature["a"].float_list.value.extend([0.0] * 1000)
    part.examples.extend([message("tensorflow.Example")()] * 20_000)
    wide = Signature(inputs=(TensorSpec(name="a", datatype="FP32", shape=(-1, 1000)),), outputs=SIGNATURES[0].outputs)
    spec = {"name": "m"}
    asked = asked_kind("Classification")(model_spec=spec, input=examples)
    assert len(asked.SerializeToString()) < 1 << 20
    with pytest.raises(InvalidInput) as error:
        told(asked, "Classify", wide)
    assert "too many values" in error.value.message
    context = {f"f{at}": 1 for at in range(10_000)}
    body = json.dumps({"context": context, "examples": [{}] * 10_000}).encode()
    with pytest.raises(InvalidInput) as error:
        TfsProtocol().decode(Call("POST", "/v1/models/m:classify", {}, body, 0.0, 0.0), wide)
    assert "too many values" in error.value.message
    task = {"model_spec": spec, "method_name": "tensorflow/serving/classify"}
    with pytest.raises(InvalidInput) as error:
        told(asked_kind("MultiInference")(tasks=[task] * 10_000, input=examples), "MultiInference", wide)
    assert error.value.where == "tasks"


def told(asked: object, method: str, signature: Signature) -> Request:
    body = asked.SerializeToString()
    path = TfServingService().rpcs[f"/tensorflow.serving.PredictionService/{method}"].path(body)
    return TfServingService().decode(Call(METHOD, path, {}, body, 0.0, 0.0), signature)


def asked_kind(name: str) -> type:
    return message(f"tensorflow.serving.{name}Request")


WHOLE = whole_messages()


@settings(max_examples=600)
@given(path=st.sampled_from(sorted(WHOLE)), signature=st.sampled_from(SIGNATURES), data=st.data())
def test_no_message_does_harm(path: str, signature: Signature, data: st.DataObject) -> None:
    body = bytearray(WHOLE[path])
    for _ in range(data.draw(st.integers(0, 3)) if body else 0):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    service, catalogue = TfServingService(), Catalogue({"m": Card("m", ("1",), signature=signature)}, ready=True)
    whole = bytes(body[: len(body) - data.draw(st.integers(0, 2))])
    asked = service.rpcs[path].path(whole)
    operation = service.match(METHOD, asked)
    assert operation is not None
    call = Call(METHOD, asked, {}, whole, 0.0, 0.0)
    try:
        if operation.verb == "predict":
            service.decode(call, signature)
        else:
            service.describe(operation, catalogue, call)
    except (InvalidInput, NotFound):
        return
    except PenstockError as error:
        if error.code != "serve.unsupported":
            raise
