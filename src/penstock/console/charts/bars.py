"""Bars: each column's drift against its own limit, and the shares of an endpoint's variants.

What comes in: labelled figures. What goes out: a figure whose bars carry their words, so that no colour is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from penstock.console.charts.drawing import WIDTH, Table, element, empty, figure, line, svg, text

_ROW, _NAMES, _FIGURES = 24, 132, 92
_MOST = 3.0


@dataclass(frozen=True)
class LimitBar:
    """One bar, as a multiple of its own limit; `words` stand at its end."""

    label: str
    ratio: float
    words: str
    over: bool


@dataclass(frozen=True)
class BarChart:
    """Bars against one line, which is the limit of each."""

    title: str
    description: str
    bars: Sequence[LimitBar]
    limit: str
    nothing: str
    table: Table


def bar_chart(chart: BarChart) -> Markup:
    """The figure; bars longer than three limits end there, their words say how far they would go."""
    if not chart.bars:
        return empty(chart.title, chart.nothing)
    most = max(1.25, min(_MOST, max(bar.ratio for bar in chart.bars) * 1.05))
    height = len(chart.bars) * _ROW + 22
    body = Markup("").join(_bar(bar, index, most) for index, bar in enumerate(chart.bars))
    at = _NAMES + _length(1.0, most)
    body += line((at, 0), (at, height - 18), "limit")
    body += text(at, height - 5, chart.limit, anchor="middle", tone="limit-label")
    drawing = svg(chart.title, chart.description, body, size=(WIDTH, height))
    return figure(chart.title, drawing, table=chart.table)


@dataclass(frozen=True)
class Share:
    """One variant's part of the traffic, 0 to 1."""

    label: str
    share: float
    tone: int


def share_bar(title: str, shares: Sequence[Share]) -> Markup:
    """All traffic as one bar, parted; narrow parts leave their words to the table beside it."""
    body, start = Markup(""), 0.0
    for share in shares:
        words = f"{share.label} {share.share:.0%}"
        place: dict[str, str | float] = {"x": f"{start:.2%}", "width": f"{max(share.share - 0.002, 0.002):.2%}"}
        box: dict[str, str | float] = {"y": 0, "height": 30, "rx": 5, "class": f"share tone{share.tone % 3}"}
        body += element("rect", {**place, **box}, element("title", {}, words))
        if share.share >= 0.3:
            inset: dict[str, str | float] = {"x": f"{start + 0.012:.2%}", "y": 20, "class": "on-share"}
            body += element("text", inset, words)
        start += share.share
    described = ", ".join(f"{share.label} {share.share:.0%}" for share in shares)
    # Without a view box: widths are parts of the page's, and the words keep their size.
    return element("svg", {"class": "shares", "role": "img", "aria-label": f"{title}: {described}"}, body)


def _bar(bar: LimitBar, index: int, most: float) -> Markup:
    y = index * _ROW
    width = max(_length(min(bar.ratio, most), most), 1.5)
    tone = "bar over" if bar.over else "bar"
    drawn = text(_NAMES - 8, y + 16, _short(bar.label), anchor="end", tone="name")
    drawn += element("rect", {"x": _NAMES, "y": y + 6, "width": width, "height": 12, "rx": 2, "class": tone})
    return drawn + text(WIDTH - 2, y + 16, bar.words, anchor="end", tone="figure-label")


def _length(ratio: float, most: float) -> float:
    return round(ratio / most * (WIDTH - _NAMES - _FIGURES), 1)


def _short(label: str) -> str:
    return label if len(label) <= 18 else f"{label[:17]}…"
