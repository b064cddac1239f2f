"""Stage 4, serve: rows of JSON, in any form, value by value to one array an input.

    [row, ...] --each in the signature's order--> table --column by column--> arrays, or the error with its path

A row is a list in the signature's order, an object by column, or the value itself for a model of one column; or an
object by input with each value nested as the input is, as TensorFlow Serving has it. Text may come as
``{"b64": "..."}``. Nothing is guessed: a whole number is a float, and nothing else becomes anything else.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from functools import cache
from types import GenericAlias
from typing import TypeVar, cast

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.serve.tensordata import ELEMENTS, bad_json
from penstock.tensors import DTYPES, FLOATS, Array, Arrays, Signature, TensorSpec

T = TypeVar("T")
Value = str | int | float | bool | None | dict[str, str]
"""The last is base64."""
Row = str | int | float | bool | None | list[Value] | dict[str, Value]
B64 = "b64"
MOST_ROWS = 1 << 18
"""Rows of a body that is read value by value: each may have two bytes, and everybody else waits meanwhile."""

_decode_rows = msgspec.json.Decoder(list[Row]).decode
_decode_named = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def read_rows(data: msgspec.Raw, signature: Signature, where: str) -> Arrays:
    """One array an input.

    Args:
        data: A JSON list.
        signature: The model's.
        where: Path of the list, for errors.

    Raises:
        InvalidInput: With the value's path.
    """
    first = signature.inputs[0]
    named = _named(data, signature)
    if named is not None:
        return {spec.name: _nested([row[spec.name] for row in named], spec, where) for spec in signature.inputs}
    if is_matrix(signature) and len(first.shape) > 2:
        return {first.name: _tensor(data, first, where)}
    return from_rows(within(data, _decode_rows, where), signature, where)


def from_rows(rows: Sequence[Row], signature: Signature, where: str) -> Arrays:
    """The same from decoded rows of numbers and texts.

    Raises:
        InvalidInput: With the value's path.
    """
    if len(rows) > MOST_ROWS:
        raise too_many_rows(where)
    if is_matrix(signature):
        return _matrix(rows, signature.inputs[0], where)
    columns = [spec.name for spec in signature.inputs]
    table = [_row(row, columns, where=f"{where}[{i}]") for i, row in enumerate(rows)]
    arrays: Arrays = {}
    for at, spec in enumerate(signature.inputs):

        def place(i: int, name: str = spec.name) -> str:
            return f"{where}[{i}].{name}"

        arrays[spec.name] = column([row[at] for row in table], spec, place, where).reshape(-1, 1)
    return arrays


def too_many_rows(where: str) -> InvalidInput:
    """The refusal of more rows than are read value by value."""
    return InvalidInput("the request has too many rows", f"send at most {MOST_ROWS} at once", where=where)


def is_matrix(signature: Signature) -> bool:
    """Whether all of a row goes into one input."""
    return len(signature.inputs) == 1 and signature.inputs[0].shape != (-1, 1)


def within(data: msgspec.Raw, decode: Callable[[bytes], T], where: str) -> T:
    """A part of a body by a typed decoder.

    Raises:
        InvalidInput: It does not fit; with the path of the first misfit.
    """
    try:
        return decode(bytes(data))
    except msgspec.DecodeError as error:
        raise bad_json(error, where) from None
    except (UnicodeDecodeError, RecursionError):
        raise bad_json(msgspec.DecodeError(), where) from None


def column(values: Sequence[Value], spec: TensorSpec, place: Callable[[int], str], where: str) -> Array:
    """Values of one input as its array.

    Args:
        values: Of all rows.
        spec: The input's.
        place: Path of the value that stands there, for errors.
        where: Path of them all.

    Raises:
        InvalidInput: With the value's path.
    """
    fits = _fits(spec.datatype)
    kinds = set(map(type, values))
    if not kinds.issubset(fits):
        wrong = next(at for at, value in enumerate(values) if type(value) not in fits)
        raise InvalidInput(f"the value is not {spec.datatype}", "look at the model's metadata", where=place(wrong))
    if dict in kinds:
        values = [text_of(value, place(at)) if isinstance(value, dict) else value for at, value in enumerate(values)]
    try:
        return np.array(values, DTYPES[spec.datatype])
    except (ValueError, OverflowError):
        raise InvalidInput(f"a value is out of the range of {spec.datatype}", where=f"{where}.{spec.name}") from None


def text_of(value: Value, where: str) -> Value:
    """A value of text, decoded where it is base64.

    Raises:
        InvalidInput: It is an object of another kind, no base64, or no UTF-8.
    """
    if not isinstance(value, dict):
        return value
    if value.keys() != {B64}:
        raise InvalidInput("the value is not BYTES", f'send text, or {{"{B64}": text in base64}}', where=where)
    try:
        return b64decode(value[B64], validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidInput("this is not UTF-8 text in base64", "send the text itself", where=f"{where}.{B64}") from None


def is_base64(spec: TensorSpec) -> bool:
    """Whether an output leaves as base64: by its name, as in TensorFlow Serving."""
    return spec.datatype == "BYTES" and spec.name.endswith("_bytes")


@cache
def nested_decoder(datatype: str, depth: int) -> Callable[[bytes], object]:
    """A decoder of lists, so deep, of a datatype's elements, base64 included."""
    kind: object = ELEMENTS[datatype] if datatype != "BYTES" else str | None | dict[str, str]
    for _ in range(depth):
        kind = GenericAlias(list, (kind,))
    return msgspec.json.Decoder(cast("type[object]", kind)).decode


