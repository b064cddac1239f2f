"""The endpoint: its charts, and forms that refuse what does not fit."""

from __future__ import annotations

import pytest

from console_for_tests import Home, observed
from penstock.app.views import EndpointView
from penstock.console.language import TABLES, Texts
from penstock.console.pages.endpoint import evidence_chart, traffic_charts


def form(**changes: str) -> dict[str, str]:
    return {"version": "flights@3", "endpoint": "flights", "strategy": "canary", "share": "25", "expect": "0"} | changes


@pytest.mark.parametrize("wrong", [{"share": "0"}, {"share": "200"}, {"share": "many"}, {"version": ""}])
def test_a_form_that_does_not_fit_is_a_page_that_says_so(home: Home, wrong: dict[str, str]) -> None:
    answer = home.visitor("root").post("/releases", data=form(**wrong), headers={"origin": "http://localhost"})
    assert answer.status_code == 422
    assert TABLES["en"]["error.422"] in answer.text


def test_a_page_that_is_out_of_date_changes_nothing(home: Home) -> None:
    before = home.app.state().seq
    answer = home.visitor("root").post("/releases", data=form(), headers={"origin": "http://localhost"})
    assert answer.status_code == 409
    assert home.app.state().seq == before


def test_the_charts_of_traffic_and_evidence(home: Home) -> None:
    view = observed().endpoints["flights"]
    drawn = [str(chart) for chart in traffic_charts(view, Texts("zh"))]
    for name, chart in zip(("throughput", "latency", "errors"), drawn, strict=True):
        assert TABLES["zh"][f"chart.{name}"] in chart
    evidence = str(evidence_chart(view, Texts("en")))
    assert evidence.count('class="curve tone') == 6  # Each once in the legend, once in the plot.
    assert "taken back at 100" in evidence
    assert TABLES["en"]["chart.no_evidence"] in evidence_chart(EndpointView(endpoint="e", release=0), Texts("en"))
