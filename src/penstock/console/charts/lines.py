"""Curves over time: traffic, latency, errors, quality with its band, e-values on a logarithmic scale.

What comes in: curves with their bands, a threshold, how a figure is written. What goes out: a figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from penstock.console.charts.drawing import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Key,
    Table,
    columns_of,
    element,
    empty,
    figure,
    line,
    path,
    rows_of,
    svg,
    text,
)
from penstock.console.charts.scale import Scale, log_ticks, thin, ticks, time_ticks

Values = Sequence[float | None]
_LOG_FLOOR, _LOG_CEILING = 1e-3, 1e12
# Beyond it a figure is an accident, and the arithmetic of ticks overflows.
_MOST = 1e15


@dataclass(frozen=True)
class Curve:
    """Values over time (seconds since the epoch, equally many), with a band where `low` and `high` are given.

    `tone` picks colour and dash together, 0 to 3, so that neither stands alone; None is a gap.
    """

    label: str
    at: Sequence[float]
    values: Values
    low: Values = ()
    high: Values = ()
    tone: int = 0


@dataclass(frozen=True)
class LineChart:
    """What to draw, and the words around it.

    Attributes:
        write: A value as people read it.
        threshold: A horizontal line with its label; None draws none.
        least: The axis reaches at least this far, so that next to nothing does not look like much.
        zero: Whether the axis begins at zero.
        width: Of the drawing, in its own units; the text is 11.5 of them high.
        log: Whether it is logarithmic; values outside 1e-3 .. 1e12 stand at the edge.
        figures: Words that open the table of figures; `time` heads its first column.
    """

    title: str
    description: str
    curves: Sequence[Curve]
    write: Callable[[float], str]
    nothing: str
    figures: str
    time: str
    threshold: tuple[float, str] | None = None
    least: float = 0.0
    zero: bool = True
    log: bool = False
    width: int = WIDTH


def line_chart(chart: LineChart) -> Markup:
    """The figure; one that says there is nothing yet where no curve has a value."""
    shown = [_usable(curve, log=chart.log) for curve in chart.curves]
    drawn = [curve for curve in shown if any(value is not None for value in curve.values)]
    if not drawn:
        return empty(chart.title, chart.nothing)
    times = [at for curve in drawn for at in curve.at]
    right = chart.width - RIGHT
    across = Scale(min(times), max(times), LEFT, right)
    marks = _marks(chart, drawn)
    up = Scale(marks[0], marks[-1], HEIGHT - BOTTOM, TOP, chart.log)
    body = rows_of(up, [(mark, chart.write(mark)) for mark in marks], right)
    body += columns_of(across, time_ticks(across.low, across.high), right)
    body += Markup("").join(_curve(curve, across, up, chart.write) for curve in drawn)
    if chart.threshold:
        body += _threshold(up, right, *chart.threshold)
    keys = [Key(f"curve tone{curve.tone}", curve.label) for curve in drawn] if len(drawn) > 1 else []
    drawing = svg(chart.title, _described(chart, drawn), body, size=(chart.width, HEIGHT))
    return figure(chart.title, drawing, keys=keys, table=_table(chart, drawn))


def sparkline(at: Sequence[float], values: Sequence[float], title: str) -> Markup:
    """A curve the height of a line of text; nothing where there are fewer than two points."""
    if len(values) < 2:
        return Markup("")
    across, up = Scale(min(at), max(at), 2, 118), Scale(0.0, max(values) or 1.0, 26, 3)
    points = [(across.place(at[i]), up.place(values[i])) for i in thin(len(values), 60)]
    area = [(points[0][0], 28.0), *points, (points[-1][0], 28.0)]
    body = path(area, "band tone0", closed=True) + path(points, "curve tone0")
    return element("span", {"class": "sparkline"}, svg(title, title, body, size=(120, 30), fit="stretch"))


def _usable(curve: Curve, *, log: bool) -> Curve:
    """The points worth drawing: thinned, finite, within the logarithmic scale's bounds."""
    keep = thin(len(curve.at))
    return Curve(
        label=curve.label,
        at=[curve.at[i] for i in keep],
        values=[_finite(curve.values[i], log=log) for i in keep],
        low=[_finite(curve.low[i], log=log) for i in keep] if curve.low else (),
        high=[_finite(curve.high[i], log=log) for i in keep] if curve.high else (),
        tone=curve.tone,
    )


