"""Stage 4, serve: one tensor as TensorFlow writes it in a message, to an array and back.

    tensor_content, float_val, double_val  --a view of the message's bytes-->  array
    the other *_val                        --by the message class----------->  array
    array  --the *_val of its dtype, as TensorFlow Serving answers-->  parts of a message

Fewer values than elements repeat the last, as TensorFlow has it. Source: ``tensorflow/core/framework/tensor.proto``,
``tensor.cc``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from google.protobuf.message import DecodeError

from penstock.errors import InvalidInput
from penstock.serve.protos.messages import message
from penstock.serve.protowire import BYTES, VARINT, Part, field, fields, malformed, varint
from penstock.serve.tensordata import BF16, MOST_DIMENSIONS, from_raw, shaped
from penstock.tensors import DTYPES, Array, datatype_of

_Tensor = message("tensorflow.TensorProto")
_DATATYPES = {
    1: "FP32", 2: "FP64", 3: "INT32", 4: "UINT8", 5: "INT16", 6: "INT8", 7: "BYTES", 9: "INT64", 10: "BOOL",
    14: BF16, 17: "UINT16", 19: "FP16", 22: "UINT32", 23: "UINT64",
}  # fmt: skip
_NUMBERS = {datatype: number for number, datatype in _DATATYPES.items()}
_VALUES = {
    "FP32": "float_val",
    "FP64": "double_val",
    **dict.fromkeys(("INT32", "INT16", "INT8", "UINT16", "UINT8"), "int_val"),
    "BYTES": "string_val",
    "INT64": "int64_val",
    "BOOL": "bool_val",
    **dict.fromkeys(("FP16", BF16), "half_val"),
    "UINT32": "uint32_val",
    "UINT64": "uint64_val",
}
_DTYPE, _CONTENT = 1, 4
_PACKED = {"FP32": 5, "FP64": 6}
"""Fields whose packed values are the array's own bytes."""
_BITS = np.dtype(np.uint16)
_MOST_FILLED = 1 << 22
"""Elements that a shorter list of values may be made into."""


def read_tensor(data: memoryview, where: str) -> Array:
    """A tensor of a request.

    Args:
        data: A TensorProto; what it holds as bytes stays there.
        where: Path of the tensor, for errors.

    Raises:
        InvalidInput: It is malformed, has a dtype that no model takes, or values that do not fit its shape.
    """
    number = 0
    large: dict[int, memoryview] = {}
    small = bytearray()
    for one in fields(data):
        if one.number == _DTYPE and one.kind == VARINT:
            number = one.value
        elif one.kind == BYTES and one.number in (_CONTENT, *_PACKED.values()) and one.number not in large:
            large[one.number] = one.data
        else:
            # Small, or in pieces: the message class puts it together.
            small += one.whole
    datatype = _DATATYPES.get(number)
    if datatype is None:
        known = ", ".join(sorted(_NUMBERS))
        raise InvalidInput("no model takes this dtype", f"send one of {known}", where=f"{where}.dtype")
    try:
        rest = _Tensor.FromString(bytes(small))
    except DecodeError:
        raise malformed() from None
    shape = _shape(rest, where)
    content = large.get(_CONTENT, data[:0])
    if len(content):
        return _from_content(content, datatype, shape, where)
    packed = large.get(_PACKED.get(datatype, 0))
    if packed is not None and len(packed) == prod(shape) * DTYPES[datatype].itemsize:
        return from_raw(packed, datatype, shape, where=where)
    given = list(getattr(rest, _VALUES[datatype]))
    if packed is not None:
        given = [*_unpacked(packed, datatype, where), *given]
    return _from_values(given, datatype, shape, where)


def tensor_parts(array: Array) -> list[Part]:
    """An array as a TensorProto; floating point numbers stay where they are."""
    datatype = datatype_of(array.dtype)
    tensor = _Tensor(dtype=_NUMBERS[datatype])
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if datatype in _PACKED and array.size:
        head: bytes = tensor.SerializeToString()
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        return [head, *field(_PACKED[datatype], [plain.reshape(-1).view(np.uint8).data])]
    flat = array.ravel()
    if datatype == "FP16":
        flat = flat.view(_BITS)
    values = flat.tolist()
    if datatype == "BYTES":
        values = [str(text).encode() for text in values]
    getattr(tensor, _VALUES[datatype]).extend(values)
    whole: bytes = tensor.SerializeToString()
    return [whole]


