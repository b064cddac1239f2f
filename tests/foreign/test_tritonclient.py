"""NVIDIA's client, unmodified, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dataplane_for_tests import DataPlane
from packages_for_tests import linear_answers

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
