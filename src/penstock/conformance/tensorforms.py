"""A tensor's three forms on the wire, as the conformance kit writes and reads them: JSON, raw bytes, typed contents.

Written after the specification alone and shared with nothing that serves. Source: required_api.md, Tensor Data;
inference_grpc.md, Tensor Data; Triton's extension for binary tensors.
"""

from __future__ import annotations

import base64
import struct
from math import prod

import numpy as np

from penstock.tensors import DTYPES, Array, TensorSpec

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
"""Field of InferTensorContents for each datatype that has one."""


class Misformed(Exception):
    """What came is no tensor of the protocol; with why."""


def json_tensor(spec: TensorSpec, array: Array, *, nested: bool = False) -> dict[str, object]:
    """A tensor of a REST request."""
    # The shortest decimals that are the same number: what people paste should be short.
    short: Array = array.astype(str).astype(float) if array.dtype == np.float32 else array
    data = short.tolist() if nested else short.ravel().tolist()
    return {"name": spec.name, "shape": list(array.shape), "datatype": spec.datatype, "data": data}


def binary_tensor(spec: TensorSpec, array: Array) -> dict[str, object]:
    """The JSON part of a tensor whose bytes follow."""
    size = {"binary_data_size": len(raw_bytes(array))}
    return {"name": spec.name, "shape": list(array.shape), "datatype": spec.datatype, "parameters": size}


def typed_tensor(spec: TensorSpec, array: Array) -> dict[str, object]:
    """A tensor of a gRPC request with typed contents."""
    flat = array.ravel().tolist()
    values = [base64.b64encode(str(one).encode()).decode() for one in flat] if spec.datatype == "BYTES" else flat
    contents = {CONTENTS[spec.datatype]: values}
    return {"name": spec.name, "shape": list(array.shape), "datatype": spec.datatype, "contents": contents}


def raw_bytes(array: Array) -> bytes:
    """Row-major little-endian bytes; of texts, each behind its length."""
    if array.dtype.kind == "O":
        texts = [str(text).encode() for text in array.ravel().tolist()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def read_values(name: str, datatype: str, shape: list[int], data: object) -> Array:
    """A tensor out of JSON or typed contents.

    Raises:
        Misformed: It is not what shape and datatype say.
    """
    flat = _flat(name, shape, data)
    if len(flat) != prod(shape):
        raise Misformed(f"output {name} has {len(flat)} elements and the shape {shape}")
    found = np.empty(len(flat), DTYPES[datatype])
    for index, value in enumerate(flat):
        found[index] = _element(name, datatype, value)
    return found.reshape(shape)


def read_raw(name: str, datatype: str, shape: list[int], data: bytes) -> Array:
    """A tensor out of raw bytes.

    Raises:
        Misformed: They are too few or too many.
    """
    if datatype == "BYTES":
        found: Array = np.array(_texts(name, data), object)
    else:
        dtype = DTYPES[datatype].newbyteorder("<")
        if len(data) % dtype.itemsize:
            raise Misformed(f"output {name} has {len(data)} bytes, which are no whole elements of {datatype}")
        found = np.frombuffer(data, dtype)
    if found.size != prod(shape):
        raise Misformed(f"output {name} has {found.size} elements in its bytes and the shape {shape}")
    return found.reshape(shape)


def _flat(name: str, shape: list[int], data: object) -> list[object]:
    """Flat as it is, nested laid flat; anything between the two is neither."""
    if not isinstance(data, list):
        raise Misformed(f"output {name} has no list as its data")
    if not any(isinstance(one, list) for one in data):
        return data
    found: list[object] = data
    for depth, size in enumerate(shape):
        if len(found) != prod(shape[: depth + 1]):
            raise Misformed(f"output {name} is not nested as its shape {shape} says")
        if depth == len(shape) - 1:
            return found
        if not all(isinstance(one, list) and len(one) == shape[depth + 1] for one in found):
            raise Misformed(f"output {name} is not nested as its shape {shape} says: {size} lists are not alike")
        found = [one for part in found if isinstance(part, list) for one in part]
    return found


def _element(name: str, datatype: str, value: object) -> object:
    """One value. JSON has no NaN, so null stands for it in floats."""
    if datatype == "BYTES":
        fits = isinstance(value, str)
    elif datatype == "BOOL":
        fits = isinstance(value, bool)
    elif datatype.startswith("FP"):
        value = float("nan") if value is None else value
        fits = (isinstance(value, int | float) and not isinstance(value, bool)) or value in (
            "NaN",
            "Infinity",
            "-Infinity",
        )
    else:
        value = int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value
        fits = isinstance(value, int) and not isinstance(value, bool)
    if not fits:
        raise Misformed(f"output {name} holds a value that is no {datatype}")
    return value


def _texts(name: str, data: bytes) -> list[str]:
    found, at = [], 0
    while at < len(data):
        end = at + 4 + (struct.unpack_from("<I", data, at)[0] if at + 4 <= len(data) else 4)
        if end > len(data):
            raise Misformed(f"output {name} ends inside a text")
        found.append(data[at + 4 : end].decode("utf-8", "replace"))
        at = end
    return found
