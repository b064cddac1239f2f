"""Trace: all that stands behind a prediction, or that nobody made it."""

from __future__ import annotations

from console_for_tests import ANSWERED, Home
from penstock.console.language import TABLES


def test_a_prediction_nobody_made_is_said_so(home: Home) -> None:
    assert TABLES["en"]["trace.missing"] in home.visitor("vera").get("/trace?prediction=nothing.0").text


def test_a_prediction_leads_back_to_all_that_stands_behind_it(home: Home) -> None:
    text = home.visitor("vera").get(f"/trace?prediction={ANSWERED}.0").text
    known = home.app.state().version("flights", 3)
    for shown in (known.version.digest, "flights-train", "9f1c2ab4de77", "anna", "late", "airline", "verdict.given"):
        assert shown in text or TABLES["en"].get(f"event.{shown}", shown) in text, shown
