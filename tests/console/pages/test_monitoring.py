"""Monitoring: drift, quality, calibration, incidents."""

from __future__ import annotations

from console_for_tests import Home, observed
from penstock.app.views import EndpointView
from penstock.console.language import TABLES, Texts
from penstock.console.pages.monitoring import calibration_chart, drift_chart, quality_chart


def test_each_column_stands_against_its_own_limit() -> None:
    drift = str(drift_chart(observed().endpoints["flights"], Texts("en")))
    order = [drift.index(f">{name}<") for name in ("temp", "wind_speed", "dep_delay", "visib")]
    assert order == sorted(order)
    assert drift.count("bar over") == 2


def test_the_estimate_stands_beside_what_came_true() -> None:
    quality = str(quality_chart(observed().endpoints["flights"], Texts("en")))
    for words in ("AUC", "Realised, from outcomes", "Estimated, without labels"):
        assert words in quality
    assert quality.count('class="band') == 2


def test_an_endpoint_without_traffic_says_so(home: Home) -> None:
    nothing = EndpointView(endpoint="e", release=0)
    assert TABLES["en"]["chart.no_drift"] in drift_chart(nothing, Texts("en"))
    assert TABLES["en"]["chart.no_quality"] in quality_chart(nothing, Texts("en"))
    assert TABLES["en"]["chart.no_calibration"] in calibration_chart(nothing, Texts("en"))


def test_open_and_closed_incidents(home: Home) -> None:
    text = home.visitor("vera").get("/endpoints/flights/monitoring").text
    assert text.index("Predicted delays are too high") < text.index("wind_gust changed its unit")
    assert "At most one false alarm in 20 years" in text
