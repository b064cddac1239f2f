"""Which rows depend on each other: days and groups, numbered alike in every part of the data (part of ``gate``).

What comes in: the time or group column of each part. What goes out: a unit number per row, the same number for
the same day or group in every part, so that "this day is in both files" can be counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from penstock.statistics.metrics import FloatArray, IntArray
from penstock.tensors import Array

BoolArray = npt.NDArray[np.bool_]

DAY_S = 86_400.0
HOUR_S = 3_600.0
EARLIEST_EPOCH_S = 3e8
BINS = 50


def units_of(columns: Mapping[str, Array | None]) -> dict[str, IntArray]:
    """Units of each part: days of timestamps, values of other columns, 50 stretches of a continuous one.

    Args:
        columns: Part -> its column; numbers are times, anything else are groups. None where there is none.

    Returns:
        Part -> ``(rows,)``; empty unless every part has the column.
    """
    given = {part: column for part, column in columns.items() if column is not None}
    if not given or len(given) < len(columns):
        return {}
    whole = np.concatenate(list(given.values()))
    codes = np.unique(_keys(whole), return_inverse=True)[1].reshape(-1).astype(np.int64)
    ends = np.cumsum([len(column) for column in given.values()])[:-1]
    return dict(zip(given, np.split(codes, ends), strict=True))


def is_epoch(times: Array | None) -> bool:
    """Whether these numbers are seconds since the epoch: none is before mid 1979."""
    return times is not None and times.dtype.kind in "iuf" and float(times.astype(np.float64).min()) > EARLIEST_EPOCH_S


def shared(units: Mapping[str, IntArray], first: str, second: str) -> BoolArray:
    """Which rows of `second` are of a unit that `first` has too."""
    found: BoolArray = np.isin(units[second], units[first])
    return found


def _keys(values: Array) -> Array:
    """What makes two rows one unit."""
    if values.dtype.kind not in "iuf":
        return values.astype(str)
    numbers: FloatArray = values.astype(np.float64)
    if is_epoch(numbers):
        return np.floor((numbers - HOUR_S * _quiet_hour(numbers)) / DAY_S)
    if len(np.unique(numbers)) <= len(numbers) / 2:
        return numbers
    edges = np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(edges, numbers)


def _quiet_hour(seconds: FloatArray) -> int:
    """The hour (UTC) around which least happens: a day that starts there cuts no evening in two."""
    counts = np.bincount(((seconds % DAY_S) // HOUR_S).astype(np.int64), minlength=24)
    return int(np.argmin(counts + np.roll(counts, 1) + np.roll(counts, -1)))
