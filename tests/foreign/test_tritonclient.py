"""NVIDIA's client, unmodified, over HTTP: blocking and asynchronous."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataplane_for_tests import DataPlane, route
from packages_for_tests import linear_answers, linear_package

DRIVES = {"v2": "tritonclient"}
pytestmark = pytest.mark.foreign
triton = pytest.importorskip("tritonclient.http")

X = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)


@pytest.fixture
def client(plane: DataPlane) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{plane.port}") as client:
        yield client


def test_health_metadata_and_index(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("linear")
    assert client.is_model_ready("linear", "1")
    assert not client.is_model_ready("nothing")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("linear")["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}]
    assert {line["name"] for line in client.get_model_repository_index()} == {"linear", "flights"}
    assert client.get_model_config("linear")["name"] == "linear"
    assert client.get_inference_statistics("linear")["model_stats"][0]["name"] == "linear"


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_infer(client: triton.InferenceServerClient, binary_in: bool, binary_out: bool | None) -> None:
    tensor = triton.InferInput("X", [2, 4], "FP32")
    tensor.set_data_from_numpy(X, binary_data=binary_in)
    outputs = None
    if binary_out is not None:
        outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("label", "probabilities")]
    answer = client.infer("linear", [tensor], outputs=outputs, request_id="mine")
    np.testing.assert_array_equal(answer.as_numpy("label"), linear_answers(X)["label"])
    np.testing.assert_allclose(answer.as_numpy("probabilities"), linear_answers(X)["probabilities"], atol=1e-6)
    assert answer.get_response()["id"] == "mine"
    assert answer.get_response()["parameters"]["prediction_id"]


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed(client: triton.InferenceServerClient, compression: str) -> None:
    tensor = triton.InferInput("X", [2, 4], "FP32")
    tensor.set_data_from_numpy(X)
    answer = client.infer(
        "linear",
        [tensor],
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    np.testing.assert_array_equal(answer.as_numpy("label"), linear_answers(X)["label"])


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
    answer = client.infer("flights", tensors)
    assert answer.as_numpy("label").tolist() == [b"late", b"on time"]


def test_errors_reach_the_client_as_text(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("Y", [2, 4], "FP32")
    tensor.set_data_from_numpy(X)
    with pytest.raises(triton.InferenceServerException, match="the model does not know"):
        client.infer("linear", [tensor])


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    """Two workers, and callers who may load, unload and share memory."""
    home: Path = tmp_path_factory.mktemp("triton")
    plane = DataPlane(home)
    plane.write(route("linear", plane.add(linear_package, home / "p")))
    plane.start("--spares", "0", "--allow", "load,share")
    try:
        plane.settled()
        yield plane
    finally:
        plane.stop()


def tensor(values: np.ndarray = X, **options: object) -> triton.InferInput:
    made = triton.InferInput("X", list(values.shape), options.pop("datatype", "FP32"))
    made.set_data_from_numpy(values, **options)
    return made


async def test_asynchronous(plane: DataPlane) -> None:
    aio = pytest.importorskip("tritonclient.http.aio")
    async with aio.InferenceServerClient(f"127.0.0.1:{plane.port}") as client:
        assert await client.is_server_ready()
        assert {line["name"] for line in await client.get_model_repository_index()} == {"linear", "flights"}
        for binary in (True, False):
            answer = await client.infer("linear", [tensor(binary_data=binary)])
            np.testing.assert_array_equal(answer.as_numpy("label"), linear_answers(X)["label"])
        with pytest.raises(triton.InferenceServerException, match="no such endpoint"):
            await client.get_model_metadata("nothing")


def test_bf16(client: triton.InferenceServerClient) -> None:
    exact = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)
    answer = client.infer("linear", [tensor(exact, datatype="BF16")])
    np.testing.assert_allclose(answer.as_numpy("probabilities"), linear_answers(exact)["probabilities"], atol=1e-6)


def test_priority_and_timeout(client: triton.InferenceServerClient) -> None:
    assert client.infer("linear", [tensor()], priority=1, timeout=5_000_000).as_numpy("label") is not None
    with pytest.raises(triton.InferenceServerException, match="sequences of requests are not spoken"):
        client.infer("linear", [tensor()], sequence_id=3, sequence_start=True)
    with pytest.raises(triton.InferenceServerException, match="classification"):
        client.infer("linear", [tensor()], outputs=[triton.InferRequestedOutput("label", class_count=2)])


def test_statistics(own: DataPlane) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{own.port}") as client:
        before = client.get_inference_statistics("linear", "1")["model_stats"][0]
        for _ in range(4):
            client.infer("linear", [tensor()])
        with pytest.raises(triton.InferenceServerException):
            client.infer("linear", [triton.InferInput("X", [1], "FP32").set_data_from_numpy(np.zeros(1, np.float32))])
        after = client.get_inference_statistics("linear")["model_stats"][0]
        assert (after["name"], after["version"]) == ("linear", "1")
        assert after["last_inference"] > 1_600_000_000_000
        assert after["inference_count"] - before["inference_count"] == 8, "rows"
        assert after["execution_count"] - before["execution_count"] == 4, "runs"
        for part, count in {"success": 4, "fail": 1, "queue": 4, "compute_input": 4, "compute_infer": 4}.items():
            old, new = before["inference_stats"][part], after["inference_stats"][part]
            assert new["count"] - old["count"] == count, part
            assert new["ns"] > old["ns"] or part in ("queue", "compute_input")
        sizes = {line["batch_size"]: line["compute_infer"]["count"] for line in after["batch_stats"]}
        assert sizes[2] >= 4
        assert client.get_inference_statistics()["model_stats"][0]["name"] == "linear"


def test_load_and_unload(own: DataPlane) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{own.port}") as client:
        client.unload_model("linear", unload_dependents=True)
        assert not client.is_model_ready("linear")
        assert client.is_server_ready()
        assert client.get_model_repository_index() == [
            {"name": "linear", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}
        ]
        with pytest.raises(triton.InferenceServerException, match="unloaded"):
            client.infer("linear", [tensor()])
        with pytest.raises(triton.InferenceServerException, match="cannot be changed"):
            client.load_model("linear", config="{}")
        client.load_model("linear")
        assert client.is_model_ready("linear")
        client.infer("linear", [tensor()])


def test_shared_memory(own: DataPlane) -> None:
    shm = pytest.importorskip("tritonclient.utils.shared_memory")
    handle = shm.create_shared_memory_region("both", "/triton_test", 256)
    try:
        with triton.InferenceServerClient(f"127.0.0.1:{own.port}") as client:
            shm.set_shared_memory_region(handle, [X])
            client.register_system_shared_memory("both", "/triton_test", 256)
            assert client.get_system_shared_memory_status() == [
                {"name": "both", "key": "/triton_test", "offset": 0, "byte_size": 256}
            ]
            given = triton.InferInput("X", [2, 4], "FP32")
            given.set_shared_memory("both", X.nbytes)
            wanted = [triton.InferRequestedOutput("probabilities"), triton.InferRequestedOutput("label")]
            wanted[0].set_shared_memory("both", 16, offset=128)
            for _ in range(6):  # until both workers have had it
                handle._mpsm_handle.buf[128:144] = bytes(16)
                answer = client.infer("linear", [given], outputs=wanted)
                assert answer.get_output("probabilities")["parameters"]["shared_memory_region"] == "both"
                placed = shm.get_contents_as_numpy(handle, np.float32, [2, 2], 128)
                np.testing.assert_allclose(placed, linear_answers(X)["probabilities"], atol=1e-6)
                np.testing.assert_array_equal(answer.as_numpy("label"), linear_answers(X)["label"])
                del placed
            given.set_shared_memory("both", X.nbytes, offset=240)
            with pytest.raises(triton.InferenceServerException, match="not within the region"):
                client.infer("linear", [given])
            client.unregister_system_shared_memory("both")
            assert client.get_system_shared_memory_status() == []
            with pytest.raises(triton.InferenceServerException, match="no such region"):
                client.infer("linear", [given])
            with pytest.raises(triton.InferenceServerException, match="CUDA"):
                client.get_cuda_shared_memory_status()
    finally:
        shm.destroy_shared_memory_region(handle)
