"""Answers a second against latency, one curve a setting: what a choice was made from.

What comes in: curves of points, which of them was chosen, the latency to keep. What goes out: a figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from penstock.console.charts.drawing import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    Key,
    Table,
    columns_of,
    element,
    figure,
    line,
    path,
    rows_of,
    svg,
    text,
)
from penstock.console.charts.scale import Scale, log_ticks, ticks

WIDTH = 720


@dataclass(frozen=True)
class Tradeoff:
    """A setting's curve: answers a second and p99 in seconds, by rising connections; `tone` is 0 to 3."""

    label: str
    per_s: Sequence[float]
    p99_s: Sequence[float]
    connections: Sequence[int]
    tone: int


def tradeoff_chart(curves: Sequence[Tradeoff], *, limit_s: float, title: str) -> Markup:
    """The figure; latency stands on a logarithmic scale, in milliseconds."""
    marks = ticks(0.0, max(value for curve in curves for value in curve.per_s))
    across = Scale(0.0, marks[-1], LEFT, WIDTH - RIGHT)
    known = [1000 * value for curve in curves for value in (*curve.p99_s, limit_s) if value > 0]
    levels = log_ticks(min(known), max(known))
    up = Scale(levels[0], levels[-1], HEIGHT - BOTTOM, TOP, log=True)
    body = rows_of(up, [(mark, f"{mark:g} ms") for mark in levels], WIDTH - RIGHT)
    body += columns_of(across, [(mark, f"{mark:,.0f}/s") for mark in marks], WIDTH - RIGHT)
    for curve in curves:
        body += _curve(curve, across, up)
    at = up.place(1000 * limit_s)
    body += line((LEFT, at), (WIDTH - RIGHT, at), "limit") + text(LEFT + 6, at - 6, "p99 to keep", tone="limit-label")
    told = "; ".join(f"{curve.label}: up to {max(curve.per_s):,.0f} answers a second" for curve in curves)
    drawn = svg(title, f"p99 against answers a second. {told}", body, size=(WIDTH, HEIGHT), fit="wide")
    drawing = element("div", {"class": "scroll", "tabindex": "0"}, drawn)
    keys = [Key(f"curve tone{curve.tone}", curve.label) for curve in curves]
    return figure(title, drawing, keys=keys, table=_table(curves))


def _curve(curve: Tradeoff, across: Scale, up: Scale) -> Markup:
    points = [(across.place(x), up.place(1000 * y)) for x, y in zip(curve.per_s, curve.p99_s, strict=True)]
    drawn = path(points, f"curve tone{curve.tone}")
    for (x, y), connections, per_s in zip(points, curve.connections, curve.per_s, strict=True):
        words = element("title", {}, f"{curve.label} · {connections} connections · {per_s:,.0f}/s")
        drawn += element("circle", {"cx": x, "cy": y, "r": 4, "class": f"dot tone{curve.tone}"}, words)
    return drawn


def _table(curves: Sequence[Tradeoff]) -> Table:
    rows = [
        [curve.label, str(connections), f"{per_s:,.0f}", f"{1000 * p99_s:.2f} ms"]
        for curve in curves
        for connections, per_s, p99_s in zip(curve.connections, curve.per_s, curve.p99_s, strict=True)
    ]
    return Table("figures", ["setting", "connections", "answers a second", "p99"], rows)
