"""The typed form of a V2 request takes nothing that the general one would not take, and means the same."""

from __future__ import annotations

import json
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters import load
from penstock.errors import InvalidInput, PenstockError
from penstock.serve.calls import Call
from penstock.serve.inferhints import SPAN
from penstock.serve.inferrequest import InferBody, Requests, from_head, from_parts
from penstock.serve.protocol import Request, Span
from penstock.serve.tensordata import parse
from penstock.tensors import Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="X", datatype="FP32", shape=(-1, 2)),
        TensorSpec(name="n", datatype="INT64", shape=(-1, 1)),
        TensorSpec(name="t", datatype="BYTES", shape=(-1, 1), nullable=True),
        TensorSpec(name="b", datatype="BOOL", shape=(-1,)),
    ),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),),
)
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
)
FITTING = {
    "FP32": st.floats(allow_nan=False, allow_infinity=False, width=32) | st.none() | st.integers(-9, 9),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "BYTES": st.text(max_size=3) | st.none(),
    "BOOL": st.booleans(),
}


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Mostly right, with faults here and there."""
    inputs = []
    rows = draw(st.integers(0, 3))
    for spec in SIGNATURE.inputs:
        datatype = draw(st.sampled_from([spec.datatype] * 9 + ["FP64"]))
        shape = [rows, *spec.shape[1:]]
        elements = draw(st.sampled_from([FITTING[spec.datatype]] * 9 + [VALUES]))
        count = int(np.prod(shape))
        data: object = draw(st.lists(elements, min_size=count, max_size=count))
        if draw(st.booleans()) and len(shape) > 1:
            data = [data[i * shape[1] : (i + 1) * shape[1]] for i in range(rows)]  # type: ignore[index]
        if draw(st.integers(0, 19)) == 0:
            shape = draw(st.lists(st.integers(-1, 3), max_size=3))
        inputs.append({"name": spec.name, "datatype": datatype, "shape": shape, "data": data})
        if draw(st.integers(0, 9)) == 0:
            inputs[-1]["parameters"] = draw(st.sampled_from([{}, None, {"binary_data_size": 4}, {"x": 1}]))
    if draw(st.integers(0, 9)) == 0:
        inputs = draw(st.permutations(inputs))[: draw(st.integers(0, 4))]
    body: dict[str, object] = {"inputs": inputs}
    if draw(st.booleans()):
        body["id"] = draw(st.text(max_size=3) | st.integers())
    if draw(st.booleans()):
        body["parameters"] = draw(
            st.sampled_from([{}, {"priority": 1}, {"priority": True}, {"timeout": 5}, {"sequence_id": 3}, None])
        )
    if draw(st.booleans()):
        body["outputs"] = draw(st.sampled_from([[], [{"name": "y"}], [{"name": "z"}], None]))
    return json.dumps(body).encode()


def judged(decode: object, body: bytes) -> tuple[object, ...]:
    try:
        request: Request = decode(body)  # type: ignore[operator]
    except PenstockError as error:
        return ("refused", error.code, error.where, str(error))
    arrays = {name: (array.dtype.str, array.shape, array.tolist()) for name, array in request.arrays.items()}
    return ("taken", repr(arrays), msgspec.structs.replace(request, arrays={}))


def general(body: bytes) -> Request:
    return from_parts(parse(body, msgspec.json.Decoder(InferBody).decode), memoryview(b""), SIGNATURE)


@given(bodies())
def test_typed_and_general_agree(body: bytes) -> None:
    requests = Requests()
    expected = judged(general, body)
    assert judged(lambda data: requests.from_json(data, SIGNATURE), body) == expected
    # The second time the other form may come first.
    assert judged(lambda data: requests.from_json(data, SIGNATURE), body) == expected


def test_the_typed_form_is_what_answers_usual_requests() -> None:
    """Else the agreement above would compare the general form with itself."""
    tensors = [("X", "FP32", [1, 2], [1, 2.5]), ("n", "INT64", [1, 1], [3]), ("t", "BYTES", [1, 1], ["a"]),
               ("b", "BOOL", [1], [True])]  # fmt: skip
    inputs = [{"name": n, "datatype": d, "shape": s, "data": v} for n, d, s, v in tensors]
    requests = Requests()
    form = requests._form(SIGNATURE)
    assert form is not None
    found = requests._typed(json.dumps({"inputs": inputs}).encode(), form)
    assert found is not None
    assert found[1]["X"].tolist() == [[1.0, 2.5]]
    nested = [{**one, "data": [one["data"]] if len(one["shape"]) > 1 else one["data"]} for one in inputs]  # type: ignore[arg-type]
    again = requests._typed(json.dumps({"inputs": nested}).encode(), form)
    assert again is not None
    assert again[1]["X"].tolist() == [[1.0, 2.5]]


def head(own: dict[str, object], *, datatype: str = "FP32", **more: object) -> bytes:
    tensor = {"name": "X", "shape": [1, 2], "datatype": datatype, "parameters": own}
    return json.dumps({"inputs": [tensor], **more}).encode()


def test_bf16_is_exact_in_fp32() -> None:
    numbers = np.array([1.5, -3.0e38], np.float32)
    raw = b"".join(struct.pack("<f", number)[2:] for number in numbers)
    request = from_head(head({"binary_data_size": 4}, datatype="BF16"), memoryview(raw), SIGNATURE)
    assert request.arrays["X"].dtype == np.float32
    np.testing.assert_array_equal(request.arrays["X"], (numbers.view(np.uint32) & 0xFFFF0000).view(np.float32)[None])


@pytest.mark.parametrize("datatype", ["BF16", "FP16"])
def test_half_numbers_have_no_json_form(datatype: str) -> None:
    body = json.dumps({"inputs": [{"name": "X", "shape": [1, 2], "datatype": datatype, "data": [1, 2]}]}).encode()
    with pytest.raises(InvalidInput, match="no JSON form"):
        Requests().from_json(body, SIGNATURE)


@pytest.mark.parametrize("offset", range(8))
def test_raw_numbers_stay_where_they_are_if_they_are_aligned(offset: int) -> None:
    data = np.zeros(8 + offset, np.uint8)[offset:]
    request = from_head(head({"binary_data_size": 8}), memoryview(data), SIGNATURE)
    array = request.arrays["X"]
    assert array.flags.aligned
    assert np.shares_memory(array, data) == (offset % 4 == 0)


def test_what_the_parameters_say() -> None:
    hints = {"priority": 1, "timeout": 2_000_000, "routing_key": "k", "binary_data_output": True}
    request = from_head(head({"binary_data_size": 8}, parameters=hints), memoryview(bytes(8)), SIGNATURE)
    assert (request.priority, request.timeout_s, request.key, request.binary) == (1, 2.0, "k", frozenset({"y"}))


@pytest.mark.parametrize("priority", [-1, True, "1", 1.0, 2**64])
def test_a_priority_is_a_whole_number(priority: object) -> None:
    with pytest.raises(InvalidInput, match="priority"):
        from_head(head({"binary_data_size": 8}, parameters={"priority": priority}), memoryview(bytes(8)), SIGNATURE)


@pytest.mark.parametrize(
    "more",
    [
        {"parameters": {"sequence_id": 3, "sequence_start": True}},
        {"outputs": [{"name": "y", "parameters": {"classification": 2}}]},
    ],
)
def test_extensions_that_are_not_spoken_are_refused_with_a_text(more: dict[str, object]) -> None:
    with pytest.raises(PenstockError, match="not spoken here") as caught:
        from_head(head({"binary_data_size": 8}, **more), memoryview(bytes(8)), SIGNATURE)
    assert caught.value.code == "serve.unsupported"


def test_tensors_in_shared_memory_are_places() -> None:
    place = {"shared_memory_region": "r", "shared_memory_offset": 4, "shared_memory_byte_size": 8}
    outputs = [{"name": "y", "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 4}}]
    request = from_head(head(place, outputs=outputs), memoryview(b""), SIGNATURE)
    assert request.shared[0].span == Span("r", 4, 8)
    assert request.placed == {"y": Span("r", 0, 4)}
    for wrong in ({"shared_memory_region": 1}, {**place, "shared_memory_offset": -1}, {"shared_memory_region": "r"}):
        with pytest.raises(InvalidInput):
            from_head(head(wrong), memoryview(b""), SIGNATURE)


V2 = load("protocol", "v2")()
SIZES = st.integers(-3, 5) | st.sampled_from([2**31, 2**62, 2**63, 2**64, 2**70, -(2**70)])
ODD = st.one_of(VALUES, st.lists(VALUES, max_size=2), st.just({}), SIZES)


@given(
    st.lists(SIZES, max_size=4) | st.just([1] * 100) | st.just([0, 2**62]),
    st.sampled_from(["FP32", "BF16", "BYTES", "BOOL", "INT64", "FP16", "X"]),
    st.dictionaries(st.sampled_from(["binary_data_size", *SPAN]), ODD, max_size=3),
    st.dictionaries(st.sampled_from(["timeout", "priority", "event_time", "routing_key", "sequence_id"]), ODD),
    st.sampled_from([b"", b"0", b"12", b"9" * 5000, b"-1", b"\xb2"]),
    st.binary(max_size=12),
)
def test_whatever_comes_is_a_request_or_a_refusal(
    shape: list[int], datatype: str, own: dict[str, object], hints: dict[str, object], length: bytes, raw: bytes
) -> None:
    tensor = {"name": "X", "shape": shape, "datatype": datatype, "parameters": own}
    for data in ({}, {"data": []}, {"data": [1.0]}, {"data": [[1.0]]}):
        body = json.dumps({"inputs": [{**tensor, **data}], "parameters": hints}).encode()
        for headers in ({}, {b"inference-header-content-length": str(len(body)).encode()},
                        {b"inference-header-content-length": length}):  # fmt: skip
            try:
                V2.decode(Call("POST", "/", headers, body + raw, 0.0, 0.0), SIGNATURE)
            except PenstockError:
                continue
