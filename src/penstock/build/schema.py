"""The signature of a model: which inputs it takes, of which type, and which of them may be missing.

What comes in: a fitted model and, where there are any, rows. What goes out: input specs, and the rows as arrays
that fit them. A model fitted on a DataFrame gets one input a column; any other gets one matrix ``X``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from msgspec.structs import replace

from penstock.build.categories import known_categories
from penstock.errors import InvalidInput
from penstock.runtime.columns import feature_names, width_of
from penstock.statistics.arraytables import array_columns, holds_arrays, stacked
from penstock.tensors import DTYPES, FLOATS, Array, Arrays, TensorSpec, datatype_of

Specs = tuple[TensorSpec, ...]
Ask = Callable[[Specs, Arrays], Arrays]

MATRIX = "X"
MAX_SINGLE_PROBES = 64


def infer_inputs(model: object, frame: pd.DataFrame | None) -> Specs:
    """What the model takes, before it is known what may be missing.

    Raises:
        InvalidInput: The data lacks a column, or holds one of a kind that no protocol can carry.
    """
    names = feature_names(model)
    if names:
        if frame is None:
            text = known_categories(model)
            return tuple(_column_spec(name, "BYTES" if name in text else "FP64") for name in names)
        lacking = [name for name in names if name not in frame.columns]
        if lacking:
            raise InvalidInput(
                f"the data lacks columns that the model was fitted on: {', '.join(lacking[:8])}",
                "give the columns as they were at training",
                where="data",
            )
        return tuple(_column_spec(name, _datatype(frame[name])) for name in names)
    return (_matrix_spec(model, frame),)


def column_specs(frame: pd.DataFrame) -> Specs:
    """One input for each column of a frame, as it lies there.

    Raises:
        InvalidInput: One is of a kind that no request can carry.
    """
    return tuple(_column_spec(name, _datatype(frame[name])) for name in map(str, frame.columns))


def to_arrays(frame: pd.DataFrame, inputs: Sequence[TensorSpec]) -> Arrays:
    """Rows of a frame as the signature has them."""
    if len(inputs) == 1 and inputs[0].columns:
        columns = list(inputs[0].columns)
        matrix = frame[columns].to_numpy(dtype=DTYPES[inputs[0].datatype])
        return {inputs[0].name: np.ascontiguousarray(matrix)}
    if len(inputs) == 1 and inputs[0].name not in frame:
        return {inputs[0].name: _only(frame, inputs[0])}
    return {spec.name: _to_array(frame[spec.name], spec) for spec in inputs}


def _only(frame: pd.DataFrame, spec: TensorSpec) -> Array:
    """All there is, for the one input of a model whose data call it otherwise: its arrays, or a matrix of numbers.

    Raises:
        InvalidInput: It has neither.
    """
    deep = array_columns(frame)
    if len(deep) == 1 == frame.shape[1]:
        return _to_array(frame[deep[0]], spec)
    if deep or len(spec.shape) != 2 or spec.shape[1] not in (-1, frame.shape[1]):
        raise InvalidInput(
            f"no column of the data is the model's input {spec.name}",
            f"the model takes {spec.datatype} {list(spec.shape)}; name the array so, and the label with --label",
            where="data",
        )
    return np.ascontiguousarray(frame.to_numpy(dtype=DTYPES[spec.datatype]))


def take(arrays: Arrays, rows: Array | slice) -> Arrays:
    """Some rows of each array."""
    return {name: np.ascontiguousarray(array[rows]) for name, array in arrays.items()}


def stack(parts: Sequence[Arrays]) -> Arrays:
    """Rows of several, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def row_count(arrays: Arrays) -> int:
    """Rows in a set of arrays."""
    return len(next(iter(arrays.values())))


def blank(spec: TensorSpec) -> str | float:
    """How a missing value travels."""
    return "" if spec.datatype == "BYTES" else float("nan")


def with_nullable(ask: Ask, inputs: Specs, row: Arrays) -> Specs:
    """The inputs, each nullable if the model answers a row that lacks it.

    Args:
        ask: Asks the original.
        inputs: Its inputs.
        row: One complete row.
    """
    open_specs = tuple(replace(spec, nullable=can_be_missing(spec)) for spec in inputs)
    holes = list(_holes(inputs, row))
    if not holes or _answers(ask, open_specs, stack(holes)):
        return open_specs
    if len(inputs) > MAX_SINGLE_PROBES:
        return inputs
    found = inputs
    for spec in inputs:
        tried = tuple(replace(one, nullable=True) if one.name == spec.name else one for one in inputs)
        if can_be_missing(spec) and all(_answers(ask, tried, hole) for hole in _holes((spec,), row)):
            found = tuple(replace(one, nullable=True) if one.name == spec.name else one for one in found)
    return found


