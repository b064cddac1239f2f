"""What somebody's code answered becomes arrays of the protocol's types, or a refusal that says what would do.

Comes in: lists, arrays, Series, DataFrames, dicts. Goes out: one array of rows a name; text as objects of ``str``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from penstock.errors import ModelFailed
from penstock.tensors import DATATYPES, Array

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_MOST_OUTPUTS = 256
_MOST_TEXT = 1 << 20


def by_name(answered: object) -> dict[str, object] | None:
    """Outputs by name, of a dict or of a DataFrame with more than one column; None of anything else.

    Raises:
        ModelFailed: There are none, too many, or one has a name that no protocol carries.
    """
    if isinstance(answered, Mapping):
        named = {name: answered[name] for name in answered}
    elif hasattr(answered, "columns") and hasattr(answered, "iloc") and len(answered.columns) != 1:
        named = {name: answered.iloc[:, at] for at, name in enumerate(answered.columns)}
        if len(named) != len(answered.columns):
            raise _wrong("answers two columns of one name", "give each its own")
    else:
        return None
    if not 0 < len(named) <= _MOST_OUTPUTS:
        raise _wrong(f"answers {len(named)} outputs", f"answer at least one and at most {_MOST_OUTPUTS}")
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in named):
        raise _wrong("names an output as no protocol can", "names are letters, digits, '_', '.' and '-'")
    return named


def column(values: object) -> Array:
    """An array of one of the protocol's types.

    Raises:
        ModelFailed: Ragged lists, dates, objects, values of several kinds.
    """
    try:
        array: Array = np.asarray(values)
    except ValueError:
        raise _wrong("answers rows of different lengths", "answer as much for every row") from None
    if hasattr(values, "iloc") and array.ndim == 2:
        array = array[:, 0]  # the only column of a frame
    if array.dtype.kind in "iufb":
        return array if array.dtype.newbyteorder("=") in DATATYPES else array.astype(np.float64)
    if array.dtype.kind == "U" and not hasattr(values, "dtype"):
        array = np.asarray(values, object)  # numpy makes text of a number beside a text
    if array.dtype.kind in "UO":
        return _objects(array)
    raise _wrong(f"answers values of type {array.dtype}", "answer numbers, booleans or text")


def of_rows(array: Array, rows: int) -> Array:
    """The array, if it has an entry a row.

    Raises:
        ModelFailed: It has not.
    """
    if array.ndim == 0 or len(array) != rows:
        told = "one value" if array.ndim == 0 else f"{len(array)} answers"
        raise _wrong(f"gives {told} for {rows} rows", "answer one entry a row, in the rows' order")
    if array.ndim > 8:
        raise _wrong("answers an array of more than 8 dimensions", "answer fewer")
    return array


def labels_of(values: Array) -> Array:
    """Class labels as INT64 where they are whole numbers or booleans, else as text."""
    if values.dtype.kind == "f":
        numbers = values.astype(np.float64)
        if np.all(np.isfinite(numbers) & (numbers == np.round(numbers))):
            return numbers.astype(np.int64)
    if values.dtype.kind in "iub":
        return values.astype(np.int64)
    return values.astype(str).astype(object)


def _objects(array: Array) -> Array:
    """Text with empty text where there is none; or numbers that came as objects."""
    flat = array.reshape(-1).tolist()
    if all(one is None or isinstance(one, str) or _is_nan(one) for one in flat) and any(
        isinstance(one, str) for one in flat
    ):
        texts = np.empty(len(flat), object)
        texts[:] = [one if isinstance(one, str) else "" for one in flat]
        if any(len(one) > _MOST_TEXT for one in texts):
            raise _wrong(f"answers a text of more than {_MOST_TEXT} characters", "answer shorter ones")
        return texts.reshape(array.shape)
    if all(isinstance(one, bool) for one in flat) and flat:
        return np.array(flat, dtype=np.bool_).reshape(array.shape)
    if all(one is None or isinstance(one, bool | int | float) for one in flat):
        try:
            return np.array([np.nan if one is None else float(one) for one in flat]).reshape(array.shape)
        except OverflowError:
            pass
    raise _wrong("answers values of several kinds, or objects", "answer numbers, booleans or text, of one kind")


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _wrong(what: str, hint: str) -> ModelFailed:
    return ModelFailed(f"the model {what}", hint, code="build.bad_answer")
