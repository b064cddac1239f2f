"""SVG as text: elements, the frame around a plot, and the figure a page shows.

What comes in: shapes of one chart. What goes out: markup whose every text is escaped, with a title and a
description for those who cannot see it, and the same figures as a table for those who would rather read.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from penstock.console.charts.scale import Scale

WIDTH, HEIGHT = 460, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 10, 24

Attributes = Mapping[str, str | float]


@dataclass(frozen=True)
class Table:
    """The figures of a chart; `summary` is the words that open it."""

    summary: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Key:
    """One line of a legend; `tone` is the curve's class, so that its dash and colour are the same."""

    tone: str
    label: str


def element(name: str, attributes: Attributes, *children: str | Markup) -> Markup:
    """One element; attributes and text are escaped, markup is not escaped twice."""
    written = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    inner = "".join(str(escape(child)) for child in children)
    # All that varies was escaped above; the names are this package's own.
    return Markup(f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>")  # noqa: S704


def text(x: float, y: float, words: str, *, anchor: str = "start", tone: str = "tick") -> Markup:
    """Words in a plot."""
    return element("text", {"x": x, "y": y, "text-anchor": anchor, "class": tone}, words)


def line(start: tuple[float, float], end: tuple[float, float], tone: str) -> Markup:
    """A straight line."""
    return element("line", {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1], "class": tone})


def path(points: Sequence[tuple[float, float]], tone: str, *, closed: bool = False) -> Markup:
    """A polyline through points; nothing where there are none."""
    if not points:
        return Markup("")
    steps = "L".join(f"{x:g} {y:g}" for x, y in points)
    return element("path", {"d": f"M{steps}{'Z' if closed else ''}", "class": tone})


def rows_of(scale: Scale, marks: Sequence[tuple[float, str]], right: float) -> Markup:
    """The grid's horizontal lines up to `right`, each with its label."""
    drawn = Markup("")
    for value, label in marks:
        y = scale.place(value)
        drawn += line((LEFT, y), (right, y), "grid") + text(LEFT - 6, y + 4, label, anchor="end")
    return drawn


def columns_of(scale: Scale, marks: Sequence[tuple[float, str]], right: float) -> Markup:
    """The labels under the plot; those near its ends stay within it."""
    drawn = Markup("")
    for value, label in marks:
        x = scale.place(value)
        anchor = "end" if x > right - 20 else "start" if x < LEFT + 20 else "middle"
        drawn += line((x, HEIGHT - BOTTOM), (x, HEIGHT - BOTTOM + 4), "grid")
        drawn += text(x, HEIGHT - 6, label, anchor=anchor)
    return drawn


def svg(
    title: str, description: str, body: Markup, *, size: tuple[float, float] = (WIDTH, HEIGHT), fit: str = ""
) -> Markup:
    """The drawing, named and described.

    `fit` is ``stretch`` to fill any room, ``fixed`` to keep its size, ``wide`` to be scrolled on a phone.
    """
    # Of what it says and not of when it was drawn, so that an unchanged chart is the same text.
    mark = f"c{zlib.crc32(f'{title}/{description}'.encode()):x}"
    return element(
        "svg",
        {"viewBox": f"0 0 {size[0]} {size[1]}", "role": "img", "aria-labelledby": f"{mark}t {mark}d"}
        | {"class": f"chart {fit}".strip()}
        | ({"preserveAspectRatio": "none"} if fit == "stretch" else {"width": size[0]} if fit == "fixed" else {}),
        element("title", {"id": f"{mark}t"}, title) + element("desc", {"id": f"{mark}d"}, description) + body,
    )


def figure(title: str, drawing: Markup, *, keys: Sequence[Key] = (), table: Table | None = None) -> Markup:
    """A chart as a page shows it: caption, legend, drawing, and its figures folded away."""
    caption = element("figcaption", {}, element("span", {"class": "figure-title"}, title) + _legend(keys))
    return element("figure", {"class": "plot"}, caption + drawing + (_table(table) if table else Markup("")))


def empty(title: str, words: str) -> Markup:
    """A chart that has nothing to show yet, and says so."""
    return element(
        "figure",
        {"class": "plot"},
        element("figcaption", {}, element("span", {"class": "figure-title"}, title))
        + element("p", {"class": "empty-plot"}, words),
    )


def _legend(keys: Sequence[Key]) -> Markup:
    if not keys:
        return Markup("")
    drawn = Markup("")
    for key in keys:
        sample = element(
            "svg",
            {"viewBox": "0 0 22 10", "class": "sample", "aria-hidden": "true"},
            line((1, 5), (21, 5), key.tone),
        )
        drawn += element("span", {"class": "key"}, sample + escape(key.label))
    return element("span", {"class": "legend"}, drawn)


def _table(table: Table) -> Markup:
    head = element("tr", {}, *(element("th", {"scope": "col"}, heading) for heading in table.headings))
    rows = Markup("").join(element("tr", {}, *(element("td", {}, cell or "–") for cell in row)) for row in table.rows)
    body = element("table", {}, element("thead", {}, head) + element("tbody", {}, rows))
    scroll = element("div", {"class": "scroll", "tabindex": "0"}, body)
    return element("details", {"class": "figures"}, element("summary", {}, table.summary) + scroll)
