"""The reliability diagram: what was predicted against how often it came true.

What comes in: bins of scores with their counts. What goes out: a figure; a perfect model stands on the diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from penstock.console.charts.drawing import Table, element, empty, figure, line, path, svg, text
from penstock.console.charts.scale import Scale

_WIDTH, _HEIGHT, _LEFT, _PLOT = 460, 250, 48, 190
_MARKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Point:
    """One bin: the mean prediction, how often it came true, out of how many."""

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True)
class ReliabilityChart:
    """The bins, and the words around them."""

    title: str
    description: str
    points: Sequence[Point]
    across: str
    up: str
    nothing: str
    table: Table


def reliability_chart(chart: ReliabilityChart) -> Markup:
    """The figure; a bin's dot is the larger the more it holds."""
    points = sorted((point for point in chart.points if point.count > 0), key=lambda point: point.predicted)
    if not points:
        return empty(chart.title, chart.nothing)
    across, up = Scale(0, 1, _LEFT, _WIDTH - 14), Scale(0, 1, _PLOT + 10, 10)
    body = _axes(across, up, chart)
    body += line((across.place(0), up.place(0)), (across.place(1), up.place(1)), "limit")
    places = [(across.place(point.predicted), up.place(point.observed)) for point in points]
    body += path(places, "curve tone0")
    most = max(point.count for point in points)
    for place, point in zip(places, points, strict=True):
        radius = round(2.5 + 4 * (point.count / most) ** 0.5, 1)
        words = f"{point.predicted:.3f} → {point.observed:.3f} · n={point.count}"
        tone = {"cx": place[0], "cy": place[1], "r": radius, "class": "bin tone0"}
        body += element("circle", tone, element("title", {}, words))
    return figure(chart.title, svg(chart.title, chart.description, body, size=(_WIDTH, _HEIGHT)), table=chart.table)


def _axes(across: Scale, up: Scale, chart: ReliabilityChart) -> Markup:
    drawn = Markup("")
    for mark in _MARKS:
        x, y = across.place(mark), up.place(mark)
        drawn += line((_LEFT, y), (_WIDTH - 14, y), "grid") + text(_LEFT - 6, y + 4, f"{mark:g}", anchor="end")
        anchor = "end" if mark == 1.0 else "middle"
        drawn += text(x, _PLOT + 27, f"{mark:g}", anchor=anchor)
    drawn += text(_WIDTH - 14, _HEIGHT - 6, f"{chart.across} →", anchor="end", tone="axis")
    return drawn + text(_LEFT + 6, 22, f"↑ {chart.up}", tone="axis")
