"""Tensors of TensorFlow's messages: every form gives the array back, and no bytes do harm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.errors import InvalidInput
from penstock.serve.predictmessage import read_predict, write_predict
from penstock.serve.protocol import Prediction, Request
from penstock.serve.protos.messages import message
from penstock.serve.protowire import fields
from penstock.serve.tensorproto import read_tensor, tensor_parts
from penstock.tensors import DTYPES, Signature, TensorSpec

Tensor = message("tensorflow.TensorProto")
Predict, Predicted = (message(f"tensorflow.serving.Predict{half}") for half in ("Request", "Response"))
DT = {
    "BOOL": 10, "UINT8": 4, "UINT16": 17, "UINT32": 22, "UINT64": 23, "INT8": 6, "INT16": 5, "INT32": 3, "INT64": 9,
    "FP16": 19, "FP32": 1, "FP64": 2,
}  # fmt: skip
NUMBERS = sorted(DT)
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)), TensorSpec(name="z", datatype="BYTES", shape=(-1,))),
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = DTYPES[draw(st.sampled_from(NUMBERS))]
    shape = draw(hnp.array_shapes(max_dims=3, max_side=4))
    return draw(hnp.arrays(dtype, shape))


def read(data: bytes) -> np.ndarray:
    return read_tensor(memoryview(data), "x")


def with_shape(datatype: int, shape: tuple[int, ...], **more: object) -> object:
    tensor = Tensor(dtype=datatype, **more)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


@given(arrays())
def test_what_is_written_is_read(array: np.ndarray) -> None:
    found = read(b"".join(tensor_parts(array)))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(arrays(), st.integers(0, 7))
def test_content_is_read_wherever_it_lies(array: np.ndarray, offset: int) -> None:
    datatype = next(name for name, dtype in DTYPES.items() if dtype == array.dtype)
    data = with_shape(DT[datatype], array.shape, tensor_content=array.tobytes()).SerializeToString()
    found = read_tensor(memoryview(b"\0" * offset + data)[offset:], "x")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=5))
def test_text(texts: list[str]) -> None:
    array = np.array(texts, object)
    assert read(b"".join(tensor_parts(array))).tolist() == texts
    encoded = [text.encode() for text in texts]
    content = bytes(len(text) for text in encoded) + b"".join(encoded)
    if content:
        assert read(with_shape(7, (len(texts),), tensor_content=content).SerializeToString()).tolist() == texts


def test_large_content_is_not_copied() -> None:
    array = np.arange(100_000, dtype=np.uint8)
    data = with_shape(4, array.shape, tensor_content=array.tobytes()).SerializeToString()
    assert np.shares_memory(read(data), np.frombuffer(data, np.uint8))
    floats = np.arange(100_000, dtype=np.float32)
    written = tensor_parts(floats)[-1]
    assert np.shares_memory(np.frombuffer(written, np.float32), floats)


def test_values_in_pieces_and_bf16() -> None:
    one, two = (with_shape(1, (), float_val=[value]).SerializeToString() for value in (1.0, 2.0))
    shape = with_shape(0, (2,)).SerializeToString()
    assert read(one + two + shape).tolist() == [1.0, 2.0]
    # Unpacked: an older writer's.
    assert read(
        bytes([0x08, 1]) + shape + b"\x2d" + np.float32(3).tobytes() + b"\x2d" + np.float32(4).tobytes()
    ).tolist() == [3, 4]
    bits = (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    assert read(with_shape(14, (2,), half_val=bits.tolist()).SerializeToString()).tolist() == [1.5, -2.0]
    assert read(with_shape(14, (2,), tensor_content=bits.tobytes()).SerializeToString()).tolist() == [1.5, -2.0]


def test_fewer_values_repeat_the_last() -> None:
    assert read(with_shape(9, (2, 2), int64_val=[1, 2]).SerializeToString()).tolist() == [[1, 2], [2, 2]]
    assert read(with_shape(7, (3,), string_val=[b"a"]).SerializeToString()).tolist() == ["a"] * 3
    assert read(with_shape(1, (3,), float_val=[1.0]).SerializeToString()).tolist() == [1.0] * 3


@pytest.mark.parametrize(
    ("tensor", "where"),
    [
        (with_shape(8, (1,)), "x.dtype"),
        (with_shape(101, (1,), float_val=[1]), "x.dtype"),
        (with_shape(1, (1,)), "x.float_val"),
        (with_shape(1, (2,), float_val=[1, 2, 3]), "x.float_val"),
        (with_shape(1, (-1,), float_val=[1]), "x.tensor_shape"),
        (with_shape(1, (1,) * 33, float_val=[1]), "x.tensor_shape"),
        (with_shape(1, (1 << 62, 1 << 62), float_val=[1]), "x.float_val"),
        (with_shape(1, (0, 1 << 62)), "x.float_val.shape"),
        (with_shape(1, (1,), tensor_content=b"abc"), "x.tensor_content"),
        (with_shape(1, (1 << 62,), tensor_content=b"abcd"), "x.tensor_content"),
        (with_shape(6, (1,), int_val=[128]), "x.int_val"),
        (with_shape(4, (1,), int_val=[-1]), "x.int_val"),
        (with_shape(19, (1,), half_val=[70_000]), "x.half_val"),
        (with_shape(7, (1,), string_val=[b"\xff"]), "x.string_val"),
        (with_shape(7, (2,), tensor_content=b"\x01\x01a"), "x.tensor_content"),
        (with_shape(7, (1 << 40,), tensor_content=b"\x01\x01a"), "x.tensor_content"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(tensor: object, where: str) -> None:
    with pytest.raises(InvalidInput) as found:
        read(tensor.SerializeToString())
    assert found.value.where == where


@settings(max_examples=400)
@given(st.binary(max_size=60) | st.data())
def test_no_bytes_do_harm(given: object) -> None:
    if isinstance(given, bytes):
        body = given
    else:
        request = Predict(model_spec={"name": "m"}, output_filter=["y"])
        request.inputs["x"].CopyFrom(with_shape(1, (2, 2), float_val=[1, 2, 3, 4]))
        whole = bytearray(request.SerializeToString())
        at = given.draw(st.integers(0, len(whole) - 1))
        whole[at] = given.draw(st.integers(0, 255))
        body = bytes(whole[: given.draw(st.integers(0, len(whole)))])
    try:
        read_predict(body, SIGNATURE)
    except InvalidInput:
        return


@pytest.mark.parametrize(
    "body",
    [
        b"\x00",
        b"\x0b",
        b"\x0a\x02a",
        b"\x08",
        b"\x08" + b"\xff" * 11,
        b"\x0d\x00",
        b"\x09\x00",
        b"\x0a" + b"\xff" * 9 + b"\x01",
    ],
)
def test_broken_fields_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        list(fields(memoryview(body)))


def test_an_answer_is_the_message_that_the_class_reads() -> None:
    outputs = {"y": np.array([1.5, 2.5], np.float32), "z": np.array(["a", "ü"], object)}
    prediction = Prediction("id", "m", "3", outputs)
    answer = Predicted.FromString(write_predict(Request({}), prediction, b""))
    assert list(answer.outputs["y"].float_val) == [1.5, 2.5]
    assert [dim.size for dim in answer.outputs["y"].tensor_shape.dim] == [2]
    assert [text.decode() for text in answer.outputs["z"].string_val] == ["a", "ü"]
    assert list(Predicted.FromString(write_predict(Request({}, wanted=("z",)), prediction, b"")).outputs) == ["z"]
