"""Stage 4, serve: rows as one array in numpy's own format (NPY 1.0 and 2.0), in and out.

Comes in: rows of all values, ``(rows, values)``, or in the shape of a model's one input. A float of another width is
read as the signature's, as a number in JSON is: numpy writes FP64 unless it is told otherwise. Goes out: the one
output, or all of them beside each other where all are numbers. Objects, which carry code, are refused unread.
"""

from __future__ import annotations

import io
from math import prod
from tokenize import TokenError
from typing import cast

import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput, PenstockError
from penstock.serve.cells import columns_of
from penstock.serve.rowvalues import is_matrix
from penstock.tensors import DTYPES, Array, Arrays, Signature, TensorSpec

WHERE = "body"
_LAST_CHARACTER = 0x10FFFF
_UNREADABLE = (
    ValueError,
    TypeError,
    SyntaxError,
    KeyError,
    RecursionError,
    MemoryError,
    TokenError,
)
"""What reading a header ends in: numpy takes it for Python, and one of Python 2 apart into tokens first."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(body: bytes, signature: Signature) -> Arrays:
    """One array an input.

    Raises:
        InvalidInput: It is no such array, or does not fit the signature.
    """
    array = _opened(body)
    if is_matrix(signature):
        spec = signature.inputs[0]
        return {spec.name: _as(array, spec)}
    names = columns_of(signature)
    if array.ndim != 2 or array.shape[1] != len(names):
        raise InvalidInput(
            f"the array has the shape {list(array.shape)} and the model wants {[-1, len(names)]}",
            "send a row for each, its values in the signature's order",
            where=WHERE,
        )
    return {spec.name: _as(array[:, at : at + 1], spec) for at, spec in enumerate(signature.inputs)}


def write_npy(outputs: Arrays) -> bytes:
    """One array of all rows.

    Raises:
        PenstockError: There is text beside numbers; code ``serve.not_acceptable``.
    """
    if len(outputs) == 1:
        (array,) = outputs.values()
    elif any(one.dtype.kind == "O" for one in outputs.values()):
        raise PenstockError(
            "outputs of text and of numbers make no one array", "accept JSON or CSV", code="serve.not_acceptable"
        )
    else:
        array = np.concatenate([one.reshape(len(one), -1) for one in outputs.values()], axis=1)
    if array.dtype.kind == "O":
        array = array.astype(np.str_)
    written = io.BytesIO()
    np.lib.format.write_array(written, array, allow_pickle=False)
    return written.getvalue()


def _opened(body: bytes) -> Array:
    """The array, its size held against the body's before anything is made."""
    file = io.BytesIO(body)
    try:
        shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except _UNREADABLE:
        raise InvalidInput(
            "the body is no array in numpy's format", "send what numpy.save writes", where=WHERE
        ) from None
    # Texts of no length take no bytes, so that any number of them would fit into a body.
    if dtype.kind not in "biufU" or not dtype.itemsize:
        raise InvalidInput("the array holds neither numbers nor texts", "send numbers or texts", where=WHERE)
    data = body[file.tell() :]
    if min(shape, default=1) < 0 or prod(shape) * dtype.itemsize != len(data):
        raise InvalidInput("the array is not as long as it says", "send it whole", where=WHERE)
    if dtype.kind == "U" and not _is_text(np.frombuffer(data, f"{dtype.byteorder}u4")):
        raise InvalidInput("the array holds texts that are none", "send characters of Unicode", where=WHERE)
    if not len(data):
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _is_text(points: npt.NDArray[np.uint32]) -> bool:
    """Whether all are characters: numpy takes any number for one until somebody reads it."""
    return not bool(((points > _LAST_CHARACTER) | ((points >= 0xD800) & (points <= 0xDFFF))).any())


def _as(array: Array, spec: TensorSpec) -> Array:
    """In the signature's datatype where that is a matter of width alone; `conform` refuses the rest."""
    wanted = DTYPES[spec.datatype]
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind == "f" and wanted.kind == "f":
        return array.astype(wanted)
    return cast("Array", array.astype(array.dtype.newbyteorder("=")))
