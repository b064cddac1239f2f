"""Curves with gaps, bands and thresholds; any values at all give a picture that parses."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from penstock.console.charts.lines import Curve, LineChart, line_chart, sparkline

VALUES = st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True), max_size=40)


def chart(*curves: Curve, log: bool = False, threshold: tuple[float, str] | None = None) -> LineChart:
    return LineChart(
        title="Evidence",
        description="what it is.",
        curves=curves,
        write=lambda value: f"{value:.3g}",
        nothing="nothing yet",
        figures="figures",
        time="time",
        threshold=threshold,
        log=log,
    )


def curve(*values: float | None) -> Curve:
    return Curve("a", [1e9 + 60 * i for i in range(len(values))], values)


@given(VALUES, st.booleans())
def test_any_curve_parses(values: list[float | None], log: bool) -> None:
    drawn = str(line_chart(chart(curve(*values), log=log, threshold=(20.0, "limit"))))
    ElementTree.fromstring(drawn)
    assert not re.search(r"\b(nan|inf)\b", drawn)


def test_no_values_say_so() -> None:
    assert "nothing yet" in line_chart(chart())
    assert "nothing yet" in line_chart(chart(curve(None, None)))


def test_a_gap_parts_the_curve() -> None:
    drawn = str(line_chart(chart(curve(1, 2, None, 3, 4))))
    assert drawn.count('class="curve tone0"') == 2


def test_the_threshold_is_drawn_and_named() -> None:
    drawn = str(line_chart(chart(curve(1, 2), log=True, threshold=(100.0, "taken back at 100"))))
    assert 'class="limit"' in drawn
    assert "taken back at 100" in drawn


def test_the_last_value_is_told_to_who_listens() -> None:
    drawn = ElementTree.fromstring(str(line_chart(chart(curve(1, 7)))))
    assert "a: 7" in drawn.find("svg/desc").text


def test_curves_differ_by_more_than_colour() -> None:
    second = Curve("b", [1e9, 1e9 + 60], [1, 2], tone=1)
    drawn = str(line_chart(chart(curve(1, 2), second)))
    assert "curve tone0" in drawn
    assert "curve tone1" in drawn
    assert drawn.count('class="key"') == 2


def test_a_band_is_closed() -> None:
    banded = Curve("a", [0.0, 60.0], [1, 2], [0.5, 1.5], [1.5, 2.5])
    assert re.search(r'd="M[^"]+Z" class="band tone0"', str(line_chart(chart(banded))))


def test_a_sparkline_needs_two_points() -> None:
    assert sparkline([1.0], [1.0], "t") == ""
    ElementTree.fromstring(str(sparkline([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], "t")))