def _shape(tensor: object, where: str) -> list[int]:
    told = tensor.tensor_shape  # type: ignore[attr-defined]  # of a class made at run time
    shape: list[int] = [dim.size for dim in told.dim]
    if told.unknown_rank or min(shape, default=0) < 0:
        raise InvalidInput("the shape is not known", "say every dimension", where=f"{where}.tensor_shape")
    if len(shape) > MOST_DIMENSIONS:
        raise InvalidInput("the tensor has too many dimensions", "send fewer", where=f"{where}.tensor_shape")
    return shape


def _from_content(content: memoryview, datatype: str, shape: list[int], where: str) -> Array:
    where = f"{where}.tensor_content"
    if datatype == "BYTES":
        return _filled(_text_list(content, prod(shape), where), shape, where)
    size = 2 if datatype == BF16 else DTYPES[datatype].itemsize
    if len(content) != prod(shape) * size:
        raise InvalidInput(
            f"the content has {len(content)} bytes and the shape wants {prod(shape) * size}",
            "send every element once",
            where=where,
        )
    return from_raw(content, datatype, shape, where=where)


def _text_list(content: memoryview, length: int, where: str) -> Array:
    """Texts as TensorFlow's content has them: all lengths, then all bytes."""
    sizes: list[int] = []
    at = 0
    try:
        # Each text has at least a length, of at least a byte.
        for _ in range(min(length, len(content) + 1)):
            size, at = varint(content, at)
            sizes.append(size)
    except InvalidInput:
        at = -1
    if at + sum(sizes) != len(content):
        raise InvalidInput("the content is no list of texts", "send string_val", where=where)
    texts: list[bytes] = []
    for size in sizes:
        texts.append(bytes(content[at : at + size]))
        at += size
    return _texts(texts, where)


def _from_values(given: Sequence[object], datatype: str, shape: list[int], where: str) -> Array:
    where = f"{where}.{_VALUES[datatype]}"
    if datatype == "BYTES":
        return _filled(_texts(given, where), shape, where)
    dtype = _BITS if _VALUES[datatype] == "half_val" else DTYPES[datatype]
    try:
        array: Array = np.array(given, dtype)
    except (ValueError, OverflowError):
        raise InvalidInput(f"a value is out of the range of {datatype}", "send numbers in range", where=where) from None
    if datatype == "FP16":
        array = array.view(np.float16)
    elif datatype == BF16:
        array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return _filled(array, shape, where)


def _unpacked(packed: memoryview, datatype: str, where: str) -> list[object]:
    dtype = DTYPES[datatype]
    if len(packed) % dtype.itemsize:
        raise InvalidInput("the bytes end inside an element", "send whole elements", where=where)
    values: list[object] = np.frombuffer(packed, dtype.newbyteorder("<")).tolist()
    return values


def _filled(values: Array, shape: list[int], where: str) -> Array:
    """Values in their shape; too few repeat the last."""
    size = prod(shape)
    if len(values) != size:
        if not len(values) or len(values) > size:
            raise InvalidInput(
                f"there are {len(values)} values and the shape wants {size}", "send each element once", where=where
            )
        if size > _MOST_FILLED:
            raise InvalidInput("too few values for so large a tensor", "send each element", where=where)
        values = np.concatenate([values, np.repeat(values[-1:], size - len(values))])
    return shaped(values, shape, where=where)


def _texts(values: Sequence[object], where: str) -> Array:
    found = np.empty(len(values), object)
    try:
        found[:] = [bytes(text).decode() for text in values]  # type: ignore[call-overload]  # strings of a message
    except UnicodeDecodeError:
        raise InvalidInput("a text is not UTF-8", "send UTF-8", where=where) from None
    return found
