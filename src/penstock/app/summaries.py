"""What a table looked like, in a few figures a column: its profile in the registry; no row of anybody.

Comes in: a frame. Goes out: `ColumnSummary` by column, and the time that its rows span. Figures have six digits, so
that equal data give equal records on every machine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from penstock.records import ColumnSummary
from penstock.statistics.arraytables import holds_arrays

MAX_COLUMNS = 200
"""A manifest has room for millions of letters, and other things to say."""

_MILLISECONDS = 3e11


class TimeSpan(NamedTuple):
    """Event times of the first and the last row, seconds since the epoch; 0 where none is known."""

    since: float = 0.0
    until: float = 0.0


def summarise(frame: pd.DataFrame) -> dict[str, ColumnSummary]:
    """By column, of the first 200; columns of arrays have none."""
    names = list(frame.columns[:MAX_COLUMNS])
    return {str(name): _summary(frame[name]) for name in names if not holds_arrays(frame[name])}


def _summary(column: pd.Series) -> ColumnSummary:
    missing = int(column.isna().sum())
    try:
        distinct = int(column.nunique())
    except TypeError:  # lists and the like
        return ColumnSummary(missing=missing)
    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return ColumnSummary(missing=missing, distinct=distinct)
    numbers = column.astype("Float64").to_numpy(np.float64, na_value=np.nan)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return ColumnSummary(missing=missing, distinct=distinct)
    low, high = np.quantile(numbers, [0.01, 0.99])
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = numbers.mean(), numbers.std()
    return ColumnSummary(
        missing=missing, distinct=distinct, mean=_short(mean), spread=_short(spread), low=_short(low), high=_short(high)
    )


def span_of(frame: pd.DataFrame, time: str) -> TimeSpan:
    """When its rows happened, by the column that says so; rows without a readable time do not count."""
    if not time or time not in frame:
        return TimeSpan()
    column = frame[time]
    if pd.api.types.is_numeric_dtype(column.dtype):
        seconds = column.astype("Float64").to_numpy(np.float64, na_value=np.nan)
        # Milliseconds, where they cannot be seconds.
        seconds = seconds / 1000 if np.nanmin(seconds, initial=np.inf) > _MILLISECONDS else seconds
    else:
        moments = pd.to_datetime(column, utc=True, errors="coerce").dropna()
        seconds = moments.to_numpy("datetime64[ns]").astype(np.int64) / 1e9
    known = seconds[np.isfinite(seconds)]
    return TimeSpan(float(known.min()), float(known.max())) if len(known) else TimeSpan()


def _short(number: float) -> float | None:
    """Six digits; None where a sum went beyond all numbers."""
    return float(f"{number:.6g}") if np.isfinite(number) else None
