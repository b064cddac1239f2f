"""What OpenAI's dialect says of tokens it cannot count, of faults, and of models that are no encoders."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from penstock.errors import Forbidden, InvalidInput, ModelFailed, NotReady
from penstock.serve.calls import Call
from penstock.serve.protocol import Prediction
from penstock.serve.protocols.openai import OpenAiProtocol
from penstock.tensors import Signature, TensorSpec

TEXT = TensorSpec(name="text", datatype="BYTES", shape=(-1, 1))
VECTOR = TensorSpec(name="vector", datatype="FP32", shape=(-1, 2))
PROTOCOL = OpenAiProtocol()


def call(**body: object) -> Call:
    return Call("POST", "/v1/embeddings", {}, json.dumps({"model": "m", **body}).encode(), 0.0, 0.0)


def signature(*outputs: TensorSpec, text: TensorSpec = TEXT) -> Signature:
    return Signature(inputs=(text,), outputs=outputs)


def test_tokens_are_estimated_only_where_the_model_counts_none() -> None:
    vectors = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    request = PROTOCOL.decode(call(input=["abcd", "abcde"]), signature(VECTOR))
    usage = json.loads(PROTOCOL.encode(request, Prediction("i", "m", "1", {"vector": vectors})).body)["usage"]
    assert usage == {"prompt_tokens": 3, "total_tokens": 3, "estimated": True}
    outputs = {"vector": vectors, "tokens": np.array([7, 8])}
    usage = json.loads(PROTOCOL.encode(request, Prediction("i", "m", "1", outputs)).body)["usage"]
    assert usage == {"prompt_tokens": 15, "total_tokens": 15, "estimated": False}


def test_base64_is_little_endian_fp32() -> None:
    vectors = np.array([[1.5, np.nan]], ">f4")
    request = PROTOCOL.decode(call(input="a", encoding_format="base64"), signature(VECTOR))
    (entry,) = json.loads(PROTOCOL.encode(request, Prediction("i", "m", "1", {"vector": vectors})).body)["data"]
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(entry["embedding"]), "<f4"), np.array([1.5, np.nan], np.float32)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        signature(TensorSpec(name="y", datatype="FP64", shape=(-1, 2))),
        signature(TensorSpec(name="y", datatype="FP32", shape=(-1,))),
        signature(VECTOR, TensorSpec(name="other", datatype="FP32", shape=(-1, 3))),
        signature(VECTOR, text=TensorSpec(name="x", datatype="FP32", shape=(-1, 1))),
        Signature(inputs=(TEXT, TEXT), outputs=(VECTOR,)),
    ],
)
def test_which_output_is_the_embedding_is_never_guessed(wrong: Signature) -> None:
    with pytest.raises(InvalidInput) as refused:
        PROTOCOL.decode(call(input="a"), wrong)
    assert refused.value.where == "model"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Forbidden("no", code="access.unauthenticated"), 401, "authentication_error"),
        (Forbidden("no"), 403, "permission_error"),
        (NotReady("not yet"), 503, "server_error"),
    ],
)
def test_errors_have_openais_form(error: Exception, status: int, kind: str) -> None:
    reply = PROTOCOL.refuse(error)
    assert reply.status == status
    said = json.loads(reply.body)["error"]
    assert said.keys() == {"message", "type", "param", "code"}
    assert said["type"] == kind
    assert (b"retry-after" in reply.headers) == (status == 503)


def test_a_fault_shows_its_code_alone() -> None:
    reply = PROTOCOL.refuse(ModelFailed("secret path"), "abc")
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert b"abc" in reply.body
