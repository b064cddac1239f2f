"""Calendar windows: the same whatever the batches and their order within the lateness allowed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Conflict
from penstock.observe import windows
from penstock.observe.windows import Calendar, Observations, Window
from penstock.statistics import histograms

HOUR = 3600.0
BINS = histograms.fit({"x": np.arange(100.0), "@score": np.linspace(0, 1, 100)})


def some(times: list[float]) -> Observations:
    at = np.array(times, float)
    return Observations(at, np.full(len(at), 0.5), np.full(len(at), np.nan), {"x": at % 100})


def seen(found: list[Window]) -> list[tuple[float, float, list[float]]]:
    return [(window.start, window.end, window.rows.times.tolist()) for window in found]


@given(st.lists(st.floats(0, 50 * HOUR), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 2**31))
def test_batches_make_no_difference(times: list[float], size: int, seed: int) -> None:
    """A replay at any speed gives the same windows; nothing is lost and nothing comes twice."""
    ordered = sorted(times)
    once = Calendar(BINS, 6, minimum=3)
    whole = once.add(some(ordered)) + once.flush()
    piecemeal = Calendar(BINS, 6, minimum=3)
    parts = []
    for start in range(0, len(ordered), size):
        parts += piecemeal.add(some(ordered[start : start + size]))
    assert seen(parts + piecemeal.flush()) == seen(whole)
    assert sum(len(window.rows) for window in whole) == len(times)
    shuffled = np.random.default_rng(seed).permutation(ordered)
    late = Calendar(BINS, 6, minimum=3, lateness_s=51 * HOUR)
    found = [window for time in shuffled for window in late.add(some([time]))] + late.flush()
    assert seen(found) == seen(whole)


def test_a_window_waits_for_the_watermark() -> None:
    calendar = Calendar(BINS, 1, lateness_s=HOUR / 2)
    assert calendar.add(some([0.0, HOUR - 1, HOUR + 10])) == []
    assert [len(window.rows) for window in calendar.add(some([1.5 * HOUR]))] == [2]


def test_what_comes_too_late_is_counted_and_left_out() -> None:
    calendar = Calendar(BINS, 1)
    calendar.add(some([0.0, 2.5 * HOUR]))
    assert calendar.add(some([10.0, 20.0])) == []
    assert calendar.late == 2


def test_small_windows_join_the_next() -> None:
    calendar = Calendar(BINS, 1, minimum=3)
    found = calendar.add(some([1.0, HOUR + 1, HOUR + 2, 2 * HOUR + 1, 3 * HOUR + 1]))
    assert seen(found) == [(0.0, 2 * HOUR, [1.0, HOUR + 1, HOUR + 2])]


@given(st.lists(st.floats(0, HOUR - 1), max_size=30), st.integers(0, 30))
def test_merging_is_exact_in_any_order(times: list[float], cut: int) -> None:
    parts = [windows.window_of(some(part), BINS, hours=1, start=0.0, end=HOUR) for part in (times[:cut], times[cut:])]
    whole = windows.window_of(some(times), BINS, hours=1, start=0.0, end=HOUR)
    for merged in (windows.merge(*parts), windows.merge(*reversed(parts))):
        assert merged.profile == whole.profile
        assert merged.rows.times.tolist() == whole.rows.times.tolist()


def test_windows_of_different_lengths_do_not_merge() -> None:
    one, two = (windows.window_of(some([1.0]), BINS, hours=hours, start=0.0, end=HOUR) for hours in (1, 6))
    with pytest.raises(Conflict):
        windows.merge(one, two)


def test_nothing_in_nothing_out() -> None:
    calendar = Calendar(BINS, 1)
    assert calendar.add(some([])) == calendar.flush() == []
    assert len(windows.stack([])) == 0
