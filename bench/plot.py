"""The picture: requests per CPU second of everybody, as multiples of FastAPI + ONNX Runtime, on a logarithmic scale.

An SVG that is readable on light and on dark ground, and the same bars in a terminal.
"""

from __future__ import annotations

from math import floor, log10
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 760, 210, 70
BAR, GAP, TOP, BOTTOM = 20, 8, 44, 34
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 } .muted { fill: #59636e } .title { font-weight: 600 }
  .grid { stroke: #d1d9e0 } .bar { fill: #8c959f } .ours { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .muted { fill: #9198a1 } .grid { stroke: #3d444d }
    .bar { fill: #656c76 } .ours { fill: #4493f8 }
  }
"""


class Bar(NamedTuple):
    """A name, a value above 0, and whether it is ours."""

    name: str
    value: float
    ours: bool


def lines(values: list[Bar], width: int = 60) -> str:
    """Bars for a terminal."""
    low, high = _ends(values)
    rows = [(bar, round(width * log10(bar.value / low) / log10(high / low))) for bar in values]
    return "\n".join(f"{bar.name:>32} {'█' * max(length, 1)} {bar.value:.3g}x" for bar, length in rows)


def bars(title: str, values: list[Bar]) -> str:
    """An SVG of horizontal bars, the first on top."""
    low, high = _ends(values)
    height = TOP + len(values) * (BAR + GAP) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="12" y="24">{escape(title)}</text>',
    ]
    parts += [_line(tick, _x(tick, low, high), height) for tick in _ticks(low, high)]
    for index, bar in enumerate(values):
        parts.append(_bar(bar, TOP + index * (BAR + GAP), _x(bar.value, low, high)))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _ends(values: list[Bar]) -> tuple[float, float]:
    """A power of ten below them all, and a little above them all."""
    low = min(bar.value for bar in values)
    return 10.0 ** floor(log10(low)), max(bar.value for bar in values) * 1.1


def _x(value: float, low: float, high: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * log10(value / low) / log10(high / low)


def _ticks(low: float, high: float) -> list[float]:
    ticks, tick = [], low
    while tick <= high:
        ticks.append(tick)
        tick *= 10
    return ticks


def _line(tick: float, x: float, height: int) -> str:
    bottom = height - BOTTOM + 4
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{bottom}"/>'
        f'<text class="muted" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}x</text>'
    )


def _bar(bar: Bar, y: int, x: float) -> str:
    return (
        f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(bar.name)}</text>'
        f'<rect class="{"ours" if bar.ours else "bar"}" x="{LEFT}" y="{y}" width="{max(x - LEFT, 1):.1f}"'
        f' height="{BAR}" rx="3"/><text x="{x + 6:.1f}" y="{y + 15}">{bar.value:.3g}x</text>'
    )
