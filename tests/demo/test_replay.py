"""The replay counts what really came back, failures included."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dataplane_for_tests import DataPlane, v2
from packages_for_tests import WIDTH
from penstock.demo.flights import LABEL, NUMBERS, TEXTS
from penstock.demo.replay import Flights, prepare, replay


def flights(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.normal(size=rows) for name in NUMBERS})
    for name in TEXTS:
        frame[name] = random.choice(["EWR", "JFK", "LGA"], rows)
    frame["tailnum"] = [f"N{index % 7}" for index in range(rows)]
    frame["departs"] = 1_370_000_000.0 + np.arange(rows)
    frame["lands"] = frame["departs"] + 3_600
    frame[LABEL] = random.integers(0, 2, rows)
    return frame


def address(plane: DataPlane) -> str:
    return f"http://127.0.0.1:{plane.port}"


def test_each_flight_is_one_request_with_its_time_and_key() -> None:
    prepared = prepare(flights(3).assign(temp=[np.nan, 1.0, 2.0]))
    assert len(prepared) == 3
    assert b"null" in prepared.bodies[0]
    assert b"NaN" not in prepared.bodies[0]
    assert prepared.keys[1] == b"N1"
    assert prepared.departs[2] == 1_370_000_002


def test_answers_are_kept_by_position(plane: DataPlane) -> None:
    body = v2([[1.0] * WIDTH]).encode()
    some = prepare(flights(60))
    linear = Flights([body] * len(some), some.keys, some.departs, some.lands, some.late)
    answers = replay(address(plane), "linear", linear, connections=4, on_progress=lambda sent, seen: True)
    assert answers.statuses == {"200": 60}
    assert answers.versions == {"1": 60}
    assert len(set(answers.predictions)) == 60
    assert answers.percentile(0.99) >= answers.percentile(0.5) > 0


def test_refused_requests_are_counted_as_failed(plane: DataPlane) -> None:
    answers = replay(address(plane), "nobody", prepare(flights(40)), connections=4, on_progress=lambda sent, seen: True)
    assert answers.statuses == {"404": 40}
    assert sum(answers.failed.values()) == 40
    assert not any(answers.predictions)


def test_a_server_that_is_not_there_is_counted_too() -> None:
    answers = replay(
        "http://127.0.0.1:9", "flights", prepare(flights(5)), connections=2, on_progress=lambda sent, seen: True
    )
    assert answers.statuses == {"reset": 5}
