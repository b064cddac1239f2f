"""The lineage of a version: what it was made from on the left, where it runs on the right.

What comes in: names of nodes, left, middle and right. What goes out: a drawing of boxes and lines, and the same
as words for those who cannot see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from penstock.console.charts.drawing import element, svg, text

_WIDTH, _BOX, _HEIGHT, _GAP = 720, 200, 44, 12


@dataclass(frozen=True)
class LineageNode:
    """One box: a name, and what it is."""

    name: str
    kind: str
    href: str = ""


def lineage_chart(
    title: str, sources: Sequence[LineageNode], middle: LineageNode, uses: Sequence[LineageNode]
) -> Markup:
    """The drawing; sources and uses stand in columns, each joined to the middle."""
    rows = max(len(sources), len(uses), 1)
    height = rows * (_HEIGHT + _GAP) - _GAP + 4
    centre = (height - _HEIGHT) / 2
    step = (_WIDTH - _BOX - 4) / 2
    left = 2.0
    mid = left + step if sources else left
    right = mid + step
    body = Markup("")
    for index, node in enumerate(sources):
        y = _row(index, len(sources), height)
        body += _join((left + _BOX, y), (mid, centre)) + _box(node, left, y)
    for index, node in enumerate(uses):
        y = _row(index, len(uses), height)
        body += _join((mid + _BOX, centre), (right, y)) + _box(node, right, y)
    body += _box(middle, mid, centre, tone="node middle")
    words = f"{', '.join(n.name for n in sources) or '–'} → {middle.name} → {', '.join(n.name for n in uses) or '–'}"
    return svg(title, words, body, size=((right if uses else mid) + _BOX + 2, height), fit="fixed")


def _row(index: int, count: int, height: float) -> float:
    used = count * (_HEIGHT + _GAP) - _GAP
    return (height - used) / 2 + index * (_HEIGHT + _GAP)


def _box(node: LineageNode, x: float, y: float, tone: str = "node") -> Markup:
    box = element("rect", {"x": x, "y": y, "width": _BOX, "height": _HEIGHT, "rx": 7, "class": tone})
    box += text(x + 12, y + 19, _short(node.name), tone="node-name")
    box += text(x + 12, y + 35, _short(node.kind), tone="node-kind")
    return element("a", {"href": node.href}, box) if node.href else box


def _join(start: tuple[float, float], end: tuple[float, float]) -> Markup:
    y1, y2 = start[1] + _HEIGHT / 2, end[1] + _HEIGHT / 2
    bend = (start[0] + end[0]) / 2
    return element(
        "path", {"d": f"M{start[0]:g} {y1:g}C{bend:g} {y1:g} {bend:g} {y2:g} {end[0]:g} {y2:g}", "class": "join"}
    )


def _short(label: str) -> str:
    return label if len(label) <= 26 else f"{label[:25]}…"
