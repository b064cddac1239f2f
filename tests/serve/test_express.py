"""The express answers exactly what the complete path does: one is the other's oracle."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from figures_for_tests import FULL
from listener_for_tests import OWN_ID, Heard, Listener, route
from packages_for_tests import flights_like, linear_package
from penstock.errors import ModelFailed
from penstock.records import Batching, Exchange, Grant, Limits
from penstock.runtime.engine import Engine
from penstock.serve.calls import Call
from penstock.serve.express import Failure
from penstock.serve.lane import Job
from penstock.serve.protos.messages import message
from penstock.serve.service import METHOD
from penstock.serve.services.inference import InferenceService
from penstock.tensors import Arrays

INFER = message("inference.ModelInferRequest")
COMPLETE = "x-deadline-ms: 60000\r\n"
"""A header that says something of one request: it goes the complete way."""

TEXTS = st.one_of(st.sampled_from(["UA", "B6", "", '"],["', "%b", "é\u2028"]), st.text(max_size=6))
ODD = st.one_of(st.none(), st.booleans(), TEXTS, st.just([]), st.just({}))


def mostly(usual: st.SearchStrategy, odd: st.SearchStrategy) -> st.SearchStrategy:
    return st.integers(0, 19).flatmap(lambda die: odd if die == 0 else usual)


ANY_NUMBER = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -0.0, 1e39, 3.4028235e38, 3.4028236e38, 1e-50]),
)
NUMBERS = mostly(st.one_of(st.floats(-1e3, 1e3), st.integers(-9, 9)), ANY_NUMBER)
IDS = st.one_of(st.sampled_from(['"', "\\", "%s", "7", ""]), st.text(max_size=8), st.none(), st.integers())


@st.composite
def v2_tensor(draw: st.DrawFn, name: str, datatype: str, width: int, values: st.SearchStrategy) -> dict:
    rows = draw(mostly(st.just(1), st.integers(0, 3)))
    data = draw(st.lists(mostly(values, ODD), min_size=rows * width, max_size=rows * width))
    nested = [data[at : at + width] for at in range(0, len(data), width)]
    tensor = {
        "name": draw(mostly(st.just(name), TEXTS)),
        "shape": draw(mostly(st.just([rows, width]), st.lists(st.integers(-1, 5), max_size=3))),
        "datatype": draw(mostly(st.just(datatype), st.sampled_from(["FP32", "FP64", "INT64", "BYTES", "BOOL", "x"]))),
        "data": draw(mostly(st.just(data), st.just(nested))),
    }
    for extra in draw(
        st.lists(st.sampled_from(["parameters", "more"]), max_size=1) if draw(st.booleans()) else st.just([])
    ):
        tensor[extra] = {}
    return tensor


@st.composite
def v2_body(draw: st.DrawFn, inputs: list[tuple]) -> bytes:
    tensors = [draw(v2_tensor(*one)) for one in inputs]
    body: dict = {"inputs": draw(mostly(st.just(tensors), st.permutations(tensors)))}
    if draw(st.booleans()):
        body["id"] = draw(IDS)
    if draw(st.booleans()):
        body["parameters"] = draw(
            st.one_of(
                st.fixed_dictionaries({"routing_key": TEXTS}),
                st.fixed_dictionaries({"event_time": st.one_of(st.floats(-1, 2e11), st.just("2013-01-01"))}),
                st.fixed_dictionaries({"binary_data_output": st.booleans()}),
                st.none(),
            )
        )
    if draw(st.integers(0, 5)) == 0:
        body["outputs"] = [{"name": draw(st.sampled_from(["label", "probabilities", "x"]))}]
    text = json.dumps(body).encode()
    return draw(
        mostly(st.just(text), st.sampled_from([text[:-1], b"", b"[]", text + b" ", text.replace(b"1", b"NaN", 1)]))
    )


LINEAR = v2_body([("X", "FP32", 4, NUMBERS)])
FLIGHTS = v2_body(
    [
        ("distance", "FP64", 1, NUMBERS),
        ("carrier", "BYTES", 1, TEXTS),
        ("delay", "FP64", 1, st.one_of(NUMBERS, st.none())),
    ]
)


@st.composite
def v1_body(draw: st.DrawFn, names: list[str], values: list[st.SearchStrategy]) -> bytes:
    def instance() -> object:
        row = [draw(mostly(one, ODD)) for one in values]
        if draw(st.booleans()) and len(names) > 1:
            return draw(
                mostly(st.just(dict(zip(names, row, strict=True))), st.just(dict(zip(names[1:], row[1:], strict=True))))
            )
        return draw(mostly(st.just(row), st.just(row[1:])))

    body = {"instances": [instance() for _ in range(draw(mostly(st.just(1), st.integers(0, 3))))]}
    if draw(st.integers(0, 9)) == 0:
        body["more"] = []
    return json.dumps(body).encode()


@st.composite
def raw_body(draw: st.DrawFn) -> tuple[bytes, int]:
    values = draw(st.lists(st.floats(width=32), min_size=4, max_size=4))
    raw = np.array(values, np.float32).tobytes() + draw(mostly(st.just(b""), st.just(b"1234")))
    tensor = {"name": "X", "shape": draw(mostly(st.just([1, 4]), st.just([4]))), "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": draw(mostly(st.just(16), st.integers(0, 20)))}
    part: dict = {"inputs": [tensor]}
    if draw(st.booleans()):
        part["parameters"] = {"binary_data_output": draw(st.booleans())}
    if draw(st.booleans()):
        names = draw(st.lists(st.sampled_from(["label", "probabilities", "x"]), min_size=1, max_size=2))
        part["outputs"] = [{"name": n, "parameters": {"binary_data": draw(st.booleans())}} for n in names]
    text = json.dumps(part).encode()
    return text + raw, len(text)


@pytest.fixture(params=["inline", "thread"])
def mode(request: pytest.FixtureRequest) -> str:
    """Where the models run: on the event loop, or elsewhere, so that requests wait in a queue."""
    return request.param


@pytest.fixture
async def listener(tmp_path: Path, mode: str) -> AsyncIterator[Listener]:
    one = Listener(tmp_path)
    limits = Limits(batching=Batching(mode=mode))
    packages = {
        linear_package(tmp_path / "a"): str(tmp_path / "a"),
        linear_package(tmp_path / "b", bias=3.0): str(tmp_path / "b"),
        flights_like(tmp_path / "c"): str(tmp_path / "c"),
    }
    a, b, c = packages
    await one.show(
        route("linear", a, b, shares=(0.3, 0.7), salt="s", limits=limits),
        route("flights", c, thresholds={"late": 0.6}, limits=limits),
        packages=packages,
    )
    assert {model.lane.inline for model in one.shelf.models.values()} == {mode == "inline"}
    yield one
    one.close()


async def both(listener: Listener, path: str, body: bytes, lines: str = "") -> tuple[Heard, list[Exchange]]:
    """Ask both ways; they must answer and record the same, and that is returned."""
    client = listener.client()
    await client.ask(path, body, lines)
    listener.exchanges()
    express = await client.ask(path, body, lines)
    (recorded,) = listener.exchanges()
    complete = await client.ask(path, body, COMPLETE + lines)
    (wanted,) = listener.exchanges()
    assert express == complete or recorded.version != wanted.version
    chosen = {"id", "latency_s", "received_at", "version", "variant", "share", "outputs"}
    same = [
        (name, getattr(recorded, name), getattr(wanted, name))
        for name in Exchange.__struct_fields__
        if name not in chosen
    ]
    for name, one, other in same:
        if name == "key" and one == recorded.id:
            assert other == wanted.id
        elif name == "event_time" and one == recorded.received_at:
            assert other == wanted.received_at
        else:
            assert repr(one) == repr(other), name
    if recorded.version == wanted.version:
        assert repr(recorded.outputs) == repr(wanted.outputs)
    return express, [recorded]


MANY = settings(
    max_examples=250 if FULL else 120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize(("path", "bodies"), [("linear", LINEAR), ("flights", FLIGHTS)])
async def test_v2_json_is_answered_as_the_complete_path_does(
    listener: Listener, path: str, bodies: st.SearchStrategy
) -> None:
    await _all(listener, f"/v2/models/{path}/infer", bodies)


async def test_v1_is_answered_as_the_complete_path_does(listener: Listener) -> None:
    names = ["distance", "carrier", "delay"]
    await _all(listener, "/v1/models/flights:predict", v1_body(names, [NUMBERS, TEXTS, st.one_of(NUMBERS, st.none())]))
    await _all(listener, "/v1/models/linear:predict", v1_body(list("abcd"), [NUMBERS] * 4))


async def _all(listener: Listener, path: str, bodies: st.SearchStrategy) -> None:
    found: list[bytes] = []

    @MANY
    @given(bodies)
    def collect(body: bytes) -> None:
        found.append(body)

    collect()
    statuses = Counter([(await both(listener, path, body))[0].status for body in found])
    assert statuses[200] > 10
    assert statuses[400] > 10


async def test_raw_tensors_are_answered_as_the_complete_path_does(listener: Listener) -> None:
    found: list[tuple[bytes, int]] = []

    @MANY
    @given(raw_body())
    def collect(body: tuple[bytes, int]) -> None:
        found.append(body)

    collect()
    statuses = set()
    for body, length in found:
        lines = f"Inference-Header-Content-Length: {length}\r\n"
        statuses.add((await both(listener, "/v2/models/linear/infer", body, lines))[0].status)
    assert {200, 400} <= statuses


def v2_row(*values: object) -> bytes:
    return json.dumps({"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": values}]}).encode()


@pytest.mark.parametrize("mode", ["inline"], indirect=True)
async def test_a_turn_is_one_run_one_frame_and_each_its_own_answer(listener: Listener) -> None:
    path = "/v2/models/linear/infer"
    clients = [listener.client() for _ in range(12)]
    for client in clients:
        for _ in range(2):
            await client.ask(path, v2_row(1, 2, 3, 4))
    frames = listener.frames()
    runs = sum(model.lane.tally.runs for model in listener.shelf.models.values())
    bodies = [v2_row(number, 0, 0, 1) for number in range(11)] + [v2_row("x", 0, 0, 1)]
    sizes = {len(body) for body in bodies}
    bodies = [body + b" " * (max(sizes) - len(body)) for body in bodies]
    await clients[0].ask(path, bodies[0])
    await clients[0].ask(path, bodies[0])
    frames, runs = listener.frames(), sum(model.lane.tally.runs for model in listener.shelf.models.values())
    listener.exchanges()
    for client, body in zip(clients, bodies, strict=True):
        client.send(path, body)
    heard = [await client.hear() for client in clients]
    assert [one.status for one in heard] == [200] * 11 + [400]
    scores = [json.loads(one.body)["outputs"][1]["data"][1] for one in heard[:11]]
    recorded = {one.inputs["X"][0][0]: one for one in listener.exchanges() if one.code == "ok"}
    for number, score in enumerate(scores):
        assert recorded[number].outputs["probabilities"][0][1] == score, "an answer is somebody else's"
    assert sum(model.lane.tally.runs for model in listener.shelf.models.values()) - runs == 2, "one run a variant"
    assert listener.frames() - frames == 3, "one a variant, one for the refused"


async def test_what_changes_on_the_board_is_seen_at_the_next_request(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    packages = {
        linear_package(tmp_path / "a"): str(tmp_path / "a"),
        linear_package(tmp_path / "b", bias=3.0): str(tmp_path / "b"),
    }
    a, b = packages
    grant = Grant(token_sha256=sha256(b"secret").hexdigest(), subject="ada", permissions=("predict",))
    bearer = "Authorization: Bearer secret\r\n"
    client = listener.client()
    path = "/v2/models/linear/infer"

    async def statuses() -> list[int]:
        return [(await client.ask(path, v2_row(1, 2, 3, 4), bearer)).status for _ in range(3)]

    await listener.show(route("linear", a, public=False), packages=packages, grants=(grant,))
    assert await statuses() == [200] * 3
    assert {one.subject for one in listener.exchanges()} == {"ada"}
    await listener.show(route("linear", b, public=False), packages=packages, grants=(grant,))
    assert b"x-variant: v1" in (await client.ask(path, v2_row(1, 2, 3, 4), bearer)).head
    assert listener.exchanges()[-1].outputs["probabilities"][0][1] > 0.99
    await listener.show(route("linear", b, public=False), packages=packages)
    assert await statuses() == [401] * 3
    soon = Grant(token_sha256=grant.token_sha256, subject="ada", permissions=("predict",), expires_at=time.time() + 0.3)
    await listener.show(route("linear", a, public=False), packages=packages, grants=(soon,))
    assert await statuses() == [200] * 3
    await asyncio.sleep(0.35)
    assert await statuses() == [401] * 3
    listener.close()


async def test_the_log_policies_hold(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    packages = {linear_package(tmp_path / "a"): str(tmp_path / "a")}
    (a,) = packages
    client = listener.client()
    for policy, recorded in (("off", 0), ("normal", 3), ("strict", 3)):
        await listener.show(route("linear", a, limits=Limits(log=policy)), packages=packages)
        for _ in range(3):
            client.send("/v2/models/linear/infer", v2_row(1, 2, 3, 4))
            while not client.wire.written:
                await asyncio.sleep(0.001)
            assert (await client.hear()).status == 200
        assert len(listener.exchanges()) == recorded, policy
    listener.close()


async def test_pipelined_requests_are_answered_in_order(listener: Listener) -> None:
    client = listener.client()
    path = "/v2/models/flights/infer"
    columns = [("distance", "FP64", "%d"), ("carrier", "BYTES", '"UA"'), ("delay", "FP64", "null")]
    tensor = '{"name":"%s","shape":[1,1],"datatype":"%s","data":[%s]}'
    inputs = ",".join(tensor % column for column in columns)
    body = f'{{"inputs":[{inputs}],"id":"%d"}}'.encode()
    await client.ask(path, body % (1, 0))
    for number in range(1, 10):
        client.send(path, body % (number, number))
    await asyncio.sleep(0.05)
    whole = b"".join(client.wire.written)
    places = [whole.index(b'"id":"%d"' % number) for number in range(1, 10)]
    assert places == sorted(places)


@st.composite
def grpc_body(draw: st.DrawFn) -> bytes:
    """A ModelInferRequest, mostly usual."""
    values = draw(st.lists(st.one_of(st.floats(-1e3, 1e3, width=32), st.floats(width=32)), min_size=4, max_size=4))
    raw = np.array(values, np.float32).tobytes()
    asked = INFER(model_name="linear")
    shape = draw(mostly(st.just([1, 4]), st.sampled_from([[2, 2], [4], [2, 4], []])))
    asked.inputs.add(name=draw(mostly(st.just("X"), TEXTS)), datatype="FP32", shape=shape)
    if draw(st.integers(0, 5)) == 0:
        asked.id = draw(TEXTS)
    if draw(st.integers(0, 9)) == 0:
        asked.parameters["routing_key"].string_param = draw(TEXTS)
    if draw(st.integers(0, 9)) == 0:
        asked.outputs.add(name=draw(st.sampled_from(["label", "probabilities", "x"])))
    if draw(st.integers(0, 9)) == 0:
        asked.inputs[0].contents.fp32_contents.extend(values)
    else:
        asked.raw_input_contents.append(draw(mostly(st.just(raw), st.sampled_from([raw[:12], raw * 2, b""]))))
    if draw(st.integers(0, 9)) == 0:
        asked.raw_input_contents.append(raw)
    body: bytes = asked.SerializeToString()
    late_name = b"\x0a\x05other"
    return draw(mostly(st.just(body), st.sampled_from([body + late_name, body[:-1], late_name + body, b""])))


class Called:
    """A gRPC call as its stream holds it."""

    def __init__(self, listener: Listener, path: str, body: bytes, headers: dict[bytes, bytes]) -> None:
        self.call = Call(METHOD, path, headers, body, time.time(), time.perf_counter())
        self.body, self.started, self.flow = body, self.call.started, listener.flow
        self.ticket = listener.flow.ticket(self.call)
        self.heard: list[tuple[int, bytes, bytes]] = []
        self.express = False
        self.job: Job | None = None

    def predicted(self, own_id: str, lines: tuple[bytes, bytes], content: bytes) -> None:
        self.express = True
        self._hear(0, b"%bx-prediction-id: %b\r\n%b" % (lines[0], own_id.encode(), lines[1]), content)

    def unusual(self) -> None:
        self.flow.handle(self.call, lambda reply: self._hear(reply.status, reply.headers, reply.body))

    def failed(self, failure: Failure) -> None:
        self.flow.fail(self.call, failure, lambda reply: self._hear(reply.status, reply.headers, reply.body))

    def _hear(self, status: int, headers: bytes, body: bytes) -> None:
        own_id = OWN_ID.search(headers)
        place = own_id[1] if own_id else b"~"
        version = re.search(rb"x-model-version: (\d+)", headers)
        self.heard.append((status, headers.replace(place, b"~"), body.replace(place, b"~" * len(place))))
        self.version = version[1] if version else b""


async def test_grpc_is_answered_as_the_complete_path_does(listener: Listener) -> None:
    found: list[bytes] = []

    @MANY
    @given(grpc_body())
    def collect(body: bytes) -> None:
        found.append(body)

    collect()
    service = next(one for one in listener.protocols if isinstance(one, InferenceService))
    infer = service.rpcs["/inference.GRPCInferenceService/ModelInfer"]
    express = refused = 0
    for body in found:
        # One variant answers both ways only where nothing is left to chance.
        called = [Called(listener, infer.path(body), body, headers) for headers in ({}, {b"grpc-timeout": b"9S"})]
        assert called[1].ticket.express is None
        for one in called:
            if one.ticket.express is None:
                one.unusual()
            else:
                one.ticket.express.take(one)
        while not all(one.heard for one in called):
            await asyncio.sleep(0)
        usual, complete = called
        express += usual.express
        refused += complete.heard[0][0] != 0
        if usual.version == complete.version:
            assert usual.heard == complete.heard
    assert express > 10
    assert refused > 10


class Breaks:
    """An engine that answers no 7."""

    def __init__(self, engine: Engine) -> None:
        self._run = engine.run

    def __call__(self, inputs: Arrays, *, timeout_s: float | None = None) -> Arrays:
        if (inputs["X"][:, 0] == 7).any():
            raise ModelFailed("m raised ValueError: no sevens")
        return self._run(inputs, timeout_s=timeout_s)


async def test_what_a_model_refuses_is_refused_as_on_the_complete_path(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in listener.shelf.models.values():
        monkeypatch.setattr(model.lane.engine, "run", Breaks(model.lane.engine))
    for number, status in ((7, 500), (6, 200), (7, 500)):
        heard, (recorded,) = await both(listener, "/v2/models/linear/infer", v2_row(number, 2, 3, 4))
        assert heard.status == status
        assert (recorded.code == "ok") == (status == 200)
    assert listener.flow.desk.in_flight == 0


async def test_a_full_queue_refuses_as_on_the_complete_path(tmp_path: Path) -> None:
    one = Listener(tmp_path)
    packages = {linear_package(tmp_path / "a"): str(tmp_path / "a")}
    limits = Limits(queue=1, batching=Batching(mode="thread", rows=1))
    await one.show(route("linear", *packages, limits=limits), packages=packages)
    path, clients = "/v2/models/linear/infer", [one.client() for _ in range(400)]
    for client in clients:
        assert (await client.ask(path, v2_row(1, 2, 3, 4))).status == 200
    one.exchanges()
    for client in clients:
        client.send(path, v2_row(1, 2, 3, 4))
    statuses = Counter([(await client.hear()).status for client in clients])
    assert set(statuses) == {200, 503}
    assert Counter(one.code == "ok" for one in one.exchanges()) == {True: statuses[200], False: statuses[503]}
    assert one.flow.desk.in_flight == 0
    one.close()


async def test_who_hangs_up_while_it_waits_is_not_asked_for(tmp_path: Path) -> None:
    one = Listener(tmp_path)
    packages = {linear_package(tmp_path / "a"): str(tmp_path / "a")}
    limits = Limits(batching=Batching(mode="thread", rows=1))
    await one.show(route("linear", *packages, limits=limits), packages=packages)
    path, clients = "/v2/models/linear/infer", [one.client() for _ in range(50)]
    for client in clients:
        await client.ask(path, v2_row(1, 2, 3, 4))
    (model,) = one.shelf.models.values()
    runs = model.lane.tally.runs
    for client in clients:
        client.send(path, v2_row(1, 2, 3, 4))
    await asyncio.sleep(0)
    for client in clients:
        client.connection.connection_lost(None)
    while one.flow.desk.in_flight:
        await asyncio.sleep(0.001)
    assert model.lane.tally.cancelled > 0
    assert model.lane.tally.runs - runs + model.lane.tally.cancelled >= 50
    assert model.lane.tally.runs - runs < 50
    one.close()
