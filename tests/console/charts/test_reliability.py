"""The reliability diagram: bins on a square, larger the more they hold."""

from __future__ import annotations

from xml.etree import ElementTree

from penstock.console.charts.drawing import Table
from penstock.console.charts.reliability import Point, ReliabilityChart, reliability_chart


def chart(*points: Point) -> str:
    return str(
        reliability_chart(ReliabilityChart("Calibration", "d", points, "said", "came", "none yet", Table("f", [], [])))
    )


def test_dots_grow_with_their_bins_and_empty_ones_are_left_out() -> None:
    drawn = ElementTree.fromstring(chart(Point(0.9, 0.8, 10), Point(0.1, 0.1, 1000), Point(0.5, 0.5, 0)))
    radii = [float(dot.attrib["r"]) for dot in drawn.iter("circle")]
    assert len(radii) == 2
    assert radii[0] > radii[1]


def test_no_outcomes_say_so() -> None:
    assert "none yet" in chart()
    assert "none yet" in chart(Point(0.5, 0.5, 0))
