"""The lineage: what it was made from, what it is, where it runs."""

from __future__ import annotations

from xml.etree import ElementTree

from penstock.console.charts.lineage import LineageNode, lineage_chart


def test_every_node_is_joined_to_the_middle() -> None:
    sources = [LineageNode("train", "training"), LineageNode("validation", "validation")]
    drawn = str(
        lineage_chart("Lineage", sources, LineageNode("m@1", "version"), [LineageNode("e", "endpoint", "/endpoints/e")])
    )
    parsed = ElementTree.fromstring(drawn)
    assert drawn.count('class="join"') == 3
    assert parsed.find("desc").text == "train, validation → m@1 → e"
    assert parsed.find("a").attrib["href"] == "/endpoints/e"


def test_a_version_alone_is_a_picture_too() -> None:
    drawn = str(lineage_chart("Lineage", [], LineageNode("m@1", "version"), []))
    assert drawn.count('class="join"') == 0
    ElementTree.fromstring(drawn)
