"""Bars against their own limit; shares of one whole."""

from __future__ import annotations

from xml.etree import ElementTree

from penstock.console.charts.bars import BarChart, LimitBar, Share, bar_chart, share_bar
from penstock.console.charts.drawing import Table


def chart(*bars: LimitBar) -> str:
    table = Table("figures", ["column"], [[bar.label] for bar in bars])
    return str(bar_chart(BarChart("Drift", "of columns", bars, "limit", "nothing yet", table)))


def test_a_bar_over_its_limit_says_so_in_words_and_shape() -> None:
    drawn = chart(LimitBar("temp", 3.4, "3.4× · moved", over=True), LimitBar("wind", 0.2, "0.2×", over=False))
    widths = [float(bar.attrib["width"]) for bar in ElementTree.fromstring(drawn).iter("rect")]
    assert widths[0] > widths[1]
    assert "moved" in drawn
    assert drawn.count("bar over") == 1


def test_a_long_name_is_short_in_the_drawing_and_whole_in_the_table() -> None:
    name = "a_column_with_a_very_long_name"
    drawn = chart(LimitBar(name, 1.0, "1×", over=False))
    assert drawn.count(name) == 1
    assert "…" in drawn


def test_no_bars_say_so() -> None:
    assert "nothing yet" in chart()


def test_shares_are_parts_of_one_whole() -> None:
    drawn = ElementTree.fromstring(str(share_bar("Shares", [Share("stable", 0.9, 0), Share("canary", 0.1, 1)])))
    parts = list(drawn.iter("rect"))
    assert [part.attrib["x"] for part in parts] == ["0.00%", "90.00%"]
    assert drawn.attrib["aria-label"] == "Shares: stable 90%, canary 10%"
    assert [text.text for text in drawn.iter("text")] == ["stable 90%"]
