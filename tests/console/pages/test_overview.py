"""What needs somebody comes first."""

from __future__ import annotations

from console_for_tests import Home


def test_what_needs_somebody_comes_first(home: Home) -> None:
    text = home.visitor("vera").get("/").text
    order = [text.index(words) for words in ("Predicted delays are too high", "The column temp", "flights@4 waits")]
    assert order == sorted(order)
