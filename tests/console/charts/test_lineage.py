"""The lineage: what it was made from, what it is, where it runs."""

from __future__ import annotations

from xml.etree import ElementTree

from penstock.console.charts.lineage import Node, lineage_chart


def test_every_node_is_joined_to_the_middle() -> None:
    sources = [Node("train", "training"), Node("validation", "validation")]
    drawn = str(lineage_chart("Lineage", sources, Node("m@1", "version"), [Node("e", "endpoint", "/endpoints/e")]))
    parsed = ElementTree.fromstring(drawn)
    assert drawn.count('class="join"') == 3
    assert parsed.find("desc").text == "train, validation → m@1 → e"
    assert parsed.find("a").attrib["href"] == "/endpoints/e"


def test_a_version_alone_is_a_picture_too() -> None:
    drawn = str(lineage_chart("Lineage", [], Node("m@1", "version"), []))
    assert drawn.count('class="join"') == 0
    ElementTree.fromstring(drawn)
