"""Figures: short, with their unit, and a dash for what is not known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.console import writing


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (writing.count, 336_776, "336,776"),
        (writing.count, 1_250_000, "1.25 M"),
        (writing.duration, 0.00062, "620 µs"),
        (writing.duration, 0.0123, "12.3 ms"),
        (writing.duration, 0, "0 ms"),
        (writing.duration, 4.1, "4.1 s"),
        (writing.duration, 180.0, "3 min"),
        (writing.duration, 9000.0, "2.5 h"),
        (writing.duration, 4 * 86400.0, "4 d"),
        (writing.duration, None, "–"),
        (writing.duration, math.nan, "–"),
        (writing.percent, 0.0, "0 %"),
        (writing.percent, 1.0, "100 %"),
        (writing.percent, 0.5, "50 %"),
        (writing.percent, 0.125, "12.5 %"),
        (writing.percent, 0.000202, "0.02 %"),
        (writing.percent, None, "–"),
        (writing.rate, 1240.0, "1,240/s"),
        (writing.rate, 3.14, "3.1/s"),
        (writing.figure, True, "true"),
        (writing.figure, None, "–"),
        (writing.figure, 20117, "20,117"),
        (writing.figure, 3.2e-07, "3.2e-07"),
        (writing.figure, "median", "median"),
        (writing.figure, [0.25, 0.75], "0.25, 0.75"),
        (writing.evidence, 0.0556, "0.0556"),
        (writing.evidence, 1234.0, "1,234"),
        (writing.evidence, 4.1e8, "4.1e+08"),
        (writing.evidence, math.inf, "∞"),
        (writing.size, 999, "999 B"),
        (writing.size, 1_234_567, "1.2 MB"),
        (writing.moment, 1367366400.0, "2013-05-01 00:00"),
        (writing.moment, 0.0, "–"),
        (writing.iso, 1367366400.0, "2013-05-01T00:00:00Z"),
        (writing.digest, "sha256:" + "ab" * 32, "abababababab"),
        (writing.digest, "", "–"),
    ],
)
def test_each_figure(write: object, value: object, text: str) -> None:
    assert write(value).replace("\u00a0", " ") == text


@given(st.floats(min_value=0, max_value=1e9))
def test_durations_stay_short(seconds: float) -> None:
    assert len(writing.duration(seconds)) <= 10


@given(st.integers(min_value=0, max_value=10**15))
def test_sizes_stay_short(size: int) -> None:
    assert len(writing.size(size)) <= 8
