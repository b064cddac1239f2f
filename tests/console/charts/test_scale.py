"""Scales stay on the page; ticks are round and cover the range."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from penstock.console.charts.scale import Scale, log_ticks, thin, ticks, time_ticks

FINITE = st.floats(min_value=-1e9, max_value=1e9, allow_subnormal=False)


@given(FINITE, FINITE, FINITE)
def test_no_value_leaves_the_page(low: float, high: float, value: float) -> None:
    scale = Scale(min(low, high), max(low, high), 10, 110)
    assert 10 <= scale.place(value) <= 110


def test_a_logarithmic_scale_is_even_in_decades() -> None:
    scale = Scale(1, 10000, 0, 4, log=True)
    assert [scale.place(10.0**power) for power in range(5)] == [0, 1, 2, 3, 4]
    assert scale.place(0.0) == 0


@given(st.floats(min_value=-1e6, max_value=1e6), st.floats(min_value=1e-3, max_value=1e6))
def test_ticks_cover_the_range(low: float, span: float) -> None:
    marks = ticks(low, low + span)
    assert marks == sorted(set(marks))
    assert 2 <= len(marks) <= 8
    assert marks[0] <= low + 1e-6 * span
    assert marks[-1] >= low + span * (1 - 1e-6)


def test_one_value_gets_a_range_around_it() -> None:
    assert len(ticks(0, 0)) >= 2
    assert len(ticks(5, 5)) >= 2


@given(st.floats(min_value=1e-3, max_value=1e11), st.floats(min_value=1, max_value=1e6))
def test_log_ticks_are_powers_of_ten_that_cover_the_range(low: float, factor: float) -> None:
    marks = log_ticks(low, low * factor)
    assert all(math.log10(mark) == round(math.log10(mark)) for mark in marks)
    assert marks[0] <= low * 1.001
    assert marks[-1] >= low * factor * 0.999
    assert len(marks) <= 8


def test_times_are_round_and_labelled_by_their_step() -> None:
    hour = time_ticks(1367366400.0, 1367366400.0 + 3600)
    assert [label for _, label in hour] == ["00:00", "00:15", "00:30", "00:45", "01:00"]
    months = time_ticks(1367366400.0, 1367366400.0 + 200 * 86400)
    assert all(len(label) in (5, 7) for _, label in months)
    assert time_ticks(10.2, 10.2) == []


@given(st.integers(min_value=0, max_value=5000))
def test_thinning_keeps_the_ends(count: int) -> None:
    kept = thin(count)
    assert len(kept) <= 121
    if count:
        assert (kept[0], kept[-1]) == (0, count - 1)
