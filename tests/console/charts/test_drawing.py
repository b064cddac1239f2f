"""Everything that is drawn is escaped, named, described, and there as a table too."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from penstock.console.charts.drawing import Key, Table, element, empty, figure, path, svg, text

NASTY = '<script>alert("&")</script>\''
WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30)


@given(WORDS, WORDS)
def test_any_words_make_well_formed_markup(words: str, attribute: str) -> None:
    drawn = element("g", {"data-a": attribute}, text(1, 2, words))
    parsed = ElementTree.fromstring(str(drawn))
    assert parsed.attrib["data-a"] == attribute
    assert "".join(parsed.itertext()) == words


def test_a_figure_has_title_description_and_table() -> None:
    drawing = svg(NASTY, "what it shows", path([(0, 0), (1, 1)], "curve"))
    drawn = str(figure(NASTY, drawing, keys=[Key("curve tone0", NASTY)], table=Table("figures", ["a"], [[NASTY]])))
    assert "<script>" not in drawn
    parsed = ElementTree.fromstring(drawn)
    image = parsed.find("svg")
    assert image is not None
    names = image.attrib["aria-labelledby"].split()
    assert [child.attrib.get("id") for child in list(image)[:2]] == names
    assert parsed.find(".//table//td").text == NASTY


def test_the_same_chart_is_the_same_text() -> None:
    assert svg("a", "b", Markup("")) == svg("a", "b", Markup(""))
    assert svg("a", "b", Markup("")) != svg("a", "c", Markup(""))


def test_nothing_to_draw_says_so() -> None:
    assert "No traffic yet." in empty("Traffic", "No traffic yet.")
    assert path([], "curve") == ""