def nested_array(values: object, datatype: str, where: str) -> Array:
    """Nested lists of a datatype's elements as an array.

    Raises:
        InvalidInput: The lists differ in length, or a value is out of range.
    """
    try:
        array: Array = np.array(values, DTYPES[datatype])
    except (ValueError, OverflowError):
        raise InvalidInput("the rows differ in shape, or a value is out of range", where=where) from None
    if datatype == "BYTES":
        flat = array.ravel().tolist()
        if list in map(type, flat):
            raise InvalidInput("the rows differ in shape", where=where)
        if dict in map(type, flat):
            texts = np.empty(len(flat), object)
            texts[:] = [text_of(value, where) for value in flat]
            return texts.reshape(array.shape)
    return array


def depth_of(text: bytes) -> int:
    """How many lists are opened before the first value."""
    depth = 0
    for byte in text:
        if byte == ord("["):
            depth += 1
        elif byte not in b" \t\r\n":
            break
    return depth


def _named(data: msgspec.Raw, signature: Signature) -> list[dict[str, msgspec.Raw]] | None:
    """Rows that name the inputs and nest their values; None where they are written in another way."""
    try:
        rows = _decode_named(bytes(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    names = set(signature.input_names())
    if not rows or any(row.keys() != names for row in rows):
        return None
    nests = is_matrix(signature) or any(bytes(value)[:1] == b"[" for row in rows for value in row.values())
    return rows if nests else None


def _nested(values: list[msgspec.Raw], spec: TensorSpec, where: str) -> Array:
    """An input from each row's own value of it."""
    rank = len(spec.shape) - 1
    depth = depth_of(bytes(values[0]))
    if not rank - 1 <= depth <= rank + 1:
        depth = rank
    decode = nested_decoder(spec.datatype, depth)
    found = [within(value, decode, f"{where}[{i}].{spec.name}") for i, value in enumerate(values)]
    return nested_array(found, spec.datatype, f"{where}.{spec.name}")


def _tensor(data: msgspec.Raw, spec: TensorSpec, where: str) -> Array:
    """All rows, each nested as deep as the model's, as its one input."""
    array = nested_array(within(data, nested_decoder(spec.datatype, len(spec.shape)), where), spec.datatype, where)
    if array.ndim != len(spec.shape):
        raise InvalidInput(
            f"the rows have the shape {list(array.shape[1:])} and the model wants {list(spec.shape[1:])}",
            "nest each row as deep as the model's",
            where=where,
        )
    return array


def _row(row: Row, columns: list[str], *, where: str) -> list[Value]:
    """One row's values in the signature's order."""
    if isinstance(row, dict) and (row.keys() != {B64} or B64 in columns):
        for position, name in enumerate(row):
            if name not in columns:
                known = ", ".join(columns)
                raise InvalidInput(
                    "the row has a name that the model does not know",
                    f"the model's inputs are {known}",
                    where=f"{where}[{position}]",
                )
        missing = [name for name in columns if name not in row]
        if missing:
            raise InvalidInput("the value is missing", "send every input", where=f"{where}.{missing[0]}")
        return [row[name] for name in columns]
    values = row if isinstance(row, list) else [cast("Value", row)]
    if len(values) != len(columns):
        raise InvalidInput(f"the row has {len(values)} values and the model wants {len(columns)}", where=where)
    return values


def _matrix(rows: Sequence[Row], spec: TensorSpec, where: str) -> Arrays:
    """All rows as the one matrix of the model."""
    width = spec.shape[-1] if len(spec.shape) > 1 else 1
    names = list(spec.columns) or [str(i) for i in range(max(width, 0))]
    if width == -1 and rows and isinstance(rows[0], list):
        names = [str(i) for i in range(len(rows[0]))]
    table = [_row(row, names, where=f"{where}[{i}]") for i, row in enumerate(rows)]
    flat = [value for row in table for value in row]
    shape = (len(rows), len(names)) if len(spec.shape) > 1 else (len(rows),)

    def place(at: int) -> str:
        return f"{where}[{at // len(names)}][{at % len(names)}]"

    return {spec.name: column(flat, spec, place, where).reshape(shape)}


def _fits(datatype: str) -> tuple[type, ...]:
    if datatype in FLOATS:
        return (float, int, type(None))
    if datatype == "BYTES":
        return (str, type(None), dict)
    return (bool,) if datatype == "BOOL" else (int,)
