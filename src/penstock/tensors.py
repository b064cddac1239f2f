"""The data plane's nouns: typed arrays, a model's signature, and the check that one fits the other.

What comes in: arrays by input name, as a protocol decoded them. What goes out: contiguous arrays of the
signature's types and ranks, ready for an engine. Names and datatypes are the Open Inference Protocol's.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import cast

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]
Arrays = dict[str, Array]

DTYPES: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
"""Open Inference Protocol datatype -> numpy dtype; BYTES is an object array of ``str``."""

DATATYPES = {dtype: name for name, dtype in DTYPES.items()}
"""A dtype in this machine's byte order -> the protocol's name."""

FLOATS = frozenset({"FP16", "FP32", "FP64"})


def datatype_of(dtype: np.dtype[np.generic]) -> str:
    """The protocol's name of a numpy dtype; text of any kind is ``BYTES``.

    Raises:
        InvalidInput: The protocol has no name for it (complex numbers, dates).
    """
    name = DATATYPES.get(dtype) or DATATYPES.get(dtype.newbyteorder("="))
    if name is not None:
        return name
    if dtype.kind in "OUSTV":
        return "BYTES"
    raise InvalidInput(f"no protocol datatype for {dtype}", "convert the column to numbers or text")


_json = msgspec.json.Encoder().encode


def json_rows(array: Array) -> list[bytes]:
    """Each row's values as JSON, comma by comma, without brackets: one encoding for all rows of numbers."""
    if array.ndim == 1 and array.dtype.kind != "O":
        return _json(array.tolist())[1:-1].split(b",")
    rows = (array if array.ndim == 2 else array.reshape(len(array), -1)).tolist()
    if array.dtype.kind == "O":
        return [_json(row)[1:-1] for row in rows]
    return _json(rows)[2:-2].split(b"],[")


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One named input or output.

    Attributes:
        name: As clients write it.
        datatype: A key of `DTYPES`.
        shape: -1 is a free dimension; the first is the row.
        nullable: A missing value (JSON null; NaN in floats, "" in text) is allowed.
        columns: Names of the last dimension's entries, where a matrix stands for named columns.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    nullable: bool = False
    columns: tuple[str, ...] = ()


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The typed schema of a model: what goes in, what comes out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def input_names(self) -> tuple[str, ...]:
        """Names in the signature's order."""
        return tuple(spec.name for spec in self.inputs)


def conform(signature: Signature, arrays: Mapping[str, Array], *, no_rows: bool = False) -> Arrays:
    """Check arrays against the signature and give them its types, ranks and row count.

    A column ``[-1, 1]`` may come as ``[-1]`` and the reverse. Integers widen to floats and narrower
    integers to wider ones; nothing is ever rounded, parsed or guessed. Arrays of no rows pass where `no_rows` says so.

    Returns:
        One array per input of the signature, in its order, all with the same first dimension.

    Raises:
        InvalidInput: With the field's path; the message never holds a value.
    """
    conformed: Arrays = {}
    rows = -1
    for spec in signature.inputs:
        given = arrays.get(spec.name)
        if given is None:
            _refuse_unknown(signature, arrays)
            raise InvalidInput("the input is missing", "send every input of the model", where=f"inputs.{spec.name}")
        array = _conform_one(spec, given)
        if rows not in (-1, len(array)):
            raise InvalidInput(
                f"the input has {len(array)} rows and an earlier one {rows}",
                "every input of one request has the same number of rows",
                where=f"inputs.{spec.name}.shape",
            )
        rows = len(array)
        conformed[spec.name] = array
    if len(arrays) != len(conformed):
        _refuse_unknown(signature, arrays)
    if rows == 0 and not no_rows:
        raise InvalidInput(
            "the request has no rows", "send at least one", where=f"inputs.{signature.inputs[0].name}.shape"
        )
    return conformed


def nothing(signature: Signature) -> Arrays:
    """The answer to no rows: every output, of no rows; a free dimension is empty, too."""
    return {
        spec.name: np.empty((0, *(max(size, 0) for size in spec.shape[1:])), DTYPES[spec.datatype])
        for spec in signature.outputs
    }


def _refuse_unknown(signature: Signature, arrays: Mapping[str, Array]) -> None:
    """Refuse a name that is not the model's; it is the caller's own text, so it is not repeated."""
    names = signature.input_names()
    for index, name in enumerate(arrays):
        if name not in names:
            raise InvalidInput(
                "an input has a name that the model does not know",
                f"the model's inputs are {', '.join(names)}",
                where=f"inputs[{index}].name",
            )


def _conform_one(spec: TensorSpec, array: Array) -> Array:
    """One array in its spec's type and rank."""
    wanted = DTYPES[spec.datatype]
    if array.dtype != wanted:
        if array.dtype.kind not in "iu" or not np.can_cast(array.dtype, wanted, "same_kind"):
            raise InvalidInput(
                f"the datatype is {datatype_of(array.dtype)} and the model wants {spec.datatype}",
                f"send {spec.datatype}",
                where=f"inputs.{spec.name}.datatype",
            )
        array = array.astype(wanted)
    # Most arrays have their spec's very shape: that is one comparison.
    if spec.shape[:1] != (-1,) or array.shape[1:] != spec.shape[1:] or array.ndim != len(spec.shape):
        array = _shaped(spec, array)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    if spec.datatype == "BYTES":
        return _texts(spec, array)
    if spec.datatype in FLOATS:
        _require_present(spec, array)
    return array


def _shaped(spec: TensorSpec, array: Array) -> Array:
    """The array in its spec's rank, every fixed dimension as declared."""
    if array.ndim == len(spec.shape) - 1 and spec.shape[-1] == 1:
        array = array.reshape(*array.shape, 1)
    elif array.ndim == len(spec.shape) + 1 and array.shape[-1] == 1:
        array = array.reshape(array.shape[:-1])
    fits = array.ndim == len(spec.shape) and all(
        want in (-1, have) for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InvalidInput(
            f"the shape is {list(array.shape)} and the model wants {list(spec.shape)}",
            "-1 stands for any number of rows",
            where=f"inputs.{spec.name}.shape",
        )
    return array


def _require_present(spec: TensorSpec, array: Array) -> None:
    """Refuse missing numbers where the model was never trained on them, and infinite ones anywhere."""
    # One product finds almost always that all is well, at a third of the price: NaN and infinity survive it.
    if isfinite(np.vdot(cast(Floats, array), cast(Floats, array))):
        return
    fits = ~np.isinf(array) if spec.nullable else np.isfinite(array)
    if not fits.all():
        row = int(np.flatnonzero(~fits.reshape(len(array), -1).all(axis=1))[0])
        raise InvalidInput(
            "a value is infinite" if spec.nullable else "a value is missing or not finite, and the model wants each",
            "fill it in before you send it",
            where=f"inputs.{spec.name}.data[{row}]",
        )


def _texts(spec: TensorSpec, array: Array) -> Array:
    """The array with missing texts (None) as "", or a refusal where they may not be missing."""
    flat = array.ravel().tolist()
    if None not in flat:
        return array
    if not spec.nullable:
        row = flat.index(None) // max(len(flat) // len(array), 1)
        raise InvalidInput(
            "a text is missing", "fill it in before you send it", where=f"inputs.{spec.name}.data[{row}]"
        )
    filled = np.empty(len(flat), object)
    filled[:] = ["" if text is None else text for text in flat]
    return filled.reshape(array.shape)
