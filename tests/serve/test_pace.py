"""The pace of an engine: a curve that is found quickly, read between its points, and corrected by what is seen."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.pace import KEPT_S, Pace, measure


def test_the_largest_run_that_keeps_the_latency_is_the_batch() -> None:
    assert Pace([(1, 0.001), (16, 0.01), (64, 0.03), (256, 0.11)]).batch_rows == 64


def test_a_row_that_takes_long_alone_may_have_company_that_costs_nothing() -> None:
    assert Pace([(1, 0.2), (2, 0.2), (4, 0.21), (8, 0.4)]).batch_rows == 4


def test_more_rows_that_gain_nothing_are_not_worth_a_run() -> None:
    pace = Pace([(1, 0.004), (2, 0.008), (4, 0.0155)])
    assert pace.batch_rows == 1
    for _ in range(300):
        pace.learn(1, 0.004)
    assert pace.batch_rows == 1


def test_one_disturbed_run_does_not_keep_batches_small() -> None:
    pace = Pace([(1, 0.004), (2, 0.009), (4, 0.005), (8, 0.006)])
    assert pace.batch_rows == 8
    for _ in range(300):
        pace.learn(pace.batch_rows, 0.006)
    assert pace.batch_rows > 8


def test_a_model_too_slow_to_be_measured_further_still_tries() -> None:
    pace = Pace([(1, 0.06)])
    for _ in range(10):
        pace.learn(pace.batch_rows, 0.06)
    assert pace.batch_rows > 1


def test_between_and_behind_its_points_the_curve_is_straight() -> None:
    pace = Pace([(1, 0.010), (3, 0.014)])
    assert pace.run_s(2) == pytest.approx(0.012)
    assert pace.run_s(13) == pytest.approx(0.034)


def test_what_waits_keeps_the_next_one_for_as_many_runs_as_it_fills() -> None:
    pace = Pace([(1, 0.01), (10, 0.02)])
    assert pace.wait_s(0, batch_rows=10) == 0
    assert pace.wait_s(30, batch_rows=10) == pytest.approx(0.06)
    assert pace.wait_s(30, batch_rows=10, engines=3) == pytest.approx(0.02)


@given(st.floats(0.3, 5.0), st.integers(1, 64))
def test_it_learns_a_pace_that_has_changed(times: float, rows: int) -> None:
    pace = Pace([(1, 0.001), (64, 0.01)])
    really = times * pace.run_s(rows)
    for _ in range(60):
        pace.learn(rows, really)
    assert pace.run_s(rows) == pytest.approx(really, rel=0.05)


def test_full_runs_that_keep_the_latency_grow_and_others_shrink() -> None:
    pace = Pace([(1, 0.001), (8, 0.002)])
    for _ in range(20):
        pace.learn(pace.batch_rows, KEPT_S / 2)
    grown = pace.batch_rows
    assert grown > 16
    pace.learn(1, KEPT_S / 2)
    assert pace.batch_rows == grown, "a small run says nothing of a full one"
    pace.learn(grown, 3 * KEPT_S)
    shrunk = pace.batch_rows
    assert shrunk < grown
    for _ in range(50):
        pace.learn(shrunk, KEPT_S / 2)
    assert pace.batch_rows == shrunk, "not tried again at once"


def test_measuring_a_slow_engine_ends() -> None:
    asked: list[int] = []

    def run(rows: int) -> None:
        asked.append(rows)
        time.sleep(0.02)

    started = time.monotonic()
    pace = measure(run, within_s=0.1)
    assert time.monotonic() - started < 1.0
    assert asked[0] == 1
    assert pace.batch_rows == max(asked) > 1, "more rows took no longer"
