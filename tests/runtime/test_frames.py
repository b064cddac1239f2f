"""What goes into a frame comes out; what is no frame is refused before anything is made of it."""

from __future__ import annotations

import socket
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from penstock.runtime.frames import MAX_HEADER_BYTES, Header, Inbox, pack
from penstock.tensors import DTYPES, Arrays

NUMBERS = st.sampled_from([dtype for name, dtype in DTYPES.items() if name != "BYTES"])
SHAPES = arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
NUMERIC = NUMBERS.flatmap(lambda dtype: arrays_of.arrays(dtype, SHAPES))
TEXT = arrays_of.arrays(object, SHAPES, elements=st.text(st.characters(exclude_categories=["Cs"]), max_size=8))


def read(data: bytes, *, most: int = 1 << 20, piece: int = 1 << 20) -> tuple[Header, Arrays]:
    """A frame as it comes over a socket, in pieces."""
    inbox = Inbox(most)
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(0)
        for start in range(0, len(data), piece):
            far.sendall(data[start : start + piece])
            frame = inbox.receive(near)
            if frame is not None:
                assert start + piece >= len(data)
                return frame
        far.close()
        inbox.receive(near)
        raise AssertionError("the end was not noticed")


@given(st.integers(0, 2**53), st.dictionaries(st.text(max_size=5), NUMERIC | TEXT, max_size=4))
def test_a_frame_comes_back_as_it_went(number: int, arrays: dict[str, np.ndarray]) -> None:
    header, back = read(pack(Header(id=number), arrays))
    assert header.id == number
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].flags.aligned
        np.testing.assert_array_equal(back[name], array)


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, EOFError)):
        read(data)


@given(st.data())
def test_a_changed_frame_is_refused_or_stays_a_frame(data: st.DataObject) -> None:
    frame = bytearray(pack(Header(id=1), {"a": np.arange(3.0), "b": np.array(["x", "y"], dtype=object)}))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        _, arrays = read(bytes(frame))
    except (ValueError, EOFError):
        return
    assert all(array.dtype in DTYPES.values() for array in arrays.values())


@pytest.mark.parametrize("piece", [1, 7, 1000, 60_000])
def test_a_frame_may_come_in_pieces_and_the_next_one_after_it(piece: int) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(0)
        inbox = Inbox()
        for size in (1, 20_000, 3):
            data = pack(Header(id=size), {"a": np.arange(float(size)), "b": np.array(["é"], object)})
            frame = None
            for start in range(0, len(data), piece):
                assert frame is None
                far.sendall(data[start : start + piece])
                frame = inbox.receive(near)
            assert frame is not None
            assert frame[0].id == size
            np.testing.assert_array_equal(frame[1]["a"], np.arange(float(size)))
            assert not inbox.begun


def test_nothing_yet_is_told_from_the_end() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(0)
        with pytest.raises(BlockingIOError):
            Inbox().receive(near)
        far.close()
        with pytest.raises(EOFError):
            Inbox().receive(near)


def test_a_second_frame_before_anybody_asked_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one"):
        read(pack(Header()) + b"x")


@pytest.mark.parametrize(
    "header",
    [
        [1, [["a", "FP64", [2], 8]]],
        [1, [["a", "FP64", [-1], 8]]],
        [1, [["a", "object", [1], 8]]],
        [1, [["a", "BYTES", [1], 8]]],
        [1, [["a", "FP64", [1], 99999999999]]],
        [1, [["a", "FP64", [1], -8]]],
        {},
        "text",
    ],
)
def test_a_header_that_lies_is_refused(header: object) -> None:
    head = msgspec.msgpack.encode(header)
    with pytest.raises(ValueError, match=r"."):
        read(struct.pack("<QQQ8x", len(head), 16, 1) + head + bytes(-len(head) % 16) + bytes(16))


def test_a_header_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        read(struct.pack("<QQQ8x", MAX_HEADER_BYTES + 1, 0, 1))


def test_a_frame_larger_than_expected_is_refused_before_it_is_read() -> None:
    frame = pack(Header(), {"a": np.zeros(1000)})
    assert read(frame, most=8000)[1]["a"].shape == (1000,)
    with pytest.raises(ValueError, match="too large"):
        read(frame[:32], most=7999)
