"""What goes into a frame comes out; what is no frame is refused before anything is made of it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from penstock.runtime.frames import MAX_HEADER_BYTES, Header, pack, read_frame
from penstock.tensors import DTYPES

NUMBERS = st.sampled_from([dtype for name, dtype in DTYPES.items() if name != "BYTES"])
SHAPES = arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
NUMERIC = NUMBERS.flatmap(lambda dtype: arrays_of.arrays(dtype, SHAPES))
TEXT = arrays_of.arrays(object, SHAPES, elements=st.text(st.characters(exclude_categories=["Cs"]), max_size=8))


def reader(data: bytes):
    at = 0

    def read(length: int) -> bytes:
        nonlocal at
        if at + length > len(data):
            raise EOFError
        at += length
        return data[at - length : at]

    return read


@given(st.integers(0, 2**53), st.dictionaries(st.text(max_size=5), NUMERIC | TEXT, max_size=4))
def test_a_frame_comes_back_as_it_went(number: int, arrays: dict[str, np.ndarray]) -> None:
    header, back = read_frame(reader(pack(Header(id=number), arrays)))
    assert header.id == number
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, EOFError)):
        read_frame(reader(data))


@given(st.data())
def test_a_changed_frame_is_refused_or_stays_a_frame(data: st.DataObject) -> None:
    frame = bytearray(pack(Header(id=1), {"a": np.arange(3.0), "b": np.array(["x", "y"], dtype=object)}))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        _, arrays = read_frame(reader(bytes(frame)))
    except (ValueError, EOFError):
        return
    assert all(array.dtype in DTYPES.values() for array in arrays.values())


@pytest.mark.parametrize(
    "head",
    [
        b'{"tensors":[{"name":"a","datatype":"FP64","shape":[2],"size":8}]}',
        b'{"tensors":[{"name":"a","datatype":"FP64","shape":[-1],"size":8}]}',
        b'{"tensors":[{"name":"a","datatype":"object","shape":[1],"size":8}]}',
        b'{"tensors":[{"name":"a","datatype":"BYTES","shape":[1],"size":8}]}',
        b'{"tensors":[{"name":"a","datatype":"FP64","shape":[1],"size":99999999999}]}',
        b'{"tensors":[{"name":"a","datatype":"FP64","shape":[1],"size":-8}]}',
        b"[]",
    ],
)
def test_a_header_that_lies_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_frame(reader(struct.pack("<I", len(head)) + head + bytes(8)))


def test_a_header_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        read_frame(reader(struct.pack("<I", MAX_HEADER_BYTES + 1)))


def test_a_frame_larger_than_expected_is_refused_before_it_is_read() -> None:
    frame = pack(Header(), {"a": np.zeros(1000)})
    assert read_frame(reader(frame), most=8000)[1]["a"].shape == (1000,)
    with pytest.raises(ValueError, match="too large"):
        read_frame(reader(frame), most=7999)
