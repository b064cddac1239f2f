"""Draw a finding's evidence as SVG (part of ``gate``).

What comes in: the plain data that `penstock.gate.evidence` wrote. What goes out: SVG text that takes its colours from
the page (classes only, so it follows dark and light) and scales to a phone. Every name in it is escaped.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from markupsafe import Markup, escape

from penstock.records import JSON

SIDE = 360
EDGE = 56
WIDE, TALL = 720, 220


class Frame(NamedTuple):
    """Where figures go on paper: data range to pixels, upward."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a figure."""
        span = self.high - self.low or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 2)


class PlotBar(NamedTuple):
    """One row of a bar plot: its name, the figure as text, and its drawing."""

    name: str
    figure: str
    drawing: Markup


def draw(plot: JSON) -> Markup:
    """A curve or a band as one SVG; nothing for a kind that is not drawn as one."""
    kind = plot.get("kind")
    if kind == "curve":
        return _curve(plot)
    return _band(plot) if kind == "band" else Markup("")


def bars(plot: JSON) -> list[PlotBar]:
    """A bar plot, a row at a time, so that names are text of the page and never too small to read."""
    rows = cast("list[JSON]", plot["rows"])
    limit = plot.get("limit")
    ends = [_number(row[key]) for row in rows for key in ("low", "high")]
    if limit is not None:
        ends.append(_number(limit))
    is_plain = all(row["low"] == row["high"] for row in rows)
    span = cast("list[float] | None", plot.get("span"))
    low, high = (min(0.0, *ends), max(ends)) if is_plain else (min(ends), max(ends))
    room = (high - low or 1.0) * 0.06
    least, most = span or (low if is_plain else low - room, high + room)
    frame = Frame(least, most, 0.0, 100.0)
    unit = f" {plot['unit']}" if plot.get("unit") else ""
    return [
        PlotBar(str(row["name"]), _figure(row, is_plain=is_plain) + unit, _bar(frame, row, limit, is_plain=is_plain))
        for row in rows
    ]


def _bar(frame: Frame, row: JSON, limit: object, *, is_plain: bool) -> Markup:
    """The interval as a pale bar with its figure as a tick, or a plain bar from 0."""
    value, low, high = (frame.at(_number(row[key])) for key in ("value", "low", "high"))
    if is_plain:
        zero = frame.at(0.0)
        marks = (
            f'<rect class="mark" x="{min(zero, value)}" y="3" width="{max(abs(value - zero), 0.4):.2f}" height="8"/>'
        )
    else:
        marks = f'<rect class="pale" x="{low}" y="3" width="{max(high - low, 0.4):.2f}" height="8"/>'
        marks += f'<rect class="mark" x="{value - 0.4:.2f}" y="1" width="0.8" height="12"/>'
    if limit is not None:
        marks += f'<rect class="limit" x="{frame.at(_number(limit)) - 0.2:.2f}" y="0" width="0.4" height="14"/>'
    # Of numbers alone.
    return Markup(  # noqa: S704
        f'<svg class="bar" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">{marks}</svg>'
    )


def _figure(row: JSON, *, is_plain: bool) -> str:
    value, low, high = (_number(row[key]) for key in ("value", "low", "high"))
    if is_plain:
        return f"{value:.4g}"
    return f"{value:.3f}" if low == high else f"{value:.3f} ({low:.3f}–{high:.3f})"


def _curve(plot: JSON) -> Markup:
    """Lines over the unit square beside its diagonal."""
    across, up = Frame(0, 1, EDGE, SIDE - 12), Frame(0, 1, SIDE - EDGE, 12)
    parts = [_grid(across, up)]
    left, right, bottom, top = across.at(0), across.at(1), up.at(0), up.at(1)
    parts.append(f'<line class="limit-line" x1="{left}" y1="{bottom}" x2="{right}" y2="{top}"/>')
    for line in cast("list[JSON]", plot["series"]):
        xs, ys = cast("list[float]", line["x"]), cast("list[float]", line["y"])
        points = [(across.at(x), up.at(y)) for x, y in zip(xs, ys, strict=True)]
        parts.append(f'<polyline class="line" points="{" ".join(f"{x},{y}" for x, y in points)}"/>')
        if len(points) <= 20:
            parts += [f'<circle class="mark" cx="{x}" cy="{y}" r="3.5"/>' for x, y in points]
    middle = (left + right) / 2
    parts.append(f'<text x="{middle}" y="{SIDE - 14}" text-anchor="middle">{escape(str(plot["x"]))}</text>')
    turn = f"rotate(-90 11 {(bottom + top) / 2})"
    parts.append(
        f'<text x="11" y="{(bottom + top) / 2}" text-anchor="middle" transform="{turn}">{escape(str(plot["y"]))}</text>'
    )
    return _svg(plot, SIDE, SIDE, "square", parts)


def _grid(across: Frame, up: Frame) -> str:
    """Lines and numbers at quarters."""
    marks = []
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = across.at(value), up.at(value)
        marks.append(f'<line class="grid" x1="{x}" y1="{up.at(0)}" x2="{x}" y2="{up.at(1)}"/>')
        marks.append(f'<line class="grid" x1="{across.at(0)}" y1="{y}" x2="{across.at(1)}" y2="{y}"/>')
        marks.append(f'<text x="{x}" y="{up.at(0) + 15}" text-anchor="middle">{value:g}</text>')
        marks.append(f'<text x="{across.at(0) - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>')
    return "".join(marks)


def _band(plot: JSON) -> Markup:
    """One dot a unit of time, over the band of one standard deviation about the mean."""
    values, labels = cast("list[float]", plot["values"]), cast("list[str]", plot["labels"])
    middle, spread = _number(plot["middle"]), _number(plot["spread"])
    low, high = min(*values, middle - spread), max(*values, middle + spread)
    room = (high - low or 1.0) * 0.08
    up = Frame(low - room, high + room, TALL - 30, 10)
    across = Frame(0, max(len(values) - 1, 1), 70, WIDE - 20)
    left, right = across.at(0) - 8, across.at(max(len(values) - 1, 1)) + 8
    top, bottom = up.at(middle + spread), up.at(middle - spread)
    parts = [
        f'<rect class="band" x="{left}" y="{top}" width="{right - left:.2f}" height="{bottom - top:.2f}"/>',
        f'<line class="mean" x1="{left}" y1="{up.at(middle)}" x2="{right}" y2="{up.at(middle)}"/>',
    ]
    parts += [
        f'<circle class="mark" cx="{across.at(place)}" cy="{up.at(value)}" r="3.5">'
        f"<title>{escape(labels[place])}: {value:.3f}</title></circle>"
        for place, value in enumerate(values)
    ]
    for value in (low, high):
        parts.append(f'<text x="{left - 6}" y="{up.at(value) + 4}" text-anchor="end">{value:.2f}</text>')
    parts.append(f'<text x="{left}" y="{TALL - 8}">{escape(labels[0])}</text>')
    parts.append(f'<text x="{right}" y="{TALL - 8}" text-anchor="end">{escape(labels[-1])}</text>')
    return _svg(plot, WIDE, TALL, "wide", parts)


def _svg(plot: JSON, width: int, height: int, shape: str, parts: list[str]) -> Markup:
    title = escape(str(plot["title"]))
    # Of numbers and of names that were escaped.
    return Markup(  # noqa: S704
        f'<svg class="plot {shape}" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">'
        f"{''.join(parts)}</svg>"
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
