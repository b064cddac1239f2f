"""grpcio and its health and reflection clients, unmodified: large messages, deadlines, cancellation, tokens, drain."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from dataplane_for_tests import DataPlane, route, until
from packages_for_tests import linear_answers, linear_package, slow_package
from penstock.access.tokens import token_sha256
from penstock.records import Batching, Grant, Limits
from penstock.serve.protos.messages import message

DRIVES = {"inference": "grpcio", "health": "grpcio's health client", "reflection": "grpcio's reflection client"}
pytestmark = pytest.mark.foreign
INFER = "/inference.GRPCInferenceService/ModelInfer"
Request, Response = (message(f"inference.ModelInfer{half}") for half in ("Request", "Response"))
X = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)
LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture
def channel(plane: DataPlane) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{plane.grpc_port}", options=LARGE) as channel:
        yield channel


def asked(rows: np.ndarray = X, endpoint: str = "linear", **more: object) -> object:
    request = Request(model_name=endpoint, **more)
    request.inputs.add(name="X", datatype="FP32", shape=rows.shape)
    request.raw_input_contents.append(rows.astype(np.float32).tobytes())
    return request


def infer(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
    return channel.unary_unary(INFER, Request.SerializeToString, Response.FromString)


def test_health(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "inference.GRPCInferenceService", "linear"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
    with pytest.raises(grpc.RpcError) as found:
        stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert found.value.code() is grpc.StatusCode.NOT_FOUND
    watching = stub.Watch(health_pb2.HealthCheckRequest(service="nothing"))
    assert next(watching).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watching.cancel()


def test_reflection(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(database.get_services())
    service = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
    assert service.methods_by_name["ModelInfer"].input_type.fields_by_name["raw_input_contents"].number == 7
    with pytest.raises(KeyError):
        database.FindFileContainingSymbol("no.Such")


def test_ids_come_as_trailers_and_in_the_message(channel: grpc.Channel) -> None:
    answer, call = infer(channel).with_call(asked(id="mine"), metadata=[("x-routing-key", "k")])
    trailers = dict(call.trailing_metadata())
    assert answer.id == "mine"
    assert trailers["x-prediction-id"] == answer.parameters["prediction_id"].string_param
    assert (trailers["x-model-version"], trailers["x-variant"]) == ("1", "stable")


def test_metadata_says_what_the_body_does_not(plane: DataPlane, channel: grpc.Channel) -> None:
    _, call = infer(channel).with_call(
        asked(), metadata=[("x-routing-key", "user 7"), ("x-event-time", "2026-01-02T03:04:05")]
    )
    own_id = dict(call.trailing_metadata())["x-prediction-id"]
    until(lambda: any(one.id == own_id for one in plane.exchanges()))
    (one,) = [one for one in plane.exchanges() if one.id == own_id]
    assert (one.key, one.event_time) == ("user 7", 1767323045.0)
    with pytest.raises(grpc.RpcError) as found:
        infer(channel)(asked(), metadata=[("x-event-time", "yesterday")])
    assert found.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_large_messages_both_ways(channel: grpc.Channel) -> None:
    rows = np.random.default_rng(1).normal(size=(10_000, 4)).astype(np.float32)
    answer = infer(channel)(asked(rows))
    found = np.frombuffer(answer.raw_output_contents[1], np.float32).reshape(-1, 2)
    np.testing.assert_allclose(found, linear_answers(rows)["probabilities"], atol=1e-6)
    with pytest.raises(grpc.RpcError) as error:
        infer(channel)(asked(np.zeros((65 << 16, 4), np.float32)))
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(infer(channel)(asked()).raw_output_contents) == 2, "the connection goes on"


def test_many_at_once_on_one_connection_get_their_own_answers(channel: grpc.Channel) -> None:
    rows = np.random.default_rng(2).normal(size=(300, 1, 4)).astype(np.float32)
    waiting = [infer(channel).future(asked(row, id=str(number))) for number, row in enumerate(rows)]
    for number, future in enumerate(waiting):
        answer = future.result(timeout=20)
        assert answer.id == str(number)
        found = np.frombuffer(answer.raw_output_contents[1], np.float32)
        np.testing.assert_allclose(found, linear_answers(rows[number])["probabilities"][0], atol=1e-6)


def test_every_call_may_have_other_metadata(channel: grpc.Channel) -> None:
    for number in range(100):
        answer = infer(channel)(asked(id=str(number)), timeout=5 + number / 7, metadata=[("x-trace", str(number))])
        assert answer.id == str(number)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
        (b"", grpc.StatusCode.INVALID_ARGUMENT),
        (b"\n\x06linear\n\x07flights", grpc.StatusCode.INVALID_ARGUMENT),
        (b"\n\x06linear\x12\x019", grpc.StatusCode.NOT_FOUND),
        (b"\n\x07nothing", grpc.StatusCode.NOT_FOUND),
    ],
)
def test_bad_messages(channel: grpc.Channel, body: bytes, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as found:
        channel.unary_unary(INFER)(body)
    # No name means the only endpoint; here there are two.
    assert found.value.code() in (code, grpc.StatusCode.NOT_FOUND)
    assert dict(found.value.trailing_metadata())["x-error-code"]


def test_a_deadline_is_held_and_a_cancelled_call_never_starts(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(slow_package, tmp_path / "slow", rounds=1_500)
    # However slow the machine is meanwhile, nobody is refused for it.
    plane.write(route("slow", digest, limits=Limits(deadline_s=60.0, batching=Batching(wait_s=0.0))))
    plane.start("--spares", "0", "--grpc-port", "0", workers=1)
    try:
        plane.settled(workers=1)
        with grpc.insecure_channel(f"127.0.0.1:{plane.grpc_port}") as channel:
            begun = [infer(channel).future(asked(endpoint="slow")) for _ in range(2)]
            time.sleep(0.1)
            late = infer(channel).future(asked(endpoint="slow"), timeout=0.05)
            gone = infer(channel).future(asked(endpoint="slow", id="gone"))
            with pytest.raises(grpc.RpcError) as found:
                late.result()
            assert found.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            gone.cancel()
            for one in begun:
                one.result(timeout=30)
            last = infer(channel)(asked(endpoint="slow", id="last"), timeout=30)
            assert last.id == "last"
        answered = [one for one in plane.exchanges() if one.code == "ok"]
        assert len(answered) == 3
        assert "gone" not in {one.client_id for one in answered}
    finally:
        plane.stop()


def test_tokens(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    grants = (
        Grant(token_sha256=token_sha256("right"), subject="ann", permissions=("predict", "read")),
        Grant(token_sha256=token_sha256("other"), subject="bob", permissions=("predict",), endpoints=("another",)),
    )
    plane.write(route("linear", digest, public=False), grants=grants)
    plane.start("--spares", "0", "--grpc-port", "0", workers=1)

    def code(channel: grpc.Channel, token: str) -> grpc.StatusCode:
        metadata = [("authorization", f"Bearer {token}")] if token else []
        try:
            infer(channel)(asked(), metadata=metadata)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    try:
        plane.settled(workers=1)
        with grpc.insecure_channel(f"127.0.0.1:{plane.grpc_port}") as channel:
            # What one call was allowed says nothing about the next, on one connection or on two.
            for _ in range(3):
                assert code(channel, "right") is grpc.StatusCode.OK
                assert code(channel, "") is grpc.StatusCode.UNAUTHENTICATED
                assert code(channel, "wrong") is grpc.StatusCode.UNAUTHENTICATED
                assert code(channel, "other") is grpc.StatusCode.PERMISSION_DENIED
            with grpc.insecure_channel(f"127.0.0.1:{plane.grpc_port}", [("grpc.use_local_subchannel_pool", 1)]) as new:
                assert code(new, "") is grpc.StatusCode.UNAUTHENTICATED
            plane.write(route("linear", digest, public=False), grants=grants[1:])
            until(lambda: code(channel, "right") is grpc.StatusCode.UNAUTHENTICATED, seconds=2)
    finally:
        plane.stop()


def test_overload_says_when_to_come_back(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(slow_package, tmp_path / "slow", rounds=2_000)
    plane.write(route("slow", digest, limits=Limits(queue=1)))
    plane.start("--spares", "0", "--grpc-port", "0", workers=1)
    try:
        plane.settled(workers=1)
        with grpc.insecure_channel(f"127.0.0.1:{plane.grpc_port}") as channel:
            waiting = [infer(channel).future(asked(endpoint="slow")) for _ in range(8)]
            refused = [one for one in waiting if one.exception(timeout=30) is not None]
        assert refused
        for one in refused:
            assert one.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert int(dict(one.trailing_metadata())["grpc-retry-pushback-ms"]) >= 100
    finally:
        plane.stop()


@pytest.mark.serial
def test_drain_and_rolling_restart_fail_nobody(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    plane.write(route("linear", plane.add(linear_package, tmp_path / "p")))
    plane.start("--grpc-port", "0")
    failures: list[str] = []
    counts = [0, 0, 0]
    over = threading.Event()

    def client(number: int) -> None:
        # Its defaults: a call that no server has seen is sent again by the transport itself (gRFC A6).
        channel = grpc.insecure_channel(f"127.0.0.1:{plane.grpc_port}", [("grpc.use_local_subchannel_pool", 1)])
        while not over.is_set():
            try:
                infer(channel)(asked(), timeout=60)
                counts[number] += 1
            except grpc.RpcError as error:
                failures.append(f"{error.code()} {error.details()}")
            time.sleep(0.002)
        channel.close()

    def watch(channel: grpc.Channel, seen: list[int]) -> None:
        try:
            seen.extend(
                one.status for one in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            )
        except grpc.RpcError as error:
            seen.append(-error.code().value[0])

    try:
        plane.settled()
        threads = [threading.Thread(target=client, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        before = {one.pid for one in plane.statuses()}
        assert plane.process is not None
        os.kill(plane.process.pid, signal.SIGHUP)
        until(lambda: len(plane.statuses()) == 2 and not before & {one.pid for one in plane.statuses()})
        time.sleep(1.0)
        until(lambda: failures or min(counts) > 100)
        over.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert min(counts) > 100
        seen: list[int] = []
        with grpc.insecure_channel(f"127.0.0.1:{plane.grpc_port}") as channel:
            watching = threading.Thread(target=watch, args=(channel, seen))
            watching.start()
            until(lambda: seen == [1])
            plane.process.send_signal(signal.SIGTERM)
            watching.join(10)
        assert seen == [1, 2, -14], "serving, not serving, and the stream is ended as unavailable"
        assert plane.process.wait(10) == 0
    finally:
        over.set()
        plane.stop()
