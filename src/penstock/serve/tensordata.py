"""Stage 4, serve: one tensor's bytes to an array and back, in the two forms of the Open Inference Protocol.

    JSON text, flat or nested      --from_json-->  array  --to_json-->    list, row-major
    raw little-endian bytes        --from_raw--->  array  --to_raw--->    bytes

Typed decoders do the work: a string where a number belongs is found by the JSON parser itself, which knows the
path. A missing value is JSON null: NaN in floats, None in text; whether it is allowed is the signature's business.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from functools import cache
from math import prod
from types import GenericAlias
from typing import TypeVar, cast

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.tensors import DTYPES, FLOATS, Array

T = TypeVar("T")
ELEMENTS: dict[str, object] = {
    **dict.fromkeys(DTYPES, int),
    **dict.fromkeys(FLOATS, float | None),
    "BOOL": bool,
    "BYTES": str | None,
}
_PATH = re.compile(r"`\$((?:\.[A-Za-z_]+|\[\d+\])*)`?")
_EXPECTED = re.compile(r"^Expected `[a-z| ]+`, got `[a-z]+`")
_NOT_JSON_NUMBERS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?NaN\b|-?Infinity\b')
MOST_DIMENSIONS = 32
DATATYPES = {dtype.str: name for name, dtype in DTYPES.items()}
"""Names of datatypes by their numpy types' own."""
BF16 = "BF16"
"""Upper half of an FP32: a datatype of requests, but of no signature."""
ONLY_RAW = frozenset({"FP16", BF16})
_BF16 = np.dtype(np.uint16)


@cache
def _decoder(datatype: str, rank: int) -> msgspec.json.Decoder[list[object]]:
    """A decoder of lists, `rank` deep, of the datatype's elements."""
    kind = ELEMENTS[datatype]
    for _ in range(rank):
        kind = GenericAlias(list, (kind,))
    return msgspec.json.Decoder(cast("type[list[object]]", kind))


def bad_json(error: msgspec.DecodeError, where: str = "") -> InvalidInput:
    """What a decoder complained about, with the field's path and without a word of the caller's."""
    text = str(error)
    place = _PATH.search(text)
    expected = _EXPECTED.match(text)
    if isinstance(error, msgspec.ValidationError):
        missing = "Object missing required field `" in text
        message = expected.group().lower() if expected else "a field is missing" if missing else "a value does not fit"
        path = where + (place.group(1) if place else "")
        if missing:
            path += "." + text.split("`")[1]
        return InvalidInput(message, "look at the model's metadata", where=path.lstrip("."))
    return InvalidInput("the body is not valid JSON", "send UTF-8 JSON", code="input.malformed", where=where)


def without_nan(body: bytes) -> bytes:
    """The same JSON with the token NaN, which JSON does not have but clients send, as null.

    Raises:
        InvalidInput: There is an Infinity, which nothing can stand for.
    """

    def replaced(match: re.Match[bytes]) -> bytes:
        token = match.group()
        if token.endswith(b"Infinity"):
            raise InvalidInput("JSON has no infinite numbers", "send them as binary tensors", code="input.malformed")
        return b"null" if token.endswith(b"NaN") else token

    return _NOT_JSON_NUMBERS.sub(replaced, body)


