"""NVIDIA's client, unmodified, over gRPC: synchronous, asyncio, streams, shared memory."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataplane_for_tests import DataPlane, route
from packages_for_tests import linear_answers, linear_package

DRIVES = {"inference": "tritonclient"}
pytestmark = pytest.mark.foreign
triton = pytest.importorskip("tritonclient.grpc")
aio = pytest.importorskip("tritonclient.grpc.aio")
memory = pytest.importorskip("tritonclient.utils.shared_memory")

X = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)
LABEL, PROBABILITIES = linear_answers(X)["label"], linear_answers(X)["probabilities"]


@pytest.fixture
def client(plane: DataPlane) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{plane.grpc_port}") as client:
        yield client


def tensor(name: str = "X") -> triton.InferInput:
    made = triton.InferInput(name, [2, 4], "FP32")
    made.set_data_from_numpy(X)
    return made


def test_health_metadata_and_index(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("linear")
    assert client.is_model_ready("linear", "1")
    with pytest.raises(triton.InferenceServerException, match="NOT_FOUND"):
        client.is_model_ready("nothing")
    assert "model_repository" in client.get_server_metadata().extensions
    metadata = client.get_model_metadata("linear", as_json=True)
    assert metadata["inputs"] == [{"name": "X", "datatype": "FP32", "shape": ["-1", "4"]}]
    index = client.get_model_repository_index()
    assert {(line.name, line.state) for line in index.models} == {("linear", "READY"), ("flights", "READY")}
    config = client.get_model_config("linear").config
    assert (config.name, config.input[0].data_type, list(config.input[0].dims)) == ("linear", 11, [4])


def test_infer_is_counted(client: triton.InferenceServerClient) -> None:
    def answered() -> int:
        return int(client.get_inference_statistics("linear").model_stats[0].inference_stats.success.count)

    before = answered()
    answer = client.infer("linear", [tensor()], request_id="mine")
    np.testing.assert_array_equal(answer.as_numpy("label"), LABEL)
    np.testing.assert_allclose(answer.as_numpy("probabilities"), PROBABILITIES, atol=1e-6)
    assert answer.get_response().id == "mine"
    assert answer.get_response().parameters["prediction_id"].string_param
    assert answered() == before + 1


def test_one_output_with_a_version_and_parameters(client: triton.InferenceServerClient) -> None:
    wanted = [triton.InferRequestedOutput("probabilities")]
    answer = client.infer(
        "linear", [tensor()], model_version="1", outputs=wanted, priority=1, timeout=5_000_000,
        client_timeout=5.0, parameters={"routing_key": "a", "event_time": "2026-01-02T03:04:05"},
    )  # fmt: skip
    assert answer.as_numpy("label") is None
    np.testing.assert_allclose(answer.as_numpy("probabilities"), PROBABILITIES, atol=1e-6)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed(client: triton.InferenceServerClient, compression: str) -> None:
    if compression == "deflate":
        with pytest.raises(triton.InferenceServerException, match="UNIMPLEMENTED"):
            client.infer("linear", [tensor()], compression_algorithm=compression)
        return
    answer = client.infer("linear", [tensor()], compression_algorithm=compression)
    np.testing.assert_array_equal(answer.as_numpy("label"), LABEL)


def test_text_columns(client: triton.InferenceServerClient) -> None:
    values = {
        "distance": ("FP64", np.array([[10.0], [900.0]])),
        "carrier": ("BYTES", np.array([["UA"], ["B6"]], object)),
        "delay": ("FP64", np.array([[np.nan], [0.0]])),
    }
    tensors = []
    for name, (datatype, array) in values.items():
        tensors.append(triton.InferInput(name, list(array.shape), datatype))
        tensors[-1].set_data_from_numpy(array)
    assert client.infer("flights", tensors).as_numpy("label").tolist() == [b"late", b"on time"]


@pytest.mark.parametrize(
    ("endpoint", "name", "status"), [("nothing", "X", "NOT_FOUND"), ("linear", "Y", "INVALID_ARGUMENT")]
)
def test_errors_reach_the_client(client: triton.InferenceServerClient, endpoint: str, name: str, status: str) -> None:
    with pytest.raises(triton.InferenceServerException, match=status) as found:
        client.infer(endpoint, [tensor(name)])
    assert "(" in found.value.message(), "it says what to do next"


def test_streams_answer_in_order_and_outlive_errors(client: triton.InferenceServerClient) -> None:
    answers: queue.Queue[tuple[object, object]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(60):
        client.async_stream_infer("nothing" if number % 20 == 7 else "linear", [tensor()], request_id=str(number))
    for number in range(60):
        result, error = answers.get(timeout=10)
        if number % 20 == 7:
            assert "there is no such endpoint" in str(error)
        else:
            assert error is None
            assert result.get_response().id == str(number)
    client.stop_stream()


async def test_asyncio(plane: DataPlane) -> None:
    async with aio.InferenceServerClient(f"127.0.0.1:{plane.grpc_port}") as client:
        assert await client.is_server_ready()
        answer = await client.infer("linear", [tensor()], client_timeout=5.0)
        np.testing.assert_array_equal(answer.as_numpy("label"), LABEL)

        async def requests():
            for number in range(10):
                yield {"model_name": "linear", "inputs": [tensor()], "request_id": str(number)}

        seen = [result.get_response().id async for result, error in client.stream_infer(requests())]
        assert seen == [str(number) for number in range(10)]


def test_load_and_unload_and_shared_memory(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    plane.write(route("linear", plane.add(linear_package, tmp_path / "linear")))
    plane.start("--spares", "0", "--grpc-port", "0", "--allow", "load,share", workers=1)
    try:
        plane.settled(workers=1)
        with triton.InferenceServerClient(f"127.0.0.1:{plane.grpc_port}") as client:
            client.unload_model("linear")
            assert not client.is_model_ready("linear")
            with pytest.raises(triton.InferenceServerException, match="UNAVAILABLE"):
                client.infer("linear", [tensor()])
            client.load_model("linear")
            assert client.is_model_ready("linear")
            _in_shared_memory(client)
            with pytest.raises(triton.InferenceServerException, match="UNIMPLEMENTED"):
                client.get_cuda_shared_memory_status()
    finally:
        plane.stop()


def _in_shared_memory(client: triton.InferenceServerClient) -> None:
    region = memory.create_shared_memory_region("both", "/psk_test_grpc_memory", 4096)
    try:
        memory.set_shared_memory_region(region, [X])
        client.register_system_shared_memory("both", "/psk_test_grpc_memory", 4096)
        status = client.get_system_shared_memory_status(as_json=True)["regions"]["both"]
        assert (status["key"], status["byte_size"]) == ("/psk_test_grpc_memory", "4096")
        given = triton.InferInput("X", [2, 4], "FP32")
        given.set_shared_memory("both", X.nbytes)
        wanted = triton.InferRequestedOutput("probabilities")
        wanted.set_shared_memory("both", 16, offset=1024)
        answer = client.infer("linear", [given], outputs=[triton.InferRequestedOutput("label"), wanted])
        np.testing.assert_array_equal(answer.as_numpy("label"), LABEL)
        placed = answer.get_output("probabilities")
        found = memory.get_contents_as_numpy(region, np.float32, list(placed.shape), offset=1024)
        np.testing.assert_allclose(found, PROBABILITIES, atol=1e-6)
        client.unregister_system_shared_memory("both")
        assert "both" not in client.get_system_shared_memory_status().regions
    finally:
        memory.destroy_shared_memory_region(region)
