"""A safetensors file, read strictly: a header in JSON, then numbers, and nothing that could run.

    length of the header (u64) + header (name -> dtype, shape, offsets) + data, little-endian

What comes in: the file's bytes. What goes out: arrays by name, which lie in them; FP16 and BF16 as
FP32. The data must be covered whole, each byte by one tensor. Source: the safetensors format, huggingface/safetensors.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from math import prod

import numpy as np
import numpy.typing as npt

from penstock.errors import Corrupt

MAX_HEADER_BYTES = 16 << 20
MAX_RANK = 32
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_TYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
_NARROW = ("F16", "BF16")
Tensors = dict[str, npt.NDArray[np.generic]]
Widen = Callable[[memoryview, str], npt.NDArray[np.float32]]


def widened(data: memoryview, kind: str) -> npt.NDArray[np.float32]:
    """Numbers in FP16 or BF16 (``F16``, ``BF16``) as FP32, in memory."""
    if kind == "F16":
        return np.frombuffer(data, "<f2").astype(np.float32)
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


def read_tensors(data: bytes | memoryview, widen: Widen = widened) -> Tensors:
    """All tensors of a file.

    Args:
        data: The file.
        widen: Makes FP32 of numbers in FP16 or BF16, and keeps them where it will.

    Raises:
        Corrupt: It is no such file, or says of itself what is not so.
    """
    if len(data) < 8:
        raise _wrong("it is too short")
    (size,) = struct.unpack_from("<Q", data)
    if size > min(MAX_HEADER_BYTES, len(data) - 8):
        raise _wrong("its header is longer than it is")
    try:
        header = json.loads(bytes(data[8 : 8 + size]).decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _wrong("its header is not JSON, or names a tensor twice") from None
    if not isinstance(header, dict):
        raise _wrong("its header is no object")
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + size :]
    found: Tensors = {}
    end = 0
    for name, (start, stop, kind, shape) in sorted(_entries(header), key=lambda entry: entry[1][:2]):
        if start != end or stop > len(body) or stop - start != _SIZES[kind] * prod(shape):
            raise _wrong("its tensors overlap, leave a gap, or are of another size than they say")
        part = body[start:stop]
        found[name] = (widen(part, kind) if kind in _NARROW else _array(part, kind)).reshape(shape)
        end = stop
    if end != len(body):
        raise _wrong("it holds data of no tensor")
    return found


def _entries(header: dict[str, object]) -> list[tuple[str, tuple[int, int, str, tuple[int, ...]]]]:
    found = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise _wrong("its header says of a tensor what it should not")
        kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if type(kind) is not str or kind not in _SIZES or not _counts(shape, MAX_RANK) or not _counts(offsets, 2):
            raise _wrong("its header has a type, shape or place that is none")
        if len(offsets) != 2:
            raise _wrong("its header has a type, shape or place that is none")
        found.append((name, (offsets[0], offsets[1], kind, tuple(shape))))
    return found


def _counts(value: object, most: int) -> bool:
    return (
        isinstance(value, list) and len(value) <= most and all(type(one) is int and 0 <= one < 1 << 48 for one in value)
    )


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _array(data: memoryview, kind: str) -> npt.NDArray[np.generic]:
    if kind == "BOOL":
        return np.frombuffer(data, np.uint8).astype(np.bool_)
    return np.frombuffer(data, _TYPES[kind])


def _wrong(why: str) -> Corrupt:
    return Corrupt(f"this is no safetensors file: {why}", "save the model again", code="build.safetensors")