def parse(body: bytes, decode: Callable[[bytes], T]) -> T:
    """A body's JSON by a typed decoder; a NaN token counts as null.

    Raises:
        InvalidInput: It is not JSON, too deep, or does not fit; with the path of the first misfit.
    """
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise bad_json(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if b"NaN" not in body and b"Infinity" not in body:
            raise bad_json(msgspec.DecodeError()) from None
    try:
        return decode(without_nan(body))
    except msgspec.DecodeError as error:
        raise bad_json(error) from None
    except (UnicodeDecodeError, RecursionError):
        raise bad_json(msgspec.DecodeError()) from None


def with_tokens(value: object) -> bytes:
    """A value as JSON in which numbers that JSON does not have stand as the tokens NaN and Infinity."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def from_json(data: msgspec.Raw, datatype: str, shape: list[int], *, where: str) -> Array:
    """An array from JSON text.

    Args:
        data: A flat row-major list, or one nested as `shape` says.
        datatype: Checked by the caller.
        shape: Checked against the number of elements.
        where: Path of the tensor, for errors.

    Raises:
        InvalidInput: Wrong type or number of elements, at the path of the first.
    """
    if datatype in ONLY_RAW:
        raise InvalidInput(f"{datatype} has no JSON form", "send it as a binary tensor", where=f"{where}.datatype")
    if len(shape) > MOST_DIMENSIONS:
        raise InvalidInput("the tensor has too many dimensions", "send fewer", where=f"{where}.shape")
    text = bytes(data)
    nested = len(shape) > 1 and text[1:].lstrip()[:1] == b"["
    try:
        values = _decoder(datatype, len(shape) if nested else 1).decode(text)
    except msgspec.DecodeError as error:
        raise bad_json(error, f"{where}.data") from None
    except UnicodeDecodeError:
        raise bad_json(msgspec.DecodeError(), f"{where}.data") from None
    try:
        array: Array = np.array(values, DTYPES[datatype])
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"the values do not fit {datatype} and the shape", "send numbers in range", where=f"{where}.data"
        ) from None
    return shaped(array, shape, where=where, nested=nested)


def shaped(array: Array, shape: list[int], *, where: str, nested: bool = False) -> Array:
    """The array in the shape its sender declared.

    Raises:
        InvalidInput: Another number of elements, or another nesting.
    """
    declared = tuple(shape)
    if array.shape == declared:
        return array
    if nested or prod(shape) != array.size or min(shape, default=0) < 0:
        raise InvalidInput(
            f"the data have {array.size} elements and the shape says otherwise",
            "the shape is the number of entries along each dimension",
            where=f"{where}.shape",
        )
    try:
        return array.reshape(declared)
    except ValueError:
        # No elements at all, in dimensions that no array can have.
        raise InvalidInput("no array has this shape", "send a smaller one", where=f"{where}.shape") from None


def from_raw(data: memoryview, datatype: str, shape: list[int], *, where: str) -> Array:
    """An array from little-endian bytes; text elements are a 4-byte length and UTF-8.

    Numbers stay where they are when they are aligned there, and are copied once when they are not. BF16, which numpy
    does not have, becomes FP32: the same numbers, in which every BF16 number is exact.

    Raises:
        InvalidInput: The bytes are too few, too many, or not UTF-8.
    """
    if datatype == "BYTES":
        return shaped(_texts(data, where), shape, where=where)
    if datatype == "BOOL":
        return shaped(np.frombuffer(data, np.uint8) != 0, shape, where=where)
    dtype = _BF16 if datatype == BF16 else DTYPES[datatype]
    if len(data) % dtype.itemsize:
        raise InvalidInput(
            "the bytes end inside an element", "send whole elements", where=f"{where}.parameters.binary_data_size"
        )
    array: Array = np.frombuffer(data, dtype.newbyteorder("<"))
    if datatype == BF16:
        array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    elif not array.flags.aligned:
        array = array.copy()
    return shaped(array.astype(array.dtype.newbyteorder("="), copy=False), shape, where=where)


def _texts(data: memoryview, where: str) -> Array:
    texts: list[str] = []
    at = 0
    while at < len(data):
        end = at + 4
        if end <= len(data):
            end += struct.unpack_from("<I", data, at)[0]
        if end > len(data) or end < at + 4:
            raise InvalidInput("the bytes end inside an element", "each has a 4-byte length", where=f"{where}.data")
        try:
            texts.append(str(data[at + 4 : end], "utf-8"))
        except UnicodeDecodeError:
            raise InvalidInput("the text is not UTF-8", "send UTF-8", where=f"{where}.data[{len(texts)}]") from None
        at = end
    found = np.empty(len(texts), object)
    found[:] = texts
    return found


def to_raw(array: Array) -> bytes:
    """Row-major little-endian bytes."""
    if array.dtype.kind == "O":
        encoded = [str(text).encode() for text in array.ravel().tolist()]
        return b"".join(struct.pack("<I", len(text)) + text for text in encoded)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
