"""Tables whose cells may be arrays: images, windows, token ids, one array a row.

    .npz, .npy, arrays by name, Parquet -> frame (a column of numbers, text, or arrays of one shape) -> Parquet

What comes in: whatever a person has rows in. What goes out: a DataFrame; a column of arrays holds one array a cell.
In Parquet it is Arrow's fixed-shape tensor, so that a file says by itself which shape a cell has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from penstock.errors import InvalidInput
from penstock.tensors import Array

NPZ = b"PK\x03\x04"
NPY = b"\x93NUMPY"
ROWS = "rows"
"""What an array is called that has no name."""


def frame_of(arrays: Array | Mapping[str, Array]) -> pd.DataFrame:
    """Arrays as a table, their first dimension the rows.

    One matrix becomes a column a number, as tables are; beside other arrays of two and more dimensions, and with more
    than two, an array is one column of arrays.

    Raises:
        InvalidInput: They have different numbers of rows, or none at all.
    """
    named = {str(name): np.asarray(array) for name, array in _by_name(arrays).items()}
    if not named or any(array.ndim == 0 for array in named.values()) or len({len(one) for one in named.values()}) != 1:
        raise InvalidInput(
            "the arrays have different numbers of rows", "each array's first dimension is the rows", where="data"
        )
    deep = [name for name, array in named.items() if array.ndim > 1]
    if len(deep) == 1 and named[deep[0]].ndim == 2:
        table = pd.DataFrame(named.pop(deep[0]))
        return table if not named else pd.concat([table, pd.DataFrame(named)], axis=1)
    return pd.DataFrame({name: array if array.ndim == 1 else cells(array) for name, array in named.items()})


def cells(array: Array) -> pd.Series:
    """An array as a column of arrays, one a row."""
    column = np.empty(len(array), dtype=object)
    for place, one in enumerate(array):
        column[place] = one
    return pd.Series(column)


def holds_arrays(column: pd.Series) -> bool:
    """Whether a column's cells are arrays, or lists of numbers as Parquet has them."""
    return column.dtype == object and len(column) > 0 and isinstance(column.iloc[0], np.ndarray | list)


def array_columns(frame: pd.DataFrame, *, apart: Iterable[str] = ()) -> list[str]:
    """Names of the columns of arrays."""
    return [str(name) for name in frame if name not in set(apart) and holds_arrays(frame[name])]


def stacked(column: pd.Series) -> Array:
    """A column of arrays as one array, the rows first.

    Raises:
        InvalidInput: The cells have different shapes, or one is missing.
    """
    try:
        array = np.stack([_cell(one) for one in column])
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"the cells of {column.name} are not all arrays of one shape", "pad or cut them to one length", where="data"
        ) from error
    if array.dtype.kind not in "biufU":
        raise InvalidInput(f"the arrays in {column.name} hold no numbers", "give arrays of numbers", where="data")
    return array


def read_arrays(path: Path) -> pd.DataFrame | None:
    """The rows of a ``.npz`` or ``.npy`` file, known by its content; None of any other file.

    Raises:
        InvalidInput: It is damaged, holds objects, or its arrays do not fit each other.
    """
    with path.open("rb") as file:
        start = file.read(len(NPY))
    if not start.startswith((NPZ, NPY)):
        return None
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return frame_of(found)
        with found:
            return frame_of({name: found[name] for name in found.files})
    except (ValueError, OSError, KeyError, EOFError, BadZipFile, TokenError, RecursionError, MemoryError) as error:
        raise InvalidInput(
            "the data cannot be read as arrays", "save them with numpy.savez, without objects", where=path.name
        ) from error


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as Parquet, columns of arrays as tensors.

    Raises:
        TypeError: A column holds several kinds; ValueError says the same.
        InvalidInput: The cells of a column of arrays have different shapes.
    """
    deep = array_columns(frame)
    flat = frame.drop(columns=deep)
    table = pa.Table.from_pandas(flat, preserve_index=False) if flat.shape[1] else None
    for name in deep:
        array = np.ascontiguousarray(stacked(frame[name]))
        whole = array.astype(np.uint8) if array.dtype.kind == "b" else array  # Arrow has no tensors of booleans
        tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(whole)
        at = list(frame.columns).index(name)
        table = table.add_column(at, name, tensors) if table is not None else pa.table({name: tensors})
    parquet.write_table(table, path)


def read_table(path: Path) -> pd.DataFrame:
    """A Parquet file as a frame, tensors as columns of arrays.

    Raises:
        ValueError: It is no such file; OSError says the same.
    """
    table = parquet.read_table(path)
    deep = [field.name for field in table.schema if isinstance(field.type, pa.FixedShapeTensorType)]
    if not deep:
        return pd.read_parquet(path)
    names = table.column_names
    frame: pd.DataFrame = table.drop_columns(deep).to_pandas()
    if frame.empty and len(deep) == len(names):
        frame = pd.DataFrame(index=range(table.num_rows))
    for name in deep:
        frame[name] = cells(table.column(name).combine_chunks().to_numpy_ndarray()).to_numpy()
    found: pd.DataFrame = frame[names]
    return found


def _by_name(arrays: Array | Mapping[str, Array]) -> Mapping[str, Array]:
    return arrays if isinstance(arrays, Mapping) else {ROWS: np.asarray(arrays)}


def _cell(value: object) -> Array:
    """One cell; nested lists of Parquet are arrays of arrays."""
    if not isinstance(value, np.ndarray | list):
        raise TypeError("the cell holds no array")
    array: Array = np.asarray(value)
    if array.dtype == object and len(array) and isinstance(array[0], np.ndarray | list):
        return np.array([_cell(one) for one in array])
    return np.array(array.tolist()) if array.dtype == object else array
