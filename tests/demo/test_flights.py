"""The demo's data are the real flights, and its splits are what they say."""

from __future__ import annotations

import pandas as pd
import pytest

from penstock.demo.flights import FEATURES, LABEL, load_flights, month, split_by_day, split_by_row


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    return load_flights()


def test_every_flight_of_the_year_is_there_in_order(flights: pd.DataFrame) -> None:
    assert len(flights) == 336_776
    assert flights["departs"].is_monotonic_increasing
    assert (flights["lands"] > flights["departs"]).all()
    assert set(FEATURES) < set(flights.columns)
    assert 0.24 < flights[LABEL].mean() < 0.28


def test_days_are_held_out_whole(flights: pd.DataFrame) -> None:
    train, held = split_by_day(month(flights, 1, 4))
    assert not set(train["day"]) & set(held["day"])
    assert len(train) + len(held) == len(month(flights, 1, 4))
    assert held["day"].nunique() == 30


def test_random_rows_share_their_days(flights: pd.DataFrame) -> None:
    train, held = split_by_row(month(flights, 1, 4))
    assert set(held["day"]) <= set(train["day"])
