"""Stage 4, serve: values of many one-row requests to one conformed array an input.

Comes in: Python values by input, row after row, of types that a typed decoder has checked. Goes out: what
`penstock.tensors.conform` would have made of them. A struct pack of the flat values takes half the time of numpy's
own conversion and refuses what does not fit; who calls then lets the complete path say why.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain
from math import nan, prod
from typing import NamedTuple

import numpy as np

from penstock.tensors import DTYPES, FLOATS, Array, Arrays, Signature, TensorSpec

MOST_VALUES = 1024
"""Widest row that is usual; in a wider one the work per request is small beside the work per value."""

_CODES = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP32": "f", "FP64": "d",
}  # fmt: skip

Value = str | int | float | bool | None


class _Input(NamedTuple):
    """How an input's flat values become its array; `code` is empty for text, `pack` packs one row of numbers."""

    name: str
    code: str
    dtype: np.dtype[np.generic]
    row: tuple[int, ...]
    pack: Callable[..., bytes]


class Stacking:
    """The stacking of a signature whose rows are usual; see `stacking_of`."""

    def __init__(self, signature: Signature) -> None:
        self._inputs = tuple(_input(spec) for spec in signature.inputs)

    def stack(self, values: Sequence[Sequence[Value]], rows: int) -> Arrays:
        """One array an input.

        Args:
            values: One flat sequence an input, row after row; a missing number is None.
            rows: Number of rows.

        Raises:
            struct.error: A whole number is out of its type's range.
            OverflowError: A float is.
        """
        return {
            one.name: _texts(one, flat, rows) if not one.code else _numbers(one, flat, rows)
            for one, flat in zip(self._inputs, values, strict=True)
        }

    def stack_rows(self, rows: Sequence[Sequence[Value]]) -> Arrays:
        """The array of the only input of a signature, of one sequence of values a row; see `stack`."""
        one = self._inputs[0]
        if one.code:
            try:
                # A row at a time: nobody makes one long list of all values first.
                data = b"".join([one.pack(*row) for row in rows])
                return {one.name: np.frombuffer(data, one.dtype).reshape(len(rows), *one.row)}
            except struct.error:
                pass  # some are missing, or out of range
        return self.stack([list(chain.from_iterable(rows))], len(rows))


def stacking_of(signature: Signature) -> Stacking | None:
    """The stacking of a signature of one fixed matrix or of single columns; None for any other."""
    widths = [width_of(spec) for spec in signature.inputs]
    if not all(0 < width <= MOST_VALUES for width in widths) or (len(widths) > 1 and set(widths) != {1}):
        return None
    if any(spec.datatype not in _CODES and spec.datatype != "BYTES" for spec in signature.inputs):
        return None
    return Stacking(signature)


def width_of(spec: TensorSpec) -> int:
    """Values of a row; 0 where that is not fixed or the row is no list."""
    if spec.shape == (-1,):
        return 1
    return max(spec.shape[1], 0) if len(spec.shape) == 2 and spec.shape[0] == -1 else 0


def element_of(spec: TensorSpec) -> object:
    """The Python type of an input's values, for a typed decoder."""
    if spec.datatype in FLOATS:
        return float | None if spec.nullable else float
    if spec.datatype == "BYTES":
        return str | None if spec.nullable else str
    return bool if spec.datatype == "BOOL" else int


def _input(spec: TensorSpec) -> _Input:
    code, row = _CODES.get(spec.datatype, ""), spec.shape[1:]
    return _Input(spec.name, code, DTYPES[spec.datatype], row, struct.Struct(f"={prod(row)}{code or 'x'}").pack)


def _numbers(one: _Input, flat: Sequence[Value], rows: int) -> Array:
    form = f"={len(flat)}{one.code}"
    try:
        data = struct.pack(form, *flat)
    except struct.error:
        if None not in flat:
            raise
        data = struct.pack(form, *[nan if value is None else value for value in flat])
    return np.frombuffer(data, one.dtype).reshape(rows, *one.row)


def _texts(one: _Input, flat: Sequence[Value], rows: int) -> Array:
    array = np.empty(len(flat), object)
    array[:] = ["" if text is None else text for text in flat]
    return array.reshape(rows, *one.row)
