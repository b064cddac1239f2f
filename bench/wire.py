"""The few bytes of protobuf that one V2 gRPC request and its answer need, by hand: no generated code to trust.

Source: Protocol Buffers encoding; Open Inference Protocol ``grpc_predict_v2.proto`` (field numbers).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.traffic import Floats

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def infer_request(model: str, tensor: str, rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bytes:
    """A ``ModelInferRequest`` with one FP32 tensor in ``raw_input_contents``."""
    shape = b"".join(_varint(size) for size in rows.shape)
    described = _field(1, tensor.encode()) + _field(2, b"FP32") + _field(3, shape)
    return _field(1, model.encode()) + _field(5, described) + _field(7, rows.tobytes())


def last_output(message: bytes) -> Floats:
    """Numbers of the last output of a ``ModelInferResponse``, raw or typed.

    Raises:
        LookupError: There is no output, or none with numbers.
    """
    outputs = [value for number, value in _fields(message) if number == 5]
    raws = [value for number, value in _fields(message) if number == 6]
    described = dict(_fields(outputs[-1]))
    kind = {b"FP32": "<f4", b"FP64": "<f8"}[described[2]]
    if raws:
        return np.frombuffer(raws[-1], kind).astype(np.float64)
    contents = dict(_fields(described[5]))
    return np.frombuffer(contents[6 if kind == "<f4" else 7], kind).astype(np.float64)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and values of the length-delimited fields; others are passed over."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _read_varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, at = _read_varint(message, at)
            yield key >> 3, message[at : at + size]
            at += size
        else:
            raise ValueError("not a protobuf message")


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | message[at] << shift, at + 1