def can_be_missing(spec: TensorSpec) -> bool:
    """Only text and floats have a value that means "none"."""
    return spec.datatype == "BYTES" or spec.datatype in FLOATS


def _holes(specs: Sequence[TensorSpec], row: Arrays) -> Iterator[Arrays]:
    """The row again and again, each time without one value."""
    for spec in specs:
        if not can_be_missing(spec):
            continue
        columns = np.asarray(row[spec.name][0])
        for column in range(len(columns)) if columns.ndim else (...,):
            array = row[spec.name].copy()
            array[0, column] = blank(spec)
            yield {**row, spec.name: array}


def _answers(ask: Ask, specs: Specs, rows: Arrays) -> bool:
    """Whether it answers, with finite numbers."""
    try:
        outputs = ask(specs, rows)
    except Exception:
        return False
    return all(np.isfinite(array).all() for array in outputs.values() if array.dtype.kind == "f")


def _column_spec(name: str, datatype: str) -> TensorSpec:
    """One column."""
    return TensorSpec(name=name, datatype=datatype, shape=(-1, 1))


def _matrix_spec(model: object, frame: pd.DataFrame | None) -> TensorSpec:
    """The one input of a model fitted on a matrix."""
    width = width_of(model)
    if not width:
        if frame is None:
            raise InvalidInput("the model does not say how many columns it takes", "give some rows with --data")
        width = frame.shape[1]
        if width == 1 and _datatype(frame.iloc[:, 0]) == "BYTES":
            # Only what splits texts into words was fitted on texts that are no column.
            return TensorSpec(name=str(frame.columns[0]), datatype="BYTES", shape=(-1,))
    columns: tuple[str, ...] = ()
    datatype = "FP64"
    if frame is not None:
        if frame.shape[1] != width:
            raise InvalidInput(
                f"the data has {frame.shape[1]} columns and the model was fitted on {width}",
                "give the columns as they were at training, and name the label column",
                where="data",
            )
        columns = tuple(map(str, frame.columns))
        datatype = "FP32" if all(dtype == np.float32 for dtype in frame.dtypes) else "FP64"
    columns = columns or tuple(str(index) for index in range(width))
    return TensorSpec(name=MATRIX, datatype=datatype, shape=(-1, width), columns=columns)


def _datatype(series: pd.Series) -> str:
    """The protocol's type of a column.

    Raises:
        InvalidInput: Dates and other objects.
    """
    kind = pd.api.types.infer_dtype(series, skipna=True)
    missing = bool(series.isna().any())
    if kind in ("string", "categorical", "mixed") and not _is_number(series):
        return "BYTES"
    if kind == "boolean":
        return "BYTES" if missing else "BOOL"
    if kind == "integer":
        return "FP64" if missing else datatype_of(np.asarray(series).dtype) if series.dtype != object else "INT64"
    if kind in ("floating", "mixed-integer-float", "integer-na", "empty", "categorical"):
        return "FP32" if series.dtype == np.float32 else "FP64"
    raise InvalidInput(
        f"the column {series.name} holds {kind} values, which no request can carry",
        "turn dates into numbers or text before the pipeline",
        where="data",
    )


def _is_number(series: pd.Series) -> bool:
    """Whether a categorical column's categories are numbers."""
    return isinstance(series.dtype, pd.CategoricalDtype) and series.dtype.categories.dtype.kind in "iuf"


def _to_array(series: pd.Series, spec: TensorSpec) -> Array:
    """One column, ``(rows, 1)``, or as many dimensions as its arrays and the signature have."""
    if holds_arrays(series):
        array = stacked(series)
        if array.dtype.kind == "U":
            return array.astype(object)
        return np.ascontiguousarray(array, dtype=DTYPES[spec.datatype])
    return _scalars(series, spec).reshape(-1, *((1,) * (len(spec.shape) - 1)))


def _scalars(series: pd.Series, spec: TensorSpec) -> Array:
    if spec.datatype == "BYTES":
        missing = series.isna().to_numpy()
        text = series.astype(object).map(str).to_numpy(dtype=object)
        text[missing] = ""
        return text
    wanted = {"FP64": np.float64, "FP32": np.float32, "BOOL": np.bool_}.get(spec.datatype)
    if wanted is not None:
        return series.to_numpy(dtype=wanted, na_value=np.nan if wanted != np.bool_ else False)
    return series.to_numpy(dtype=spec.datatype.lower())
