"""The caller's rows: a file, a frame or an array becomes a frame of inputs, with truth and times set apart."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from penstock.build.request import BuildRequest, Table
from penstock.errors import InvalidInput, NotFound
from penstock.statistics.arraytables import frame_of, read_arrays, read_table

PARQUET = b"PAR1"
Floats = npt.NDArray[np.float64]


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """Rows to learn the schema, the examples and the profile from.

    Attributes:
        frame: The inputs; the index is 0, 1, 2, ...
        labels: The truth, one entry a row; None where it is not known.
        times: Event times, seconds since the epoch; None where there are none.
    """

    frame: pd.DataFrame
    labels: pd.Series | None = None
    times: Floats | None = None


def read_rows(request: BuildRequest) -> Given | None:
    """The request's rows; None where it has none.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is neither Parquet, CSV nor npz, has no rows, or lacks the label or time column.
    """
    if request.data is None:
        return None
    frame = _frame(request.data).reset_index(drop=True)
    if frame.empty:
        raise InvalidInput("the data has no rows", "give rows that the model was not trained on", where="data")
    frame.columns = frame.columns.map(str)
    labels = _labels(frame, request.labels)
    times = _times(frame, request.time)
    dropped = [name for name in (request.labels, request.time) if isinstance(name, str) and name]
    return Given(frame=frame.drop(columns=dropped), labels=labels, times=times)


def _frame(data: Table) -> pd.DataFrame:
    """A frame; a file's kind is told by its content."""
    if isinstance(data, pd.DataFrame):
        return data
    if not isinstance(data, Path):
        return frame_of(data)
    if not data.is_file():
        raise NotFound("there is no such data file", "check the path", code="build.no_data")
    with data.open("rb") as file:
        magic = file.read(4)
    try:
        arrays = read_arrays(data)
        if arrays is not None:
            return arrays
        return read_table(data) if magic == PARQUET else pd.read_csv(data)
    except (ValueError, OSError) as error:
        raise InvalidInput(
            "the data is neither Parquet, CSV nor npz", "save it as one of them", where="data"
        ) from error


def _labels(frame: pd.DataFrame, labels: str | npt.NDArray[np.generic]) -> pd.Series | None:
    """The truth, from a column or from beside the rows."""
    if isinstance(labels, str):
        return _column(frame, labels) if labels else None
    truth = pd.Series(np.asarray(labels).reshape(-1))
    if len(truth) != len(frame):
        raise InvalidInput(
            f"there are {len(truth)} labels for {len(frame)} rows", "give one label a row", where="labels"
        )
    return truth


def _times(frame: pd.DataFrame, name: str) -> Floats | None:
    """Seconds since the epoch."""
    if not name:
        return None
    column = _column(frame, name)
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64)
    moments = pd.to_datetime(column, utc=True, errors="coerce").dt.as_unit("ns")
    seconds = moments.astype("int64").to_numpy() / 1e9
    return np.where(moments.isna().to_numpy(), np.nan, seconds)


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column by name."""
    if name not in frame.columns:
        raise InvalidInput(
            f"the data has no column {name}", f"name one of its columns: {', '.join(frame.columns[:12])}", where="data"
        )
    return frame[name]
