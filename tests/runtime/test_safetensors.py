"""safetensors are read as their writer wrote them, and a file that says what is not so is refused."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Corrupt
from penstock.runtime.safetensors import read_tensors

GOLDEN = Path(__file__).parents[1] / "golden" / "encoder" / "model.safetensors"


def file_of(header: object, body: bytes = b"") -> bytes:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(data)) + data + body


def entry(kind: str, shape: list, start: int, end: int) -> dict:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


def test_what_their_own_library_wrote_is_read() -> None:
    tensors = read_tensors(GOLDEN.read_bytes())
    assert tensors["embeddings.word_embeddings.weight"].shape == (23, 16)
    assert all(array.dtype == np.float32 for array in tensors.values())


def test_halves_become_single_precision() -> None:
    numbers = np.array([1.5, -2.0, 0.25], np.float32)
    bf16 = (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = {"a": entry("F16", [3], 0, 6), "b": entry("BF16", [1, 3], 6, 12), "c": entry("I64", [], 12, 20)}
    found = read_tensors(file_of(header, numbers.astype("<f2").tobytes() + bf16 + struct.pack("<q", -7)))
    assert found["a"].tolist() == found["b"][0].tolist() == numbers.tolist()
    assert found["a"].dtype == found["b"].dtype == np.float32
    assert found["c"].item() == -7


BAD = {
    "nothing": b"",
    "a length alone": struct.pack("<Q", 0),
    "a longer header than file": struct.pack("<Q", 99) + b"{}",
    "a huge header": struct.pack("<Q", 1 << 60) + b"{}",
    "no JSON": file_of(b"{"),
    "a list": file_of([]),
    "a name twice": file_of(b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"a":{}}', b"x"),
    "an unknown type": file_of({"a": entry("X8", [1], 0, 1)}, b"x"),
    "a negative size": file_of({"a": entry("U8", [-1], 0, 1)}, b"x"),
    "a size that is no number": file_of({"a": entry("U8", [True], 0, 1)}, b"x"),
    "another size": file_of({"a": entry("F32", [2], 0, 4)}, b"xxxx"),
    "beyond the end": file_of({"a": entry("U8", [9], 0, 9)}, b"x"),
    "backwards": file_of({"a": entry("U8", [0], 1, 0)}, b"x"),
    "a gap": file_of({"a": entry("U8", [1], 1, 2)}, b"xx"),
    "an overlap": file_of({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, b"xxx"),
    "more data": file_of({"a": entry("U8", [1], 0, 1)}, b"xx"),
    "a key too many": file_of({"a": {**entry("U8", [1], 0, 1), "more": 1}}, b"x"),
    "nested deep": file_of(b'{"a":' + b"[" * 100_000),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_so_is_refused(what: str) -> None:
    with pytest.raises(Corrupt):
        read_tensors(BAD[what])


@given(data=st.binary(max_size=64), cut=st.integers(0, 3000), flip=st.integers(8, 4000))
def test_no_bytes_raise_anything_else(data: bytes, cut: int, flip: int) -> None:
    whole = bytearray(GOLDEN.read_bytes())
    whole[flip] ^= 0x15
    for some in (data, struct.pack("<Q", len(data)) + data, bytes(whole), bytes(whole[:-cut] if cut else whole)):
        with suppress(Corrupt):
            read_tensors(some)