def _finite(value: float | None, *, log: bool) -> float | None:
    if value is None or math.isnan(value):
        return None
    return min(max(value, _LOG_FLOOR), _LOG_CEILING) if log else (value if abs(value) < _MOST else None)


def _marks(chart: LineChart, curves: Sequence[Curve]) -> list[float]:
    known = [v for curve in curves for values in (curve.values, curve.low, curve.high) for v in values if v is not None]
    known += [chart.threshold[0]] if chart.threshold else []
    known += [chart.least] if chart.least else []
    if chart.log:
        return log_ticks(min([*known, 1.0]), max([*known, 10.0]))
    return ticks(min([*known, 0.0]) if chart.zero else min(known), max(known))


def _curve(curve: Curve, across: Scale, up: Scale, write: Callable[[float], str]) -> Markup:
    drawn = _band(curve, across, up)
    for part in _parts(curve):
        points = [(across.place(curve.at[i]), up.place(curve.values[i] or 0.0)) for i in part]
        drawn += path(points, f"curve tone{curve.tone}")
        drawn += Markup("").join(_point(at, curve, i, write) for at, i in zip(points, part, strict=True))
    return drawn


def _parts(curve: Curve) -> list[list[int]]:
    """The stretches without a gap, as indices."""
    parts: list[list[int]] = [[]]
    for index, value in enumerate(curve.values):
        if value is None:
            parts.append([])
        else:
            parts[-1].append(index)
    return [part for part in parts if part]


def _band(curve: Curve, across: Scale, up: Scale) -> Markup:
    lows = [(across.place(at), up.place(v)) for at, v in zip(curve.at, curve.low, strict=False) if v is not None]
    highs = [(across.place(at), up.place(v)) for at, v in zip(curve.at, curve.high, strict=False) if v is not None]
    return path([*lows, *reversed(highs)], f"band tone{curve.tone}", closed=True) if lows and highs else Markup("")


def _point(at: tuple[float, float], curve: Curve, index: int, write: Callable[[float], str]) -> Markup:
    value = curve.values[index] or 0.0
    words = f"{curve.label} · {stamp(curve.at[index])} · {write(value)}"
    dot = "dot" if len(curve.at) <= 24 else "dot small"
    return element("circle", {"cx": at[0], "cy": at[1], "r": 5, "class": f"{dot} tone{curve.tone}"}, _title(words))


def _title(words: str) -> Markup:
    return element("title", {}, words)


def _threshold(up: Scale, right: float, value: float, label: str) -> Markup:
    y = up.place(value)
    return line((LEFT, y), (right, y), "limit") + text(LEFT + 6, y - 6, label, tone="limit-label")


def _described(chart: LineChart, curves: Sequence[Curve]) -> str:
    """The description, and where each curve stands last, for those who hear the chart."""
    last = [(curve.label, [v for v in curve.values if v is not None][-1]) for curve in curves]
    return f"{chart.description} {'; '.join(f'{label}: {chart.write(value)}' for label, value in last)}"


def _table(chart: LineChart, curves: Sequence[Curve]) -> Table:
    times = sorted({at for curve in curves for at in curve.at})
    known = [dict(zip(curve.at, curve.values, strict=True)) for curve in curves]
    rows = [[stamp(at), *(_cell(column.get(at), chart.write) for column in known)] for at in reversed(times)]
    return Table(chart.figures, [chart.time, *(curve.label for curve in curves)], rows[:60])


def _cell(value: float | None, write: Callable[[float], str]) -> str:
    return "" if value is None else write(value)


def stamp(at: float) -> str:
    """``2013-05-01 06:00:00``, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
